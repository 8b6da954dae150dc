"""A report says what the database holds."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cifarsweep.errors import UnknownStudy
from cifarsweep.report.collect import collect
from cifarsweep.report.pages import render_study
from cifarsweep.spec.words import AttemptEnd, MetricRow, Outcome, TrialResult
from cifarsweep.store import Store
from cifarsweep.store.records import WorkerInfo

FINAL = {"val/accuracy": 0.75, "params": 1234.0, "flops_per_image": 5e6}


@pytest.fixture
def store(make: Any, tmp_path: Path) -> Any:
    """One trial done, one that failed twice, one that nobody took."""
    with Store.open(f"sqlite:///{tmp_path}/results.db", upgrade=True) as opened:
        opened.create_study(make.study({}, seeds=3))
        opened.register_worker(WorkerInfo("w", "node1", 1, "cpu", 1, {"torch": "2.15"}))
        lease = opened.claim("w")
        rows = [MetricRow(name, 10, value) for name, value in (("val/accuracy", 0.75), ("elapsed_s", 3.5))]
        opened.finish(opened.write(lease, rows), [], None, TrialResult(Outcome.FINISHED, 10, FINAL, "cd" * 32))
        opened.fail(opened.claim("w"), AttemptEnd.EXCEPTION, "RuntimeError: no", "Traceback: RuntimeError: no")
        yield opened


def test_every_trial_is_there_with_what_became_of_it(store: Any) -> None:
    report = collect(store, "tried")

    done, failing, waiting = sorted(report.trials, key=lambda trial: trial.number)
    assert (done.done, done.accuracy, done.params, done.flops) == (True, 0.75, 1234, 5e6)
    assert done.final == {"val/accuracy": 0.75}
    assert (done.steps, done.weights_sha256, dict(done.versions)) == (10, "cd" * 32, {"torch": "2.15"})
    assert (done.attempts[0].host, done.attempts[0].end) == ("node1", "done")
    assert (failing.state, failing.error, failing.attempts[0].error) == ("queued", None, "RuntimeError: no")
    assert (waiting.attempts, waiting.elapsed_s, waiting.weights_sha256) == ((), None, None)


def test_series_and_surroundings(store: Any) -> None:
    report = collect(store, "tried")

    steps, values = report.series[0, "val/accuracy"]
    assert (steps.tolist(), values.tolist()) == ([10], [0.75])
    assert (datetime.now(UTC) - report.made_at).total_seconds() < 60
    assert report.study == store.study("tried").spec
    assert "results.db" in render_study(report)


def test_a_study_that_is_not_there_is_named(store: Any) -> None:
    with pytest.raises(UnknownStudy, match="tired"):
        collect(store, "tired")
