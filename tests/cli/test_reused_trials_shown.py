"""What the commands say of trials that took steps over from others, and that they say nothing of it elsewhere."""

import json
import sys
from pathlib import Path

import pytest
from sqlalchemy import update

from cifarsweep.cli import main
from cifarsweep.spec.reader import find, read_study
from cifarsweep.spec.types import MetricRow, Outcome, TrialResult
from cifarsweep.store import Store
from cifarsweep.store.records import WorkerInfo
from cifarsweep.store.schema import trial

STEPS, SECONDS = 40, 6.0


@pytest.fixture
def demo(tmp_path: Path):
    """The demo study, of which trials 0 to 2 are done."""
    with Store.open(f"sqlite:///{tmp_path}/cifarsweep.db", upgrade=True) as store:
        store.studies.create(read_study(find("demo")))
        store.queue.register_worker(WorkerInfo("box-1", "box", 1, "NVIDIA H200", 1))
        for _ in range(3):
            rows = [MetricRow(name, STEPS, SECONDS) for name in ("elapsed_s", "val/accuracy")]
            store.queue.finish(
                store.queue.claim("box-1"), rows, None, TrialResult(Outcome.FINISHED, STEPS, {"val/accuracy": 0.5}, "a")
            )
        yield store


@pytest.fixture
def reused(demo):
    """Trial 1 took over all of trial 0, and trial 2 its first 10 steps."""
    for number, steps in ((1, STEPS), (2, 10)):
        columns = {"source_id": 1, "reused_steps": steps, "reused_s": SECONDS * steps / STEPS}
        demo._db.write(
            lambda conn, n=number, c=columns: conn.execute(update(trial).where(trial.c.number == n).values(c))
        )
    return demo


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run a command in this process; its output."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")

    def _run(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["cifarsweep", *arguments])
        with pytest.raises(SystemExit) as exit_code:
            main()
        out, complaint = capsys.readouterr()
        assert not exit_code.value.code, complaint
        return out

    return _run


def test_show_says_what_was_reused_and_from_where(run, reused):
    assert "reused from demo/0, 6.0 s of it" in run("show", "demo/1")
    assert "first 10 steps from demo/0, 1.5 s of it" in run("show", "demo/2")
    assert "reused" not in run("show", "demo/0") and "steps from" not in run("show", "demo/0")


def test_show_says_what_a_trial_waits_for(run, demo):
    waits = update(trial).where(trial.c.number == 5).values(source_id=1, waits=True)
    demo._db.write(lambda conn: conn.execute(waits))

    assert "waits for demo/0, to take steps over from it" in run("show", "demo/5")
    assert json.loads(run("show", "demo/5", "--json"))["waits_for"] == "demo/0"
    assert json.loads(run("show", "demo/6", "--json"))["waits_for"] is None


def test_show_as_json_has_the_source_of_every_trial(run, reused):
    found = [json.loads(run("show", f"demo/{number}", "--json")) for number in range(3)]

    keys = ("source", "reused_steps", "reused_s")
    assert [[one[key] for key in keys] for one in found] == [[None, 0, 0.0], ["demo/0", 40, 6.0], ["demo/0", 10, 1.5]]


def test_the_status_counts_what_was_reused_and_its_time_once(run, reused):
    found = json.loads(run("status", "demo", "--json"))

    assert (found["reused"], found["done_s"], found["reused_s"]) == (1, 10.5, 7.5)
    assert "3 (1 reused)" in run("status", "demo")


def test_a_study_that_took_nothing_over_has_no_word_on_it(run, demo):
    assert "reused" not in run("status", "demo") + run("show", "demo/1") + run("report", "demo")
    assert "reused" not in (demo._db.path.parent / "reports" / "demo.html").read_text()
    assert "reused" not in run("export", "demo")
