"""A report says what the database holds."""

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from support.studies import FIRST
from typer.testing import CliRunner

from cifarsweep import notebook
from cifarsweep.analysis.collect import collect
from cifarsweep.analysis.study import analyse, load_study
from cifarsweep.cli.app import app
from cifarsweep.errors import UnknownStudy
from cifarsweep.report.render import render_study
from cifarsweep.report.summary import study_fields
from cifarsweep.spec.final import Final
from cifarsweep.spec.types import AttemptEnd, CheckpointRef, MetricRow, Outcome, TrialResult
from cifarsweep.stats.shares import Guess
from cifarsweep.store import Store
from cifarsweep.store.metrics import Metrics
from cifarsweep.store.records import WorkerInfo
from cifarsweep.store.schema import attempt as attempts
from cifarsweep.store.schema import trial as trials

FINAL = {"val/accuracy": 0.75, "params": 1234.0, "flops_per_image": 5e6}


@pytest.fixture
def store(make: Any, tmp_path: Path) -> Any:
    """One trial done, one that failed twice, one that nobody took."""
    with Store.open(f"sqlite:///{tmp_path}/results.db", upgrade=True) as opened:
        opened.studies.create(make.study({}, seeds=3))
        opened.queue.register_worker(WorkerInfo("w", "node1", 1, "cpu", 1, {"torch": "2.15"}))
        lease = opened.queue.claim("w")
        rows = [MetricRow(name, 10, value) for name, value in (("val/accuracy", 0.75), ("elapsed_s", 3.5))]
        opened.queue.finish(
            opened.queue.write(lease, rows), [], None, TrialResult(Outcome.FINISHED, 10, FINAL, "cd" * 32)
        )
        opened.queue.fail(
            opened.queue.claim("w"), AttemptEnd.EXCEPTION, "RuntimeError: no", "Traceback: RuntimeError: no"
        )
        yield opened


def test_every_trial_is_there_with_what_became_of_it(store: Any) -> None:
    report = load_study(store, "tried").report

    done, failing, waiting = sorted(report.trials, key=lambda trial: trial.number)
    assert (done.done, done.accuracy, done.params, done.flops) == (True, 0.75, 1234, 5e6)
    assert done.final == {"val/accuracy": 0.75}
    assert (done.steps, dict(done.versions)) == (10, {"torch": "2.15"})
    assert (done.attempts[0].host, done.attempts[0].end) == ("node1", "done")
    assert (failing.state, failing.error, failing.attempts[0].error) == ("queued", None, "RuntimeError: no")
    assert (waiting.attempts, waiting.elapsed_s) == ((), None)


def test_a_curve_has_a_gap_where_its_value_is_too_large_to_count(make: Any, tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path}/results.db", upgrade=True) as store:
        store.studies.create(make.study({}, seeds=3))
        store.queue.register_worker(WorkerInfo("w", "node1", 1, "cpu", 1, {}))
        for factor in (1.0, 2.0, 3.0):
            rows = [MetricRow("val/loss", step, factor * value) for step, value in ((1, 1e200), (2, 1e-170), (3, 0.5))]
            result = TrialResult(Outcome.FINISHED, 3, {"val/accuracy": 0.5, "val/loss": factor * 1e200}, "cd" * 32)
            store.queue.finish(store.queue.write(store.queue.claim("w"), rows), [], None, result)

        found = load_study(store, "tried")

    render_study(found)  # without a warning, which is an error in tests
    assert [trial.last("val/loss") for trial in found.report.trials] == [None] * 3
    _, values = found.report.series[0, "val/loss"]
    assert math.isnan(values[0]) and values[1:].tolist() == [0.0, 0.5]


def test_what_a_guess_gives_is_as_recorded_or_for_older_trials_as_of_the_others_or_of_equal_classes(store: Any) -> None:
    assert load_study(store, "tried").report.trials[0].guess == Guess(0.1, 355, recorded=False)
    known = {"val/images": 200.0, "val/largest_class": 180.0}
    lease = store.queue.claim("w")
    store.queue.finish(lease, [], None, TrialResult(Outcome.FINISHED, 20, FINAL | known, "cd" * 32))

    trials = load_study(store, "tried").report.trials

    older, recorded = trials[0], trials[lease.number]
    assert older.guess == recorded.guess
    assert (recorded.guess, recorded.fell_out) == (Guess(0.9, 200), True)
    assert recorded.final == {"val/accuracy": 0.75}


def test_series_and_surroundings(store: Any) -> None:
    report = load_study(store, "tried").report

    steps, values = report.series[0, "val/accuracy"]
    assert (steps.tolist(), values.tolist()) == ([10], [0.75])
    assert (datetime.now(UTC) - report.made_at).total_seconds() < 60
    assert report.study == store.studies.get("tried").spec
    assert "results.db" in render_study(analyse(report))


def test_what_the_hardware_did_is_of_all_attempts_of_a_trial(store: Any) -> None:
    first = store.queue.claim("w")
    slots = [MetricRow("gpu/slots_busy", 10, 8.0), MetricRow("val/accuracy", 10, 0.5)]
    store.queue.release(first, slots, CheckpointRef(10, "10.pt", "0" * 64, 1))
    last = store.queue.write(store.queue.claim("w"), [MetricRow("gpu/slots_busy", 20, 2.0)])
    result = TrialResult(Outcome.FINISHED, 20, FINAL | {"gpu/slots_busy": 2.0}, "cd" * 32)
    store.queue.finish(last, [], None, result)

    trial = next(one for one in load_study(store, "tried").report.trials if one.number == first.number)

    assert [each.first_step for each in trial.attempts][-2:] == [0, 10]
    assert trial.last("gpu/slots_busy") == 5.0 and trial.last("val/accuracy") == 0.75


