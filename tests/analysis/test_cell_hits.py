"""The images that a cell's runs get right come from the database as rows of an array."""

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cifarsweep.analysis.collect import collect
from cifarsweep.analysis.hits import cell_hits
from cifarsweep.analysis.study import load_study
from cifarsweep.spec.types import Hits, Outcome, TrialResult
from cifarsweep.store import Store

RUNS = np.array([[1, 0, 1, 1, 0, 0, 1, 1, 1], [1, 1, 0, 1, 0, 0, 1, 1, 0]], dtype=bool)


def done(run: Any, outcome: Outcome = Outcome.FINISHED) -> TrialResult:
    hits = {"val/accuracy": Hits(len(run), base64.b64encode(np.packbits(run).tobytes()).decode())}
    return TrialResult(outcome, 10, {"val/accuracy": float(np.mean(run))}, "cd" * 32, hits)


@pytest.fixture
def store(make: Any, tmp_path: Path) -> Any:
    with Store.open(f"sqlite:///{tmp_path}/results.db", upgrade=True) as opened:
        opened.studies.create(make.study({}, seeds=4))
        yield opened


def finish(store: Store, result: TrialResult) -> None:
    lease = store.queue.claim("w")
    assert lease is not None
    store.queue.finish(lease, [], None, result)


def test_a_row_for_each_run_that_trained(store: Any) -> None:
    for result in (done(RUNS[0]), done(RUNS[0], Outcome.DIVERGED), done(RUNS[1])):
        finish(store, result)

    report = load_study(store, "tried").report

    found = cell_hits(report, report.study.cells[0].name)
    assert found is not None and found.tolist() == RUNS.tolist()
    assert cell_hits(report, report.study.cells[0].name, "test/accuracy") is None


def test_runs_on_sets_of_different_sizes_make_no_array(store: Any) -> None:
    finish(store, done(RUNS[0]))
    finish(store, done(RUNS[1][:5]))

    report = load_study(store, "tried").report

    assert cell_hits(report, report.study.cells[0].name) is None


def test_cells_that_no_hypothesis_names_are_not_read_for_verdicts(store: Any) -> None:
    finish(store, done(RUNS[0]))

    assert collect(store, "tried").hits == {}
