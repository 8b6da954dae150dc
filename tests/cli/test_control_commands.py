"""Steering a study, and watching it, as a person does."""

import contextlib
import io
import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

from cifarsweep.cli import main
from cifarsweep.cli import status as status_command
from cifarsweep.cli.status import status_tables
from cifarsweep.errors import StoreUnavailable
from cifarsweep.spec.reader import find, read_study
from cifarsweep.spec.types import AttemptEnd, MetricRow, Outcome, TrialResult, TrialState
from cifarsweep.store import Store
from cifarsweep.store.records import WorkerInfo
from cifarsweep.store.status_records import StudyStatus, WorkerStatus, pause_after


@pytest.fixture
def demo(tmp_path: Path):
    """The demo study with its 12 trials, of which a worker holds trial 0."""
    with Store.open(f"sqlite:///{tmp_path}/cifarsweep.db", upgrade=True) as store:
        store.studies.create(read_study(find("demo")))
        store.queue.register_worker(WorkerInfo("box-1", "box", 1, "NVIDIA H200", 1))
        lease = store.queue.claim("box-1", slot=3)
        store.queue.write(lease, [MetricRow("images_per_s", 7, 1234.0)])
        yield store


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run a command in this process, which saves the start of another; its exit code, output and complaint."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")

    def _run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["cifarsweep", *arguments])
        with pytest.raises(SystemExit) as exit_code:
            main()
        out, complaint = capsys.readouterr()
        return exit_code.value.code or 0, out.strip(), complaint

    return _run


def said(done: tuple[int, str, str]) -> str:
    code, out, complaint = done
    assert code == 0, complaint
    return out


def test_steering_says_what_changed(run, demo):
    assert said(run("pause", "demo")) == "demo: 11 paused, 1 will pause at their next beat"
    assert said(run("pause", "demo")) == "demo: nothing to change among its trials"
    assert said(run("resume", "demo")) == "demo: 11 queued again, 1 go on without a pause"
    assert said(run("cancel", "demo/5")) == "demo/5: 1 cancelled"
    assert said(run("retry", "demo")) == "demo: 1 to be tried again"
    assert said(run("priority", "demo/6", "-3")) == "demo/6: 1 have priority -3 now"
    assert demo.admin.check() == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["pause", "dem"], "the database has no study 'dem'. Did you mean 'demo'?"),
        (["cancel", "demo/12"], "study 'demo' has no trial 12; its trials are 0 to 11"),
        (["resume", "demo/x"], "'demo/x': write a trial as STUDY/NUMBER"),
        (["retry", "demo/1"], "trial demo/1 is done, which is final; it stays as it is"),
        (["priority", "demo", "1000001"], "priority 1000001: must lie between"),
    ],
)
def test_a_wrong_word_is_one_sentence_and_changes_nothing(run, demo, arguments, sentence):
    demo.queue.finish(demo.queue.claim("box-1"), [], None, TrialResult(Outcome.FINISHED, 9, {}, "a"))
    before = demo.trials.all("demo")

    code, out, complaint = run(*arguments)

    assert (code, out) == (2, "") and sentence in complaint and complaint.startswith("error: ")
    assert demo.trials.all("demo") == before


def test_the_status_as_json_tells_who_works_and_how_fast(run, demo):
    found = json.loads(said(run("status", "demo", "--json")))

    (worker,) = found["workers"]
    assert (worker["host"], worker["slot"], worker["step"], worker["images_per_s"]) == ("box", 3, 7, 1234.0)
    assert (found["images_per_s"], found["trials_per_h"], found["trials"]["paused"]) == (1234.0, None, 0)


def test_a_cancelled_trial_is_named_in_the_report(run, demo):
    said(run("cancel", "demo/5"))

    said(run("report", "demo"))

    page = (demo._db.path.parent / "reports" / "demo.html").read_text()
    assert "1 trial was cancelled" in page and "cancelled" in page


def test_watching_into_a_pipe_prints_what_changes_until_ctrl_c(start, demo):
    watching = start("status", "demo", "--watch")
    assert "demo: 0 of 12 done, 11 queued, 1 running; 1,234 images/s" in watching.stdout.readline()

    demo.control.pause("demo", 4)

    assert "10 queued, 1 running, 1 paused" in watching.stdout.readline()
    watching.send_signal(signal.SIGINT)
    assert watching.wait(200) == 0


def test_watching_on_a_terminal_shows_tables_until_ctrl_c(demo, tmp_path, environment):
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "cifarsweep.cli", "status", "--watch"]
    watching = subprocess.Popen(command, cwd=tmp_path, env=environment, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)

    # A Ctrl-C amid the first picture would cut it off, so wait for the last word too.
    words = ("Studies", "running", "queued", "1,234 images/s", "slot", "Trials under way", "NVIDIA H200", "box-1")
    shown, deadline = "", time.monotonic() + 200
    while not all(word in shown for word in words):
        assert time.monotonic() < deadline, shown
        shown += os.read(ours, 4096).decode(errors="replace")

    watching.send_signal(signal.SIGINT)
    # Read on, or the last picture blocks it: a terminal that nobody reads is soon full.
    with contextlib.suppress(OSError):
        while last := os.read(ours, 4096):
            shown += last.decode(errors="replace")
    assert watching.wait(200) == 0
    os.close(ours)