def test_what_a_branch_took_over_counts_as_its_source_recorded_it(store: Any) -> None:
    branch = store.queue.claim("w")
    rows = [MetricRow("gpu/slots_busy", 10, 8.0), MetricRow("flops", 10, 1e9), MetricRow("flops", 20, 2e9)]
    last = TrialResult(Outcome.FINISHED, 20, FINAL | {"gpu/slots_busy": 2.0, "flops": 2e9}, "cd" * 32)
    store.queue.finish(store.queue.write(branch, rows), [MetricRow("gpu/slots_busy", 20, 2.0)], None, last)
    took = update(trials).where(trials.c.trial_id == branch.trial_id)
    took = took.values(source_id=1, reused_steps=15, reused_s=3.0)
    began = update(attempts).where(attempts.c.trial_id == branch.trial_id).values(first_step=15)
    store._db.write(lambda conn: (conn.execute(took), conn.execute(began)))

    trial = next(one for one in load_study(store, "tried").report.trials if one.number == branch.number)

    assert trial.reused_text == "first 15 steps from tried/0" and trial.reused == {"flops": 1.5e9}
    assert trial.last("gpu/slots_busy") == 5.0 and len(trial.trained_by) == 2


def test_a_final_value_may_be_the_mean_of_the_last_evaluations(make: Any, tmp_path: Path) -> None:
    """What a run that diverged ended with stays: a mean of what came before would hide it."""
    with Store.open(f"sqlite:///{tmp_path}/means.db", upgrade=True) as store:
        store.studies.create(make.study({}, seeds=2, final=Final(mean_of=2)))
        for outcome in (Outcome.FINISHED, Outcome.DIVERGED):
            lease = store.queue.claim("w")
            rows = [MetricRow("val/accuracy", step, value) for step, value in ((1, 0.1), (2, 0.5), (3, 0.75))]
            store.queue.finish(store.queue.write(lease, rows), [], None, TrialResult(outcome, 3, FINAL, ""))

        analysis = load_study(store, "tried")

    assert [trial.last("val/accuracy") for trial in analysis.report.trials] == [0.625, 0.75]
    page = render_study(analysis)
    assert "mean of its last 2 evaluations" in page and "Accuracy is the mean of the last 2" in page


def test_a_study_that_is_not_there_is_named(store: Any) -> None:
    with pytest.raises(UnknownStudy, match="tired"):
        load_study(store, "tired")


@pytest.fixture
def race(make: Any, tmp_path: Path) -> Any:
    """A database with a study of one race, and one of a study without any; what is read of their curves is noted."""
    url = f"sqlite:///{tmp_path}/races.db"
    with Store.open(url, upgrade=True) as opened:
        opened.studies.create(make.study({"optimizer.lr": (0.1, 0.3)}, seeds=1, hypotheses=(FIRST,)))
        opened.studies.create(make.study({}, seeds=1, name="plain"))
        while lease := opened.queue.claim("w"):
            names = ("val/accuracy", "elapsed_s", "train/loss", "val/confusion/0/0")
            rows = [MetricRow(name, step, step / 12) for name in names for step in (4, 8, 12)]
            opened.queue.finish(opened.queue.write(lease, rows), [], None, TrialResult(Outcome.FINISHED, 12, FINAL, ""))
    return url


def curves_read(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, set[str]]]:
    read: list[tuple[str, set[str]]] = []
    metrics, counts = Metrics.read, Metrics.read_prefix
    monkeypatch.setattr(Metrics, "read", lambda *a, **more: read.append((a[1], set(a[2]))) or metrics(*a, **more))
    monkeypatch.setattr(Metrics, "read_prefix", lambda *a: read.append((a[1], {a[2]})) or counts(*a))
    return read


def verdicts_of(url: str) -> None:
    with notebook.open(url) as results:
        results.study("tried").verdicts()


@pytest.mark.parametrize(
    "ask",
    [
        lambda url: CliRunner().invoke(app, ["report", "--json", "--db", url], catch_exceptions=False),
        lambda url: CliRunner().invoke(app, ["extend", "tried", "--until-decided", "--max-seeds", "5", "--db", url]),
        verdicts_of,
    ],
    ids=["report --json", "extend", "notebook"],
)
def test_what_draws_nothing_reads_the_curves_of_races_alone(race: Any, monkeypatch: Any, ask: Any) -> None:
    read = curves_read(monkeypatch)

    ask(race)

    assert read == [("tried", {"val/accuracy", "elapsed_s"})]


def test_a_comparison_reads_no_curves_of_studies_without_races(race: Any, monkeypatch: Any, tmp_path: Path) -> None:
    read = curves_read(monkeypatch)

    compared = ["report", "--compare", "plain", "plain", "--out", str(tmp_path), "--db", race]
    assert CliRunner().invoke(app, compared).exit_code == 0

    assert read == []


def test_results_are_the_same_with_curves_and_without(race: Any) -> None:
    with Store.open(race, read_only=True) as store:
        drawn, bare = load_study(store, "tried"), analyse(collect(store, "tried"))

    assert study_fields(drawn) == study_fields(bare) and study_fields(bare)["verdicts"][0]["seeds"] == 1
