"""Numbers that others reported, in study files."""

from typing import Any

import pytest

from cifarsweep.errors import SpecError
from cifarsweep.spec.moments import At
from cifarsweep.spec.reader import read_study
from cifarsweep.spec.study import Study, dangling
from cifarsweep.spec.study_diff import check_extends, difference

BASE = """
name = "tiny"
question = "Which rate?"
[settings]
dataset = "digits"
epochs = 20
[[arms]]
name = "slow"
set = { "optimizer.lr" = 1e-4 }
[[arms]]
name = "short"
set = { "optimizer.lr" = 1e-3, steps = 100 }
"""
FACT = {"cell": '"slow"', "metric": '"val/accuracy"', "value": "0.9498"}


def with_fact(**changes: str) -> str:
    return BASE + "[[reported]]\n" + "".join(f"{key} = {value}\n" for key, value in {**FACT, **changes}.items())


def test_only_cell_metric_and_value_are_needed(write: Any) -> None:
    (fact,) = read_study(write(with_fact())).reported

    assert (fact.value, fact.runs, fact.of, fact.at, fact.needs_curve) == (0.9498, 1, "last", None, False)


def test_all_that_is_known_is_kept(write: Any) -> None:
    text = with_fact(
        at="{ epoch = 1 }",
        runs="5",
        of='"mean of the last 10"',
        source='"Table 3"',
        setting='"no crop"',
        tolerance="0.01",
    )

    (fact,) = read_study(write(text)).reported

    assert fact.at == At(epoch=1.0) and fact.needs_curve and fact.mean_of == 10
    assert (fact.runs, fact.source, fact.setting, fact.tolerance) == (5, "Table 3", "no crop", 0.01)


BAD = {
    "unknown cell": ({"cell": '"slo"'}, "reported 1: cell: there is no cell 'slo'. Did you mean 'slow'? The cells are"),
    "unknown metric": ({"metric": '"val/acuracy"'}, "metric: 'val/acuracy' is unknown. Did you mean 'val/accuracy'?"),
    "per cent": (
        {"value": "94.98"},
        "value: val/accuracy is at most 1, not 94.98; give a share; 94.98 % is 0.9498",
    ),
    "above all": ({"value": "101"}, "value: val/accuracy is at most 1, not 101; give a share; 94.98 % is 0.9498"),
    "busy by per cent": ({"metric": '"gpu/utilisation"', "value": "98"}, "give a share; 98 % is 0.98"),
    "negative": ({"value": "-0.1"}, "value: val/accuracy is never below 0"),
    "a loss below 0": ({"metric": '"val/loss"', "value": "-1"}, "value: val/loss is never below 0"),
    "no number": ({"value": "nan"}, "must be a finite number"),
    "no runs": ({"runs": "0"}, "reported 1: runs: must be greater than 0, not 0"),
    "half a run": ({"runs": "1.5"}, "reported 1: runs: "),
    "beyond the epochs": ({"at": "{ epoch = 21 }"}, "at: epoch 21 is beyond the budget of 'slow', which ends at epoch"),
    "beyond the steps": (
        {"cell": '"short"', "at": "{ step = 101 }"},
        "at: step 101 is beyond the budget of 'short', which ends at step 100",
    ),
    "both moments": ({"at": "{ epoch = 1, step = 2 }"}, "give exactly one of epoch and step"),
    "no moment": ({"at": "{}"}, "give exactly one of epoch and step"),
    "moment 0": ({"at": "{ step = 0 }"}, "must be at least 1, not 0"),
    "unknown of": ({"of": '"median"'}, """of: 'median' is unknown; write "last", "best" or "mean of the last 10\""""),
    "mean of none": ({"of": '"mean of the last 0"'}, "of: 'mean of the last 0' is unknown"),
    "a curve of one value": ({"metric": '"best/accuracy"', "of": '"best"'}, "a trial has one value of 'best/accuracy'"),
    "a word for the value": (
        {"value": '"94.98 %"'},
        "reported 1: value: must be a number, not '94.98 %'; 94.98 % is 0.9498",
    ),
    "tolerance in points": ({"tolerance": "5"}, "tolerance: 5 is every value of a share; one point is 0.01"),
    "the best of what has none": (
        {"metric": '"lr"', "value": "0.1", "of": '"best"'},
        "of: 'lr' has no best value, as accuracies and losses have",
    ),
    "weights that are not kept": (
        {"metric": '"best/accuracy"'},
        "metric: 'slow' has no best/accuracy, for it keeps no best weights: set keep_best = true, or write metric",
    ),
    "a stop that never comes": (
        {"metric": '"early_stopped_at"', "value": "9"},
        "metric: 'slow' has no early_stopped_at, for it never stops early: set early_stop.patience",
    ),
    "no tolerance": ({"tolerance": "0"}, "tolerance: must be greater than 0.0, not 0"),
    "a misspelt key": ({"sorce": '"x"'}, "reported 1: sorce: unknown key. Did you mean 'source'?"),
}


