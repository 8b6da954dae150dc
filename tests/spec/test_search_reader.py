"""The `[search]` table of a study file: what it becomes, and what is said of a bad one."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cifarsweep.errors import SpecError, StudyExists
from cifarsweep.spec.reader import find, read_study
from cifarsweep.spec.search_space import Choices, Range
from cifarsweep.spec.study import Study
from cifarsweep.spec.study_diff import check_extends
from cifarsweep.spec.writer import study_toml

FILE = """
name = "find"
question = "Which rate?"
[settings]
dataset = "digits"
epochs = 2
[search]
sampler = "tpe"
n_trials = 40
[search.space]
"optimizer.lr" = { low = 1e-4, high = 1.0, log = true }
batch_size = { low = 16, high = 64, step = 16 }
"model.norm" = { choices = ["batch", "layer"] }
"""


def test_a_search_has_one_seed_and_no_trials_before_it_asks(write):
    study = read_study(write(FILE))

    assert study.seeds == (0,)
    assert list(study.trials()) == []
    assert study.planned == 40
    assert [cell.name for cell in study.cells][0] == "lr=0.0001, batch_size=16, norm=batch"


def test_a_space_may_be_nested_as_toml_nests(write):
    nested = FILE.replace('"optimizer.lr" = {', "optimizer.lr = {")

    assert read_study(write(nested)).sha256 == read_study(write(FILE)).sha256


def test_a_stored_search_reads_back_equal(write):
    study = read_study(write(FILE))

    assert Study.from_canonical(study.canonical()) == study


def test_a_study_without_search_keeps_the_hash_of_old(write):
    assert '"search"' not in read_study(find("demo")).canonical()


def test_the_file_that_a_report_shows_gives_the_same_study(write):
    study = read_study(write(FILE))

    assert read_study(write(study_toml(study))).sha256 == study.sha256


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"tpe"', '"tpee"', ["search: sampler", "'tpee' is unknown", "Did you mean 'tpe'?"]),
        ('sampler = "tpe"', 'pruner = "medium"', ["search: pruner", "median"]),
        ("n_trials = 40", "", ["search: n_trials: is missing"]),
        ("n_trials = 40", "n_trials = 0", ["n_trials", "at least 1"]),
        ("n_trials = 40", "n_trial = 40", ["n_trial", "Did you mean 'n_trials'?"]),
        ("n_trials = 40", "n_trials = 40\nseed = -1", ["seed"]),
        ('"optimizer.lr"', '"optimizer.lrr"', ["search.space", "optimizer.lrr", "Did you mean 'optimizer.lr'?"]),
        ("low = 1e-4", "low = 0.0", ["search.space.optimizer.lr: low: must be greater than 0 where log = true"]),
        ("low = 1e-4", "low = 2.0", ["search.space.optimizer.lr: high: must be greater than low"]),
        ("low = 1e-4", "low = nan", ["search.space.optimizer.lr.low", "finite number"]),
        ("low = 1e-4", 'low = "1e-4"', ["search.space.optimizer.lr.low", "finite number"]),
        ("low = 1e-4, ", "", ["search.space.optimizer.lr: low: is missing"]),
        ("low = 1e-4", "lo = 1e-4", ["search.space.optimizer.lr: lo: unknown key. Did you mean 'low'?"]),
        ("low = 1e-4, high = 1.0, log = true", "", ["search.space.optimizer.lr: write { low"]),
        ("{ low = 1e-4, high = 1.0, log = true }", "0.1", ["search.space.optimizer.lr: write { low", "not 0.1"]),
        (
            "low = 1e-4, high = 1.0, log = true",
            "low = -1.0, high = 1.0",
            ["optimizer.lr", "greater than 0.0, not -1.0"],
        ),
        ("step = 16", "step = 7", ["search.space.batch_size: step: steps of 7 from 16 do not reach 64"]),
        ("step = 16", "step = 16, log = true", ["search.space.batch_size: step"]),
        ("low = 16, high = 64, step = 16", "low = 16.0, high = 64.0", ["batch_size", "whole number, not 16.0"]),
        ('["batch", "layer"]', "[]", ["search.space.model.norm: choices: must not be empty"]),
        ('["batch", "layer"]', '["batch", "batch"]', ["model.norm: choices: two of them are the same"]),
        ('["batch", "layer"]', '["batch", "bach"]', ["model.norm", "'bach'", "Did you mean 'batch'?"]),
        ("epochs = 2", "epochs = 2\nbatch_size = 32", ["settings.batch_size", "varied under search.space"]),
        ("epochs = 2", 'epochs = 2\n[factors]\n"model.skip" = [true]', ["factors", "either searches or compares"]),
        ('"tpe"', '"cmaes"', ["sampler: cmaes knows no choices", "model.norm"]),
        ("[search.space]", "[search.spaces]", ["spaces", "Did you mean 'space'?"]),
    ],
)
def test_a_mistake_is_named_with_file_key_and_remedy(write, old: str, new: str, says: list[str]):
    assert old in FILE

    with pytest.raises(SpecError) as caught:
        read_study(write(FILE.replace(old, new)))

    assert all(word in str(caught.value) for word in ["study.toml", *says]), str(caught.value)


def test_of_a_small_space_every_point_must_train(write):
    text = FILE[: FILE.index('"optimizer.lr"')] + (
        '"model.norm_groups" = { choices = [1, 8] }\n"model.widths" = { choices = [[8], [12]] }\n'
        '"model.norm" = { choices = ["batch", "group"] }\n'
    )

    with pytest.raises(SpecError, match=r"search.space: at .*widths=12, norm=group.*do not divide"):
        read_study(write(text))


def test_an_override_goes_to_every_point_but_not_to_what_is_searched(write):
    study = read_study(write(FILE), overrides={"epochs": 1}, seeds=2)

    assert study.search is not None and study.search.fixed["epochs"] == 1
    assert study.planned == 80
    with pytest.raises(SpecError, match=r"--set optimizer.lr: .* varies it; change search.space"):
        read_study(write(FILE), overrides={"optimizer.lr": 1.0})


def test_a_search_grows_by_trials_and_by_nothing_else(write):
    old = read_study(write(FILE))
    check_extends(old, read_study(write(FILE.replace("40", "60"))))

    for change in (("40", "20"), ('"tpe"', '"random"'), ("high = 64", "high = 128")):
        with pytest.raises(StudyExists, match="search"):
            check_extends(old, read_study(write(FILE.replace(*change))))


numbers = st.floats(1e-6, 1e6) | st.integers(1, 10**6)


@given(numbers, numbers, st.booleans(), st.floats(0, 1))
def test_a_range_is_refused_or_rounds_into_itself(low: float, high: float, log: bool, share: float):
    try:
        found = Range(low=low, high=high, log=log)
    except ValueError:
        assert low >= high
        return

    value = found.rounded(min(max(low + share * (high - low), low), high))

    assert low <= value <= high
    assert isinstance(value, int) == (isinstance(low, int) and isinstance(high, int))


keys = st.sampled_from(["low", "high", "log", "choices", "optimizer", "lr", "space", "n_trials"])
plain = st.none() | st.booleans() | st.floats() | st.text(max_size=3)


@given(st.recursive(plain, lambda inner: st.dictionaries(keys, inner, max_size=4)))
def test_no_table_makes_reading_crash(table):
    from cifarsweep.spec.search_reader import read_search

    with pytest.raises(SpecError):
        read_search({"space": table}, {"epochs": 1}, "file")


def test_the_size_of_a_space_bounds_what_is_asked(write):
    text = FILE.replace('"optimizer.lr" = { low = 1e-4, high = 1.0, log = true }\n', "")
    search = read_study(write(text)).search

    assert search is not None and search.size == 8 and search.points == 8
    assert search.space["model.norm"] == Choices(choices=("batch", "layer"))
    assert len({repr(point) for point in search.every_point()}) == 8
    assert tomllib.loads(text)["search"]["n_trials"] == 40
