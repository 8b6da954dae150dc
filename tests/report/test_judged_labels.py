"""A study that is judged by the test set speaks of test accuracy everywhere; one with a hold-out of validation."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from cifarsweep.analysis.study import analyse
from cifarsweep.formatting import labels_of, metric_label
from cifarsweep.report.comparison_page import lead as comparison_lead
from cifarsweep.report.render import linked_row, render_study
from cifarsweep.report.reported_text import reported_lines
from cifarsweep.report.summary import study_fields, verdict_lines
from cifarsweep.spec.hypothesis import Greater
from cifarsweep.spec.reported import Reported

CLAIM = Greater(kind="greater", claim="More is better", a="skip=yes", b="skip=no")
UNKNOWN = Greater(kind="greater", claim="It may stop", a="skip=yes", b="skip=no", metric="val/loss")
FACT = Reported(cell="skip=no", metric="val/accuracy", value=0.9)


def study_of(make: Any, *splits: str) -> Any:
    study = make.study({"model.skip": (False, True)}, hypotheses=(CLAIM, UNKNOWN), reported=(FACT,))
    cells = []
    for cell, split in zip(study.cells, splits * 2, strict=False):
        validation = cell.settings.validation.model_copy(update={"split": split})
        changes = {"validation": validation, "keep_best": True}
        cells.append(cell.model_copy(update={"own_settings": cell.settings.model_copy(update=changes)}))
    return study.model_copy(update={"cells": tuple(cells)})


def everything(report: Any) -> str:
    """All that page, index, terminal and JSON say, without the scripts of the page."""
    found = analyse(report)
    page = re.sub(r"<script>.*?</script>", "", render_study(found), flags=re.S)
    said = [
        page,
        str(linked_row(found)),
        *verdict_lines(found),
        json.dumps(study_fields(found)),
        *reported_lines(found),
    ]
    return " ".join(said).lower()


@pytest.mark.parametrize(
    ("splits", "word", "never"),
    [(("test",), "test", "validation"), (("holdout",), "validation", "test"), (("test", "holdout"), None, None)],
    ids=["test", "hold-out", "both"],
)
def test_every_place_names_the_images(make: Any, splits: Any, word: str | None, never: str | None) -> None:
    report = make.finished(study_of(make, *splits))

    said = everything(report)

    if word is None:
        assert "validation or test accuracy" in said and "the highest mean test accuracy" not in said
        return
    assert f"{never} accuracy" not in said and f"{never} loss" not in said
    for place in (
        f"the highest mean {word} accuracy",
        f"</b> {word} accuracy at the end of training",
        f'"accuracy":"{word} accuracy"',
        f"the last one on the {word} images",
        f"kept the weights of their best {word} accuracy",
        f"if the mean {word} accuracy of a",
        f"skip=no, {word} accuracy at the end: reported",
        f"not every cell that it needs is done with a {word} loss",
    ):
        assert place in said, place


def test_results_on_the_test_set_have_a_column_and_a_note(make: Any) -> None:
    report = make.finished(study_of(make, "holdout"))
    tested = [replace(each, final={**each.final, "test/accuracy": 0.5 + each.seed / 10}) for each in report.trials]

    found = analyse(replace(report, trials=tuple(tested)))

    page = render_study(found)
    assert "On the test set" in page and re.search(r">60.0\W+±\W+24.8\W+%<", page)
    assert "the test set was looked at once, after the last step, in 6 trials" in page
    assert study_fields(found)["cells"][0]["test"]["mean"] == pytest.approx(0.6)
    assert "On the test set" not in render_study(analyse(report))
    assert "the test set was not used" in render_study(analyse(report))


def test_a_comparison_names_them_too(make: Any) -> None:
    from cifarsweep.analysis.comparison import compare

    tested, held = (make.finished(study_of(make, split)) for split in ("test", "holdout"))

    assert "a higher test accuracy in B" in comparison_lead(compare(tested, tested))
    assert "a higher validation accuracy in B" in comparison_lead(compare(held, held))


def test_labels_end_with_the_study(make: Any) -> None:
    with labels_of(study_of(make, "test")):
        assert (metric_label("val/accuracy"), metric_label("val/loss")) == ("Test accuracy", "Test loss")
        with labels_of(study_of(make, "holdout")):
            assert metric_label("val/accuracy") == "Validation accuracy"
        assert metric_label("val/accuracy") == "Test accuracy"
    assert metric_label("val/accuracy") == "Validation accuracy"
