"""A study in short: nothing sounds surer than it is, and missing results are named."""

import re
from dataclasses import replace
from typing import Any

from cifarsweep.analysis.results import cell_results
from cifarsweep.analysis.study import analyse
from cifarsweep.report.render import render_index, render_study
from cifarsweep.report.summary import index_row, lead, study_fields, verdict_lines
from cifarsweep.spec.hypothesis import Best, Greater
from cifarsweep.spec.search_space import Range, Search

WAITING = {"state": "queued", "outcome": None, "final": {}, "attempts": (), "steps": 0, "elapsed_s": None}
SKIP = Greater(kind="greater", claim="Skips help", a={"model.skip": True}, b={"model.skip": False})
FIRST = Best(kind="best", claim="No skip is best", factor="model.skip", level=False)


def tried(make: Any, seeds: int, **changes: Any) -> Any:
    return make.finished(make.study({"model.skip": (False, True)}, seeds=seeds, hypotheses=(SKIP, FIRST), **changes))


def test_one_seed_decides_nothing_and_an_open_study_is_preliminary(make: Any) -> None:
    report = tried(make, 1)
    open_one = replace(report, trials=(report.trials[0], replace(report.trials[1], **WAITING)))

    assert "one seed decides nothing" in lead(report, cell_results(report))
    said = lead(open_one, cell_results(open_one))
    assert "Of the 1 of 2 cells with a result" in said and "so this is preliminary" in said
    several = tried(make, 3)
    assert "one seed" not in lead(several, cell_results(several))


def test_trials_that_are_done_and_have_no_accuracy_are_not_called_unfinished(make: Any) -> None:
    report = tried(make, 1)
    silent = replace(report, trials=tuple(replace(trial, final={}) for trial in report.trials))

    said = lead(silent, cell_results(silent))

    assert said == "No trial that is done has a finite val/accuracy (2 trials: 2 done), so nothing is found so far."
    imported = replace(silent, study=silent.study.model_copy(update={"imported": True}))
    assert "--rename TAG=val/accuracy" in lead(imported, ())


def shown(report: Any) -> str:
    """The verdicts of the page."""
    return render_study(analyse(report)).partition('<ol class="verdicts">')[2].partition("</ol>")[0]


def test_a_verdict_without_an_interval_has_no_p(make: Any) -> None:
    alone, several = tried(make, 1), tried(make, 3)

    for said in (*verdict_lines(analyse(alone)), shown(alone)):
        assert not re.search(r"\bp\s[=<]", said)
    assert all(re.search(r"\bp\s[=<]", said) for said in (*verdict_lines(analyse(several)), shown(several)))


def test_the_index_counts_the_verdicts_and_speaks_of_no_table(make: Any) -> None:
    report = tried(make, 3)
    rate = {"optimizer.lr": Range(low=0.1, high=1.0)}
    searched = report.study.model_copy(update={"search": Search(n_trials=9, space=rate), "hypotheses": ()})

    assert index_row(analyse(report))["decisions"] == "2 hypotheses: 1 supported, 1 refuted"
    html = render_index([analyse(report), analyse(replace(report, study=searched))])
    assert "2 hypotheses: 1 supported, 1 refuted" in html and "Table 1" not in html
    assert "Table 1 and the curves show the best 2." in render_study(analyse(replace(report, study=searched)))


def test_pruned_trials_are_counted_apart(make: Any) -> None:
    report = tried(make, 1)
    pruned = replace(report, trials=(report.trials[0], replace(report.trials[1], outcome="pruned")))

    assert index_row(analyse(pruned))["counts"] == "2 trials: 1 done, 1 pruned"


def test_times_of_different_devices_are_marked_wherever_they_are_drawn(make: Any) -> None:
    report = tried(make, 3)
    trials = [
        replace(trial, elapsed_s=10.0 + trial.number, attempts=(make.attempt(1, device=f"GPU {trial.number % 2}"),))
        for trial in report.trials
    ]

    html = render_study(analyse(replace(report, trials=tuple(trials))))

    for figure in ("figure-curves", "figure-costs"):
        caption = html.partition(f'id="{figure}"')[2].partition("</figure>")[0]
        assert "Times are of different devices (GPU 0, GPU 1)" in caption, figure
    assert "Times are of" not in render_study(analyse(report))


def test_what_is_not_known_is_not_called_nothing(make: Any) -> None:
    study = make.study({"model.skip": (False, True)}, seeds=1)
    waiting = [make.trial(place, cell.name, 0, **WAITING) for place, cell in enumerate(study.cells)]
    imported = make.finished(study.model_copy(update={"imported": True}))

    assert "Nothing is known of this yet: no trial is done." in render_study(analyse(make.report(study, waiting)))
    html = render_study(analyse(imported))
    assert "The imported logs do not say what their trials ran with." in html
    assert "Settings common to all cells" not in html


def test_an_interval_beyond_what_can_be_is_explained_once(make: Any) -> None:
    study = make.study({}, seeds=2)
    trials = [make.trial(seed, "base", seed, final={"val/accuracy": value}) for seed, value in enumerate((0.9, 0.99))]

    html, others = render_study(analyse(make.report(study, trials))), render_study(analyse(tried(make, 3)))

    assert html.count("an interval would reach beyond") == 1 and "an interval would reach beyond" not in others
    assert "94.5\u202f% (90.0 to 99.0\u202f%)" in html, "Student's t would reach from 37 to 152 %"
    assert study_fields(analyse(make.report(study, trials)))["cells"][0]["interval"] is None


def test_what_a_traceback_ends_with_is_seen_before_it_is_opened(make: Any) -> None:
    error = "Traceback (most recent call last):\n  File <x>\nRuntimeError: <b>out</b> of luck"
    trial = make.trial(0, "base", 0, state="failed", final={}, outcome=None, error=error)

    html = render_study(analyse(make.report(make.study({}, seeds=1), [trial])))

    summary = html.partition("<summary>Error and attempts")[2].partition("</summary>")[0]
    assert summary == " of trial 0: <code>RuntimeError: &lt;b&gt;out&lt;/b&gt; of luck</code>"