class Away:
    """A store whose database answers, is away for two looks, answers again, and then the one who watches goes."""

    def __init__(self, store: Store) -> None:
        self.studies = self
        self._looks = iter([store.studies.status, self._away, self._away, store.studies.status, self._leave])

    def status(self, study: str | None, *, live: bool) -> list[StudyStatus]:
        return next(self._looks)(study, live=live)

    def _away(self, *_: object, **__: object) -> list[StudyStatus]:
        raise StoreUnavailable("postgresql://h/d: can't be reached or is busy: connection refused")

    def _leave(self, *_: object, **__: object) -> list[StudyStatus]:
        raise KeyboardInterrupt


def test_watching_goes_on_while_the_database_is_away(demo, monkeypatch, capsys):
    monkeypatch.setattr(status_command, "_EVERY_S", 0.0)
    monkeypatch.setenv("COLUMNS", "160")

    status_command.follow(Away(demo), "demo")

    lines = [line.split(" ", 1)[1] for line in capsys.readouterr().out.splitlines()]
    assert lines[0].startswith("demo: 0 of 12 done")
    assert lines[1].startswith("the database is away since ") and "connection refused" in lines[1]
    assert lines[2:] == ["the database is back"]


def test_the_pause_of_a_watch_grows_with_what_a_look_takes(demo, monkeypatch):
    paused: list[float] = []

    def noted(took_s: float, shortest_s: float) -> float:
        paused.append(took_s)
        return 0.0

    assert [pause_after(took, 1.0) for took in (0.0, 0.1, 2.0, 1000.0)] == [1.0, 1.0, 18.0, 30.0]
    monkeypatch.setattr("cifarsweep.store.status_records.pause_after", noted)

    status_command.follow(Away(demo), "demo")

    *before, last = paused
    assert before == [0.0] * 3 and last > 0, "one that does not answer is asked as often as ever"


def test_a_terminal_keeps_the_last_table_while_the_database_is_away(demo, monkeypatch):
    shown: list[str] = []
    screen = Console(file=io.StringIO(), force_terminal=True, width=160)
    monkeypatch.setattr(status_command, "_EVERY_S", 0.0)
    monkeypatch.setattr(status_command, "console", lambda: screen)
    monkeypatch.setattr("rich.live.Live.update", lambda live, found, refresh: shown.append(text_of(found)))

    status_command.follow(Away(demo), None)

    assert ["the database is away since" in text for text in shown] == [True, True, False]
    assert all("box-1" in text and "1,234 images/s" in text for text in shown)


def text_of(found: RenderableType) -> str:
    screen = Console(file=io.StringIO(), width=160)
    screen.print(found)
    return screen.file.getvalue()


def test_a_database_that_is_away_at_the_first_look_ends_the_watch(demo):
    store = Away(demo)
    store.studies.status("demo", live=True)

    with pytest.raises(StoreUnavailable):
        status_command.follow(store, "demo")


def test_where_nobody_works_the_status_says_how_to_begin(run, tmp_path):
    with Store.open(f"sqlite:///{tmp_path}/cifarsweep.db", upgrade=True) as store:
        store.studies.create(read_study(find("demo")))

    assert said(run("status")).endswith("no trial is under way; `cifarsweep worker` takes what is queued")
    said(run("pause", "demo"))
    assert said(run("status")).endswith("no trial is under way")


def test_a_lease_that_ran_out_is_red():
    counts = dict.fromkeys(TrialState, 0) | {TrialState.LEASED: 2}
    alive = WorkerStatus("a", "box", "cpu", 0, 1, 5, 2.0, False)
    gone = WorkerStatus("b", "box", "cpu", 1, 1, 5, 90.0, True)
    screen = Console(file=io.StringIO(), force_terminal=True, color_system="standard", width=160)

    screen.print(status_tables([StudyStatus("s", counts, (alive, gone), 0.0)]))

    text = screen.file.getvalue()
    assert "\x1b[31m90 s ago, lease ran out" in text and "2 s ago" in text and "\x1b[31m2 s" not in text


def test_the_history_of_a_trial_names_a_bad_machine(run, demo):
    lease = demo.queue.claim("box-1")
    demo.queue.fail(lease, AttemptEnd.CRASHED, "died", "")
    demo.queue.retract_crashes("box-1", [(lease.trial_id, lease.attempt)])

    assert "bad_machine" in said(run("show", f"demo/{lease.number}"))
