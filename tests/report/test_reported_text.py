"""Reported numbers beside what was found: sentences, page, JSON and terminal say the same."""

import json
from dataclasses import replace
from typing import Any

import pytest
from support.studies import LOW, MIDDLE, WAITING
from typer.testing import CliRunner

from cifarsweep.analysis.study import StudyAnalysis, analyse
from cifarsweep.cli.app import app
from cifarsweep.report.render import render_study
from cifarsweep.report.reported_text import reported_lines, reported_view
from cifarsweep.report.summary import study_fields
from cifarsweep.spec.moments import At
from cifarsweep.spec.reported import Reported
from cifarsweep.store import Store

#: One further run ends at 85.03 to 94.97 %, the mean of 3 further ones at 86.49 to 93.51 %.
SPREAD = {LOW: [0.89, 0.90, 0.91], MIDDLE: [0.1, 0.1, 0.1]}


def fact(value: float = 0.9, **changes: Any) -> Reported:
    return Reported(**{"cell": LOW, "metric": "val/accuracy", "value": value, **changes})


@pytest.fixture
def said(tried: Any) -> Any:
    """The analysis of three seeds around 90 % with these reported numbers; other trials of the first cell if given."""

    def _said(*facts: Reported, **changes: Any) -> StudyAnalysis:
        report = tried(SPREAD)
        study = report.study.model_copy(update={"reported": facts})
        trials = tuple(replace(trial, **changes) if trial.cell == LOW else trial for trial in report.trials)
        return analyse(replace(report, study=study, trials=trials))

    return _said


def plain(text: str) -> str:
    return text.replace("\N{NARROW NO-BREAK SPACE}", " ")


OURS = "found is 90.0 ± 2.5 % over 3 seeds, and one run of ours would give 85.03 to 94.97 %"
THREE = "found is 90.0 ± 2.5 % over 3 seeds, and a mean of 3 runs of ours would give 86.49 to 93.51 %"
BEST_OF = " It is one run: a best of several is expected to be higher."
WORDS = {
    "in line": (
        fact(0.9498 - 0.01, tolerance=0.1),
        f"{LOW}, test accuracy at the end: reported is 93.98 % from one run; {OURS}: in line.{BEST_OF}",
    ),
    "no tolerance": (
        fact(0.9),
        f"{LOW}, test accuracy at the end: reported is 90.0 % from one run; {OURS}: not told apart, for no "
        f"tolerance is given.{BEST_OF}",
    ),
    "too wide": (
        fact(0.9, tolerance=0.01),
        f"{LOW}, test accuracy at the end: reported is 90.0 % from one run; {OURS}: not told apart, for the "
        f"interval is wider than the tolerance of 1 point.{BEST_OF}",
    ),
    "higher": (
        fact(0.9498),
        f"{LOW}, test accuracy at the end: reported is 94.98 % from one run; {OURS}: the report is higher than a "
        f"run of ours would give.{BEST_OF}",
    ),
    "lower": (
        fact(0.85),
        f"{LOW}, test accuracy at the end: reported is 85.0 % from one run; {OURS}: the report is lower than a "
        f"run of ours would give.{BEST_OF}",
    ),
    "several runs": (
        fact(0.94, runs=3),
        f"{LOW}, test accuracy at the end: reported is 94.0 % as the mean of 3 runs; {THREE}: the report is "
        "higher than a mean of 3 runs of ours would give.",
    ),
    "all alike": (
        fact(0.1, cell=MIDDLE),
        f"{MIDDLE}, test accuracy at the end: reported is 10.0 % from one run; found is 10.0 %, all 3 seeds "
        f"alike, which gives no interval.{BEST_OF}",
    ),
}


@pytest.mark.parametrize(("reported", "sentence"), WORDS.values(), ids=WORDS)
def test_every_word_has_its_sentence(said: Any, reported: Reported, sentence: str) -> None:
    (line,) = reported_lines(said(reported))

    assert plain(line) == sentence


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (WAITING, "no trial is done yet. It is one run: a best of several is expected to be higher. 3 trials are not"),
        ({"outcome": "diverged"}, "All 3 runs fell out; the mean is of what they ended with."),
        ({"final": {}}, "no trial has such a value."),
    ],
)
def test_what_is_missing_is_said(said: Any, changes: dict[str, Any], words: str) -> None:
    (line,) = reported_lines(said(fact(), **changes))

    assert words in line


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"at": At(epoch=1.0)}, "test accuracy at epoch 1:"),
        ({"of": "best"}, "best test accuracy of training:"),
        ({"of": "best", "at": At(step=1000)}, "best test accuracy until step 1,000:"),
        ({"of": "mean of the last 10"}, "test accuracy, mean of the last 10 evaluations:"),
        ({"metric": "elapsed_s", "value": 1252.0}, "training time at the end: reported is 20 min 52 s"),
        ({"metric": "gpu/memory_bytes", "value": 7.5e9}, "reported is 7.5 GB"),
        ({"metric": "val/loss", "value": 1.756}, "a best of several is expected to be lower."),
    ],
)
def test_the_sentence_names_what_was_reported(said: Any, changes: dict[str, Any], words: str) -> None:
    (line,) = reported_lines(said(fact(**changes)))

    assert words in plain(line)


def test_no_reader_is_told_that_a_number_is_false(said: Any) -> None:
    analysis = said(fact(0.5), fact(0.99), fact(0.9), fact(0.9, tolerance=0.1))
    page = render_study(analysis)
    section = page[page.index('id="reported"') :].split("</section>")[0]

    assert "false" not in " ".join([*reported_lines(analysis), section]).lower()


def test_the_page_has_a_row_a_number_with_its_source(said: Any) -> None:
    html = render_study(said(fact(0.9498, source="Table <3>", setting="batch 64, no crop")))

    assert "Reported and found" in html and "94.98" in html
    assert "higher than a run of ours would give" in html
    assert "Table &lt;3&gt;" in html and "batch 64, no crop" in html


def test_the_page_says_how_many_intervals_are_expected_to_miss(said: Any) -> None:
    one, four = reported_view(said(fact())), reported_view(said(*[fact()] * 4))

    assert one is not None and four is not None
    assert (one["expected"], four["expected"]) == ("", "Of 4 such intervals, 0.2 are expected to miss.")


def test_a_study_without_reported_numbers_has_no_such_section(said: Any) -> None:
    assert "Reported and found" not in render_study(said())
    assert study_fields(said())["reported"] == []


def test_json_has_the_numbers_and_the_sentence(said: Any) -> None:
    analysis = said(fact(0.9, at=None, tolerance=0.1))

    (fields,) = json.loads(json.dumps(study_fields(analysis)))["reported"]

    assert (fields["reported"], fields["n"], fields["runs"], fields["standing"]) == (0.9, 3, 1, "in line")
    assert fields["prediction_interval"] == pytest.approx([0.8503, 0.9497], abs=1e-4)
    assert [fields["sentence"]] == reported_lines(analysis)


def test_the_terminal_has_the_sentences(make: Any, tmp_path: Any) -> None:
    url = f"sqlite:///{tmp_path}/held.db"
    with Store.open(url, upgrade=True) as store:
        store.studies.create(make.study({"optimizer.lr": (0.1, 0.2)}, reported=(fact(0.9),)))

    shown = CliRunner().invoke(app, ["report", "tried", "--db", url, "--out", str(tmp_path / "pages")])

    assert shown.exit_code == 0
    said = plain(" ".join(shown.output.split()))
    assert "Reported and found - lr=0.1, test accuracy at the end: reported is 90.0 % from one run;" in said
    assert "no trial is done yet." in said
