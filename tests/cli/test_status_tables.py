"""The tables of `status`: what a screen of any width shows of studies and of trials under way."""

import io
import json

import pytest
from rich.console import Console

from cifarsweep.cli.status_tables import status_tables
from cifarsweep.spec.types import MetricRow, TrialState
from cifarsweep.store import Store
from cifarsweep.store.status_records import StudyStatus, WorkerStatus


def study(name: str, *workers: WorkerStatus, **counts: int) -> StudyStatus:
    trials = dict.fromkeys(TrialState, 0) | {TrialState(state): count for state, count in counts.items()}
    return StudyStatus(name, trials, workers, 60.0)


def worker(**more) -> WorkerStatus:
    known = {"total_steps": 3900, "newest": {"train/loss": 0.43211, "val/accuracy": 0.8123}, "slot": 3}
    return WorkerStatus("node-17-33-ab", "node-17", "NVIDIA H200", 5, 1, 1200, 2.0, False, **(known | more))


def drawn(studies: list[StudyStatus], width: int, **options) -> list[str]:
    screen = Console(file=io.StringIO(), width=width)
    screen.print(status_tables(studies, **options))
    return screen.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [30, 50, 80, 120, 160])
def test_no_line_is_cut_or_longer_than_the_screen_and_the_progress_is_on_it(width):
    lines = drawn([study("a-study-with-a-name", worker(), done=10, leased=1, queued=40)], width)

    text = " ".join(" ".join(lines).replace("│", " ").split())
    assert max(map(len, lines)) <= width and "…" not in text
    assert all(word in text for word in ("a-study-with-a-name/5", "1,200 of 3,900", "81.2 %"))


def test_a_wide_screen_has_the_worker_and_a_narrow_one_the_values():
    of = [study("s", worker(), done=1, leased=1)]

    wide, narrow = "\n".join(drawn(of, 160)), "\n".join(drawn(of, 64))

    assert all(word in wide for word in ("node-17-33-ab", "NVIDIA H200", "0.4321", "2 s ago"))
    assert "0.4321" in narrow and "81.2 %" in narrow and "NVIDIA" not in narrow


def test_of_a_program_the_steps_in_all_are_unknown_and_the_metric_is_its_own():
    text = "\n".join(drawn([study("s", worker(total_steps=None, metric="dice", newest={"dice": 0.5}), leased=1)], 160))

    assert " 1,200 " in text and " of " not in text and "dice 0.5" in text


def test_studies_that_are_over_share_a_line_while_one_goes_on():
    studies = [study("first", done=2), study("second", done=1, failed=1), study("third", done=1, queued=1)]

    folded, whole = "\n".join(drawn(studies, 160)), "\n".join(drawn(studies, 160, every=True))

    assert "over: second (1 done, 1 failed), first (2 done); --all shows them" in folded
    assert folded.count("│ first") == 0 and folded.count("│ third") == 1
    assert all(f"│ {name}" in whole for name in ("first", "second", "third")) and "over:" not in whole


def test_where_all_are_over_each_has_its_row():
    assert sum("│ " in line for line in drawn([study("first", done=2), study("second", cancelled=2)], 160)) == 2


def test_many_that_are_over_are_counted():
    studies = [study(f"s{number}", done=1) for number in range(9)] + [study("on", queued=1)]

    assert "over: s8 (1 done), s7 (1 done), s6 (1 done), s5 (1 done), s4 (1 done) and 4 more" in "\n".join(
        drawn(studies, 160)
    )


def test_paused_trials_are_not_over():
    assert "over:" not in "\n".join(drawn([study("a", done=1, paused=1), study("b", queued=1)], 160))


def test_the_command_shows_the_steps_in_all_and_the_last_values(call, tmp_path):
    """Given a trial under way, when `status` is asked, then table and JSON have its progress."""
    assert call("create", "demo").returncode == 0
    with Store.open(f"sqlite:///{tmp_path}/cifarsweep.db") as store:
        rows = [MetricRow("train/loss", 7, 0.25), MetricRow("val/accuracy", 7, 0.5)]
        store.queue.write(store.queue.claim("box-1"), rows, total_steps=70)

    shown, (held,) = call("status").stdout, json.loads(call("status", "demo", "--json").stdout)["workers"]

    assert "7 of 70" in shown and "0.25" in shown and "50.0 %" in shown
    assert (held["total_steps"], held["newest"]) == (70, {"train/loss": 0.25, "val/accuracy": 0.5})