@pytest.mark.parametrize(("changes", "says"), BAD.values(), ids=BAD)
def test_a_mistake_is_one_sentence(write: Any, changes: dict[str, str], says: str) -> None:
    path = write(with_fact(**changes))

    with pytest.raises(SpecError) as caught:
        read_study(path)

    assert says in str(caught.value) and str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_search_has_no_reported_numbers(write: Any) -> None:
    text = BASE.partition("[[arms]]")[0] + '[search.space]\n"optimizer.lr" = { low = 1e-4, high = 1e-1 }\n'
    text += "[[reported]]" + with_fact().partition("[[reported]]")[2]

    with pytest.raises(SpecError, match="reported: a study either searches or compares"):
        read_study(write(text))


def test_a_study_without_reported_numbers_keeps_its_hash(write: Any) -> None:
    study = read_study(write(BASE))

    assert "reported" not in study.canonical()


def test_a_stored_study_reads_back_equal(write: Any) -> None:
    study = read_study(write(with_fact(at="{ step = 9 }")))

    assert Study.from_canonical(study.canonical()) == study


def test_they_may_come_later_since_they_are_neither_trained_nor_tested(write: Any) -> None:
    old, new = read_study(write(BASE)), read_study(write(with_fact()))

    check_extends(old, new)
    check_extends(new, old)
    assert 'reported new: {"cell": "slow"' in difference(old, new)


def test_a_stored_number_of_no_cell_is_named(write: Any) -> None:
    study = read_study(write(with_fact()))
    lost = study.model_copy(update={"cells": study.cells[1:]})

    assert dangling(study) is None and dangling(lost) == "reported: there is no cell 'slow'"


@pytest.mark.parametrize(
    ("given", "fact", "says"),
    [
        ({"epochs": 2}, {"at": "{ epoch = 3 }"}, "of 'slow' is left out: with --set training ends before it"),
        (
            {"optimizer.lr": 0.1, "steps": 9},
            {"cell": '"short"'},
            "of 'short' is left out: with --set its cell is merged",
        ),
        (
            {"validation.split": "test"},
            {"metric": '"test/accuracy"'},
            "the reported test/accuracy of 'slow' is left out: with --set it is not recorded",
        ),
    ],
)
def test_numbers_that_an_override_makes_incomparable_are_left_out(
    write: Any, given: dict[str, Any], fact: dict[str, str], says: str
) -> None:
    notes: list[str] = []

    study = read_study(write(with_fact(**fact)), overrides=given, note=notes.append)

    assert study.reported == () and any(says in note for note in notes)


def test_a_number_that_an_override_leaves_comparable_stays_with_a_note(write: Any) -> None:
    notes: list[str] = []

    assert len(read_study(write(with_fact()), overrides={"batch_size": 8}, note=notes.append).reported) == 1
    assert notes == ["the reported numbers are held against other settings than the file's: --set batch_size"]
