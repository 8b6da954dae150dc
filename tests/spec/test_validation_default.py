"""A study file that says nothing of validation holds a tenth out; studies of earlier versions mean the test set."""

import json

import pytest

from cifarsweep.errors import SpecError
from cifarsweep.spec.reader import read_study, shipped
from cifarsweep.spec.search_space import Choices, Search
from cifarsweep.spec.settings import Settings, Validation
from cifarsweep.spec.study import Cell, Study
from cifarsweep.spec.writer import study_toml

HEAD = 'name = "tried"\nquestion = "Which one?"\n'
TENTH = Validation(split="holdout", fraction=0.1)
SPACE = '[search]\nn_trials = 4\n[search.space]\n"model.norm" = { choices = ["batch", "layer"] }\n'


def validations(study: Study) -> set[Validation]:
    return {cell.settings.validation for cell in study.cells}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("", TENTH),
        ('validation = { split = "holdout" }\n', TENTH),
        ("validation.seed = 3\n", Validation(split="holdout", fraction=0.1, seed=3)),
        ("validation.fraction = 0.3\n", Validation(split="holdout", fraction=0.3)),
        ('validation = { split = "holdout", fraction = 0.2 }\n', Validation(split="holdout")),
        ('validation = { split = "test" }\n', Validation()),
    ],
)
@pytest.mark.parametrize("rest", ["", SPACE], ids=["cells", "search"])
def test_what_a_file_means(write, given, expected, rest):
    study = read_study(write(f"{HEAD}[settings]\nepochs = 1\n{given}{rest}"))

    assert validations(study) == {expected}
    assert read_study(write(study_toml(study))).sha256 == study.sha256


def test_set_wins_over_both_the_file_and_its_default(write):
    path = write(f"{HEAD}[settings]\nepochs = 1\n")

    assert validations(read_study(path, overrides={"validation.split": "test"})) == {Validation()}
    assert validations(read_study(path, overrides={"validation.fraction": 0.4})) == {
        Validation(split="holdout", fraction=0.4)
    }


@pytest.mark.parametrize(
    "varied",
    [
        '[factors]\n"validation.split" = ["test", "holdout"]\n',
        '[[arms]]\nname = "as it is"\nset = {}\n[[arms]]\nname = "test"\nset = { "validation.split" = "test" }\n',
        '[search]\nn_trials = 2\n[search.space]\n"validation.split" = { choices = ["test", "holdout"] }\n',
    ],
    ids=["factors", "arms", "search"],
)
def test_what_is_validated_on_may_vary(write, varied):
    study = read_study(write(f"{HEAD}[settings]\nepochs = 1\n{varied}"))

    assert {each.split for each in validations(study)} == {"test", "holdout"}
    assert {each.fraction for each in validations(study)} == {0.1}
    assert read_study(write(study_toml(study))).sha256 == study.sha256


@pytest.mark.parametrize("fixed", [{"epochs": 1}, {"epochs": 1, "validation.split": "holdout"}])
def test_the_file_of_a_stored_search_trains_what_the_search_trained(write, fixed):
    search = Search(n_trials=2, space={"model.norm": Choices(choices=("batch", "layer"))}, fixed=fixed)
    settings = Settings(epochs=1, validation=Validation(split=fixed.get("validation.split", "test")))
    cell = Cell(name="norm=batch", levels={"model.norm": "batch"}, settings=settings)
    stored = Study(name="tried", question="Which one?", cells=(cell,), seeds=(0,), search=search)

    assert validations(read_study(write(study_toml(stored)))) == validations(stored)


def test_a_stored_study_without_the_key_means_the_test_set(write):
    contents = json.loads(read_study(write(f"{HEAD}[settings]\nepochs = 1\n")).canonical())
    del contents["cells"][0]["settings"]["validation"]

    assert validations(Study.from_canonical(json.dumps(contents))) == {Validation(split="test", fraction=0.2)}
    # Checkpoints leave defaults out of their digests.
    assert Settings(epochs=1).model_dump_json(exclude_defaults=True) == '{"epochs":1}'


@pytest.mark.parametrize("path", shipped(), ids=lambda path: path.stem)
def test_every_shipped_study_says_what_its_accuracy_is_measured_on(path):
    named = [line for line in path.read_text().splitlines() if line.startswith("validation")]

    assert named and "split = " in named[0]


TESTED = '[[hypotheses]]\nkind = "reaches"\nclaim = "enough"\na = "base"\ntarget = 0.9\nmetric = "{metric}"\n'
REPORTED = '[[reported]]\ncell = "base"\nmetric = "{metric}"\nvalue = 0.9\n'


@pytest.mark.parametrize("table", [TESTED, REPORTED], ids=["hypothesis", "reported"])
@pytest.mark.parametrize(
    ("settings", "metric", "says"),
    [
        ('validation = { split = "test" }', "test/accuracy", "'base' has no test/accuracy.*: write val/accuracy"),
        ('validation = { split = "test" }\nkeep_best = true', "best/test_accuracy", "write best/accuracy"),
        ("", "best/test_accuracy", "keeps no best weights: set keep_best = true"),
        ("", "best/accuracy", "keeps no best weights: set keep_best = true"),
        ("", "test/acuracy", "Did you mean 'test/accuracy'"),
        ("early_stop = { patience = 1 }", "best/step", None),
        ("", "test/accuracy", None),
        ("keep_best = true", "best/test_accuracy", None),
    ],
)
def test_results_on_the_test_set_are_named_where_there_are_any(write, table, settings, metric, says):
    path = write(f"{HEAD}[settings]\nepochs = 1\n{settings}\n{table.format(metric=metric)}")

    if says is None:
        assert read_study(path)
        return
    with pytest.raises(SpecError, match=says):
        read_study(path)


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ('"reaches"\na = "base"\ntarget = 0.9\nat = { epoch = 1 }', "at: a trial has one value of 'test/accuracy'"),
        ('"faster"\na = "base"\nb = "more"\ntarget = 0.9', "kind: a trial has one value of 'test/accuracy'"),
    ],
)
def test_results_on_the_test_set_have_no_moments(write, kind, says):
    arms = '[[arms]]\nname = "base"\nset = {}\n[[arms]]\nname = "more"\nset = { epochs = 2 }\n'
    hypothesis = f'[[hypotheses]]\nclaim = "so"\nmetric = "test/accuracy"\nkind = {kind}\n'

    with pytest.raises(SpecError, match=says):
        read_study(write(f"{HEAD}[settings]\nepochs = 1\n{arms}{hypothesis}"))
