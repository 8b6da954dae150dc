"""Study files: what they expand to, and what is said of a bad one."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cifarsweep.errors import SpecError, UnknownStudy
from cifarsweep.spec.overrides import parse_override
from cifarsweep.spec.reader import find, read_study, shipped
from cifarsweep.spec.settings import flatten, setting_keys
from cifarsweep.spec.study import Study
from cifarsweep.spec.validation import nested

AT = '[[hypotheses]]\nkind = "trend"\nclaim = "x"\nfactor = "optimizer.lr"\ndirection = "rising"\nat = '
MINIMAL = """
name = "tiny"
question = "Which rate?"
seeds = 2
[settings]
dataset = "digits"
epochs = 1
[factors]
"optimizer.lr" = [1e-3, 1e-4]
"model.skip" = [false, true]
"""


def test_factors_are_crossed_and_seeds_come_round_by_round(write):
    study = read_study(write(MINIMAL))

    assert [cell.name for cell in study.cells] == [
        "lr=0.001, skip=no",
        "lr=0.001, skip=yes",
        "lr=0.0001, skip=no",
        "lr=0.0001, skip=yes",
    ]
    assert [(trial.cell.name, trial.seed) for trial in study.trials()][4] == ("lr=0.001, skip=no", 1)


def test_exclusions_remove_and_arms_add_cells(write):
    text = MINIMAL + '[[exclude]]\n"optimizer.lr" = 1e-3\n"model.skip" = true\n'
    text += '[[arms]]\nname = "big batch"\nset = { batch_size = 512, "optimizer.lr" = 4e-3 }\n'

    study = read_study(write(text))

    assert [cell.name for cell in study.cells][-1] == "big batch"
    assert len(study.cells) == 4
    assert study.cells[0].levels == {"optimizer.lr": 1e-3, "model.skip": False, "batch_size": 128}


def test_the_hash_covers_contents_and_not_spelling(write):
    other = MINIMAL.replace("[1e-3, 1e-4]", "[0.001, 0.0001]").replace('"optimizer.lr"', "optimizer.lr")

    same, changed = read_study(write(other)), read_study(write(MINIMAL.replace("epochs = 1", "epochs = 2")))

    assert same.sha256 == read_study(write(MINIMAL)).sha256 != changed.sha256


def test_a_stored_study_reads_back_equal(write):
    study = read_study(write(MINIMAL))

    assert Study.from_canonical(study.canonical()) == study


@pytest.mark.parametrize("path", shipped(), ids=lambda path: path.stem)
def test_every_study_that_ships_is_valid_and_named_like_its_file(path: Path):
    assert read_study(path).name == path.stem


def test_epochs_and_steps_replace_each_other():
    study = read_study(find("lr-study"), overrides={"epochs": 3})

    assert {(cell.settings.epochs, cell.settings.steps) for cell in study.cells} == {(3, None)}


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("seeds = 2", "seedz = 2", ["seedz", "Did you mean 'seeds'?", "question"]),
        ("seeds = 2", "seeds = 0", ["seeds", "not 0"]),
        ("seeds = 2", "seeds = [1, 1]", ["seeds", "different"]),
        ("epochs = 1", "epoch = 1", ["settings: epoch", "Did you mean 'epochs'?"]),
        ("epochs = 1", 'epochs = "1"', ["epochs", "whole number", "'1'"]),
        ("epochs = 1", "epochs = true", ["epochs", "whole number"]),
        ("epochs = 1", "epochs = 1\nsteps = 1", ["exactly one of epochs and steps"]),
        ("epochs = 1", "", ["exactly one of epochs and steps"]),
        ("epochs = 1", "epochs = 1\nmodel.kernel_size = 4", ["model.kernel_size", "even"]),
        ("epochs = 1", 'epochs = 1\nmodel.init = "hee"', ["model.init", "Did you mean 'he'?", "torch, zero"]),
        ("epochs = 1", 'epochs = 1\nmodel = { name = "vit", init = "zero" }', ["model.init", "unknown key"]),
        ("epochs = 1", 'epochs = 1\nmodel.norm = "bach"', ["model.norm", "Did you mean 'batch'?", "instance"]),
        ("epochs = 1", 'epochs = 1\nmodel.norm = "group"\nmodel.widths = [12]', ["norm_groups", "do not divide", "12"]),
        (
            "epochs = 1",
            'epochs = 1\nmodel = { norm = "group", widths = [24], norm_group_size = 16 }',
            ["model.norm_group_size", "groups of 16 channels", "24"],
        ),
        (
            "epochs = 1",
            'epochs = 1\nmodel = { norm = "group", norm_groups = 4, norm_group_size = 8 }',
            ["model.norm_group_size", "not both"],
        ),
        (
            "epochs = 1",
            "epochs = 1\nmodel.convs_per_stage = 4\nmodel.skip_every = 3",
            ["model.skip_every", "3 does not divide the 4 convolutions of a stage"],
        ),
        ("epochs = 1", "epochs = 1\nmodel.bridge_size = 2", ["model.bridge_size", "2 is unknown", "Allowed: 1, 3"]),
        ("epochs = 1", "epochs = 1\nmodel.stem_width = 70_000", ["model.stem_width", "at most 65536"]),
        ("epochs = 1", "epochs = 1\nmodel.norm_group_size = -1", ["model.norm_group_size", "at least 0"]),
        ("epochs = 1", "epochs = 1\nbatch_size = 0", ["batch_size", "greater than 0"]),
        ("epochs = 1", "epochs = 1\nmodel = 3", ["settings", "model"]),
        ("epochs = 1", "epochs = 1979-05-27", ["1979-05-27", "date"]),
        ("epochs = 1", "epochs = 1\nschedule.warmup_epochs = 1.0", ["schedule.warmup_epochs", "leaves nothing"]),
        ("epochs = 1", "epochs = 1\noptimizer.lr = 1.0", ["optimizer.lr", "fixed here and varied"]),
        ("[1e-3, 1e-4]", "[1e-3, -1]", ["optimizer.lr", "greater than 0", "-1"]),
        ("[1e-3, 1e-4]", "[1e-3, nan]", ["optimizer.lr", "finite"]),
        ("[1e-3, 1e-4]", "[]", ["factors.optimizer.lr", "empty"]),
        ("[1e-3, 1e-4]", "1e-3", ["factors.optimizer.lr", "list of levels"]),
        ("[1e-3, 1e-4]", "[1e-3, 0.001]", ["duplicates"]),
        ('"optimizer.lr"', '"optimizer.lrr"', ["optimizer.lrr", "Did you mean 'optimizer.lr'?"]),
        ('"tiny"', '"<script>"', ["name", "<script>"]),
        ('"tiny"', f'"{"a" * 300}"', ["name"]),
        ('"tiny"', '"a/b"', ["name", "a/b"]),
        ('"Which rate?"', '"bell \\u0007"', ["question"]),
        ('"digits"', '"../etc"', ["dataset", "../etc"]),
        ("name =", "name", ["not valid TOML"]),
    ],
)
def test_a_mistake_is_named_with_file_key_and_remedy(write, old: str, new: str, says: list[str]):
    assert old in MINIMAL

    with pytest.raises(SpecError) as caught:
        read_study(write(MINIMAL.replace(old, new)))

    assert all(word in str(caught.value) for word in ["study.toml", *says]), str(caught.value)


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        ('[[exclude]]\n"model.skp" = true', ["exclude 1", "Did you mean 'model.skip'?"]),
        ('[[exclude]]\n"optimizer.lr" = 7.0', ["exclude 1", "no level"]),
        ('[[exclude]]\n"model.skip" = true\n[[exclude]]\n"model.skip" = false', ["leaves no cell"]),
        ('[[arms]]\nname = "again"\nset = { "optimizer.lr" = 1e-3 }', ["duplicates", "again"]),
        ('[[hypotheses]]\nkind = "greter"\nclaim = "x"', ["greter", "greater"]),
        (AT + "{ epoch = 2 }", ["hypothesis 1: at", "epoch 2 is beyond the budget of", "ends at epoch 1"]),
        (AT + "{ epoch = 1, step = 1 }", ["hypothesis 1: at", "exactly one of epoch and step"]),
        (AT + "{}", ["hypothesis 1: at", "exactly one of epoch and step"]),
        ('[[arms]]\nname = "x"\nset = {}\n[[arms]]\nname = "y"\nset = 3', ["arm 2: set: must be a table, not 3"]),
        (AT.replace("trend", "at_chance") + "{ epoch = 1 }\na = 3", ["hypothesis 1: a: must be a name in quotes or a"]),
        (AT.replace("trend", "at_chance") + "{ epoch = 1 }\na = {}", ["hypothesis 1: a: must not be empty"]),
        (AT.replace("trend", "at_chance") + "{ epoch = 1 }\na.b.c = 1", ["table of levels, not { b = { c = 1 } }"]),
        (AT + "{ epoch = 0 }", ["at.epoch", "greater than 0"]),
        (AT + "{ step = 1.5 }", ["at.step", "whole number"]),
        (AT + "{ steps = 1 }", ["at.steps", "unknown key", "Did you mean 'step'?"]),
        (AT + '{ epoch = 1 }\nmetric = "best/accuracy"', ["hypothesis 1: at", "one value of 'best/accuracy'"]),
        (AT + '{ epoch = 1 }\nmetric = "test/accuracy"', ["hypothesis 1: at", "one value of 'test/accuracy'"]),
        (AT + '{ epoch = 1 }\nmetric = "val/acuracy"', ["hypothesis 1: metric", "Did you mean 'val/accuracy'?"]),
        (
            AT.replace("trend", "faster") + "{ epoch = 1 }",
            ["hypothesis 1: at", "unknown key"],
        ),
        ('[[hypotheses]]\nkind = "best"\nclaim = "x"\nfactor = "batch_size"\nlevel = 1', ["no factor"]),
        ('[[hypotheses]]\nkind = "best"\nclaim = "x"\nfactor = "model.skip"\nlevel = 1', ["no level"]),
        ('[[hypotheses]]\nkind = "at_chance"\nclaim = "x"\na = { "model.skip" = 1 }', ["selects no cell"]),
        (
            '[[hypotheses]]\nkind = "greater"\nclaim = "x"\na = { "model.skip" = true }\nb = { "optimizer.lr" = 1e-3 }',
            ["hypothesis 1: a and b both select", "skip=yes"],
        ),
        (
            '"batch_size" = [64]\n[[hypotheses]]\nkind = "best"\nclaim = "x"\nfactor = "batch_size"\nlevel = 64',
            ["hypothesis 1: 'batch_size' has one level"],
        ),
        (
            '[[hypotheses]]\nkind = "at_chance"\nclaim = "x"\na = { "model.skip" = true }\nmetric = "val/loss"',
            ["hypothesis 1: metric = 'val/loss'", "at_chance is about an accuracy", "use reaches"],
        ),
    ],
)
def test_arms_exclusions_and_hypotheses_must_fit_the_factors(write, extra: str, says: list[str]):
    with pytest.raises(SpecError) as caught:
        read_study(write(MINIMAL + extra))

    assert all(word in str(caught.value) for word in says), str(caught.value)


def test_an_override_of_a_factor_is_refused(write):
    with pytest.raises(SpecError, match=r"--set optimizer.lr: .* varies it"):
        read_study(write(MINIMAL), overrides={"optimizer.lr": 1.0})


def test_a_plan_of_a_billion_trials_is_refused_before_it_is_expanded(write):
    levels = "[" + ", ".join(str(n) for n in range(1, 1001)) + "]"
    text = MINIMAL.replace("[1e-3, 1e-4]", levels).replace("[false, true]", levels)

    with pytest.raises(SpecError, match="1,000,000 trials"):
        read_study(write(text))


def test_an_unknown_study_gets_the_list_and_the_nearest_name():
    with pytest.raises(UnknownStudy, match=r"Did you mean 'lr-study'\?.*demo"):
        find("lr-studdy")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("epochs=1", ("epochs", 1)),
        ("model.widths=[8, 16]", ("model.widths", [8, 16])),
        ("dataset=cifar10-jpeg-small", ("dataset", "cifar10-jpeg-small")),
        ('model.norm = "group"', ("model.norm", "group")),
        ("model.skip=true", ("model.skip", True)),
        ("optimizer.lr=3e-4", ("optimizer.lr", 3e-4)),
    ],
)
def test_overrides_are_toml_and_bare_words_are_text(text: str, expected: tuple[str, object]):
    assert parse_override(text) == expected


@pytest.mark.parametrize("text", ["epochs", "=3", "epochs=[1", "dataset=a b"])
def test_a_broken_override_is_refused(text: str):
    with pytest.raises(SpecError, match="--set"):
        parse_override(text)


@given(st.dictionaries(st.sampled_from(setting_keys()), st.integers(), min_size=1))
def test_nesting_undoes_flattening(flat: dict[str, int]):
    assert flatten(nested(flat, "f.toml")) == flat


@given(st.text(max_size=400))
def test_no_text_makes_reading_crash(tmp_path_factory, text: str):
    path = tmp_path_factory.mktemp("fuzz") / "any.toml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")

    with pytest.raises(SpecError):
        read_study(path)


@pytest.mark.parametrize(
    ("setting", "most"),
    [
        ("epochs", 10**9),
        ("steps", 10**9),
        ("log_every", 10**9),
        ("eval_every", 10**9),
        ("schedule.warmup_steps", 10**9),
        ("schedule.warmup_epochs", 10.0**9),
        ("early_stop.patience", 10**9),
        ("batch_size", 10**6),
        ("optimizer.base_batch", 10**6),
        ("model.norm_groups", 65_536),
        ("validation.seed", 2**32 - 1),
    ],
)
def test_a_size_that_nobody_means_is_one_sentence(write, setting, most):
    path = write(MINIMAL)

    for absurd in (most + 1, 10**30):
        with pytest.raises(SpecError, match=rf"{setting}: must be (at most|less than)") as refused:
            read_study(path, overrides={setting: absurd})
        assert len(str(refused.value).splitlines()) == 1


def test_a_stage_has_no_more_channels_than_memory_could_hold(write):
    with pytest.raises(SpecError, match=r"model.widths.1: must be at most 65536, not 65537"):
        read_study(write(MINIMAL), overrides={"model.widths": [65_536, 65_537]})


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text(MINIMAL, encoding="utf-8-sig")

    assert read_study(path).name == "tiny"


@pytest.mark.parametrize(
    ("text", "says"), [("x = " + "[" * 5000, "nests too deeply"), ("x = " + "9" * 5000, "is not valid TOML: Exceeds")]
)
def test_a_file_that_python_can_not_read_is_one_sentence(write, text, says):
    with pytest.raises(SpecError, match=says):
        read_study(write(text))


def test_a_wrong_entry_does_not_make_its_list_empty(write):
    with pytest.raises(SpecError) as refused:
        read_study(write(MINIMAL), overrides={"model.widths": [0]})

    assert str(refused.value).endswith("model.widths.0: must be greater than 0, not 0")


def test_what_is_no_file_is_called_what_it_is(tmp_path):
    (tmp_path / "folder.toml").mkdir()
    os.mkfifo(tmp_path / "pipe.toml")

    for name, says in (("folder", "is a folder"), ("pipe", "is a device or a pipe"), ("no", "there is no such")):
        with pytest.raises(UnknownStudy, match=says):
            find(str(tmp_path / f"{name}.toml"))


@pytest.mark.parametrize("length", [300, 5000])
def test_a_file_name_that_is_too_long_is_one_sentence(length):
    with pytest.raises(UnknownStudy, match="File name too long") as refused:
        find("x" * length + ".toml")

    assert len(str(refused.value)) < 300


def test_a_file_that_may_not_be_looked_at_is_one_sentence(monkeypatch, tmp_path):
    def forbidden(path, **_):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "stat", forbidden)
    with pytest.raises(UnknownStudy, match="x.toml': can't be read: Permission denied"):
        find(str(tmp_path / "x.toml"))
