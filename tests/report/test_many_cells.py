"""Of a study of very many cells a page and a terminal show some, name the rest, and judge all."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from cifarsweep.analysis.records import ReportStudy
from cifarsweep.analysis.study import analyse, load_study
from cifarsweep.analysis.verdicts import verdicts
from cifarsweep.report.render import render_study
from cifarsweep.report.results_table import results_table
from cifarsweep.report.study_page import study_view
from cifarsweep.spec.hypothesis import Greater
from cifarsweep.spec.types import MetricRow, Outcome, TrialResult
from cifarsweep.store import Store

SIZES = tuple(range(1, 13))
WORST = Greater(kind="greater", claim="1 is above 2", a="batch_size=1", b="batch_size=2")


@pytest.fixture
def many(make: Any) -> ReportStudy:
    """Twelve cells, each better and slower than the one before, of which a hypothesis compares the worst two."""
    study = make.study({"batch_size": SIZES}, seeds=3, hypotheses=(WORST,))
    report = make.finished(study, [0.3 + 0.05 * size for size in SIZES], points=5)
    return replace(report, trials=tuple(replace(one, elapsed_s=10.0 + one.number) for one in report.trials))


def limit(monkeypatch: pytest.MonkeyPatch, **limits: int) -> None:
    for name, most in limits.items():
        monkeypatch.setattr(f"cifarsweep.analysis.study.{name}", most)


def shown(page: str) -> list[str]:
    return [cell["name"] for cell in json.loads(re.search(r'id="report-data">(.*?)</script>', page)[1])["cells"]]


def test_few_cells_are_all_shown(many: ReportStudy) -> None:
    view = study_view(analyse(many))

    assert len(view["results"]) == len(SIZES) and view["left_out"] == {"cells": "", "trials": ""}
    assert len(view["trials"]["rows"]) == len(many.trials)


def test_the_best_are_shown_and_those_of_hypotheses(many: ReportStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    same = tuple(replace(one, elapsed_s=10.0, params=7, flops=None) for one in many.trials)
    limit(monkeypatch, SHOWN_CELLS=5)

    cells = analyse(replace(many, trials=same)).shown

    assert cells == {f"batch_size={size}" for size in (1, 2, 10, 11, 12)}


def test_a_pareto_front_stays_whole(many: ReportStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    before = study_view(analyse(many))["payload"]["costs"]
    limit(monkeypatch, SHOWN_CELLS=5)

    after = study_view(analyse(many))["payload"]["costs"]

    assert [cost["told"] for cost in after] == [cost["told"] for cost in before] != []


def test_a_page_says_what_it_leaves_out_and_judges_all(many: ReportStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    same = replace(many, trials=tuple(replace(one, elapsed_s=10.0, params=7, flops=None) for one in many.trials))
    whole = study_view(analyse(same))
    limit(monkeypatch, SHOWN_CELLS=4, SHOWN_TRIALS=6)

    view, page = study_view(analyse(same)), render_study(analyse(same))

    kept = ["batch_size=1", "batch_size=2", "batch_size=11", "batch_size=12"]
    assert shown(page) == [row["cell"] for row in view["results"]] == [name for name, _ in view["differing"]["rows"]]
    assert shown(page) == kept and all(len(metric["curves"]) == 4 for metric in view["payload"]["metrics"])
    assert (
        "4 of 12 cells are shown" in page
        and "The other 8 are in what <code>cifarsweep report tried --json</code>" in page
    )
    assert "6 of 36 trials are listed" in page and "<code>cifarsweep show tried/NUMBER</code>" in page
    for part in ("verdicts", "hypotheses", "lead", "confounds", "notes", "reproduce", "settings", "trial_counts"):
        assert view[part] == whole[part], part


def test_trials_that_failed_are_listed_first_and_every_link_leads_somewhere(
    make: Any, many: ReportStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = {"state": "failed", "outcome": None, "final": {}, "error": "RuntimeError: no"}
    trials = tuple(replace(one, **failed) if one.number % 5 == 0 else one for one in many.trials)
    limit(monkeypatch, SHOWN_CELLS=3, SHOWN_TRIALS=5)

    page = render_study(analyse(replace(many, trials=trials)))

    assert len(re.findall(r'<tr id="trial-', page)) == 5
    assert set(re.findall(r'href="#(trial-\d+|error-\d+)"', page)) <= set(re.findall(r'id="([^"]+)"', page))
    assert len(re.findall(r'<pre id="error-', page)) == 5


def test_a_terminal_has_a_line_for_the_best(many: ReportStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    assert results_table(analyse(many)).row_count == 12 and results_table(analyse(many)).caption is None
    limit(monkeypatch, SHOWN_LINES=4)

    table = results_table(analyse(many))

    assert [str(cell) for cell in table.columns[0].cells] == [f"batch_size={size}" for size in (9, 10, 11, 12)]
    assert "the best 4 of 12 cells; `cifarsweep report tried --json` has all" in str(table.caption)


def test_curves_are_read_of_the_cells_that_are_shown(make: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    limit(monkeypatch, SHOWN_CELLS=2)
    with Store.open(f"sqlite:///{tmp_path}/many.db", upgrade=True) as store:
        store.studies.create(make.study({"batch_size": (1, 2, 3, 4)}, seeds=1))
        while lease := store.queue.claim("w"):
            rows = [MetricRow("val/accuracy", step, 0.1 * lease.number) for step in (1, 2, 3)]
            final = {"val/accuracy": 0.1 * lease.number}
            store.queue.finish(store.queue.write(lease, rows), [], None, TrialResult(Outcome.FINISHED, 3, final, ""))

        report = load_study(store, "tried").report

    assert set(report.series) == {(2, "val/accuracy"), (3, "val/accuracy")}
    assert report.evaluations == {0: 3, 1: 3} and len(report.trials) == len(report.study.cells) == 4
    assert len(verdicts(report)) == 0
