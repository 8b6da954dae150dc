"""A trial that goes on with other software than it began with: what the worker says, and what is kept of it."""

from functools import partial
from pathlib import Path

import pytest
from support import child, worker
from support.worker import Notes, here

from cifarsweep.analysis.study import load_study
from cifarsweep.checkpoints.folder import CheckpointFolder
from cifarsweep.cli.replay import _print
from cifarsweep.report.render import render_study
from cifarsweep.report.summary import study_fields
from cifarsweep.spec.reader import find, read_study
from cifarsweep.spec.study import Study
from cifarsweep.spec.types import MetricRow, TrialState
from cifarsweep.store import Store
from cifarsweep.store.records import Environment, WorkerInfo
from cifarsweep.worker.checkpoint_cleanup import CheckpointDirectory
from cifarsweep.worker.replay import ReplayResult

A, B = "a" * 64, "b" * 64


@pytest.fixture
def study() -> Study:
    return read_study(find("demo"), seeds=1)


def begin_elsewhere(
    store: Store, folder: Path, *, saved: bool = True, digits: str = A, device: str = "NVIDIA A100", fake: str = "0"
) -> None:
    """Somebody, with another device and software where nothing else is said, trains the first trial up to step 2."""
    store.queue.register_worker(WorkerInfo("somebody", "there", 1, device, 1, {"fake": fake}))
    lease = store.queue.claim("somebody", environment=Environment({"digits": digits}))
    assert lease is not None
    rows = [MetricRow("val/accuracy", step, child.value(lease.seed, step)) for step in (1, 2)]
    there = CheckpointFolder(Path(CheckpointDirectory(str(folder / "artifacts")).path(lease)))
    state = (2, child.chain(lease.seed, 2))
    store.queue.release(lease, rows, there.write(2, child.payload(state)) if saved else None)


def go_on(store: Store, folder: Path, digest: str = A, *, other_data: bool = False) -> list[str]:
    """Train all trials with the child of these tests; what the worker notes."""

    notes, find = Notes(), partial(here, sha256=digest)
    assert worker.work(store, folder, display=notes, find=find, other_data=other_data) == 0
    return notes.notes


def test_who_goes_on_with_other_software_says_so_and_the_page_takes_the_promise_back(store, tmp_path, capsys):
    begin_elsewhere(store, tmp_path)

    notes = go_on(store, tmp_path)

    what = "device NVIDIA A100, then no device; fake 0, then 1"
    assert len(notes) == 1 and f"demo/0: goes on from step 2 with something else ({what})" in notes[0]
    trial = store.trials.get("demo", 0)
    assert trial.state is TrialState.DONE
    assert trial.changed == {"device": ("NVIDIA A100", "no device"), "fake": ("0", "1")}
    page = render_study(load_study(store, "demo"))
    assert f"Trial 0 was continued with something else than before: {what}. The same bits are not promised" in page
    assert (
        'href="#environment-2">(2)</a> <a href="#environment-1">(1)</a>' in page
    )  # the one of most trials is the first
    assert "NVIDIA A100, then no device" in page and "Version of fake" in page and "<b><bdi>0 and 1</bdi></b>" in page
    changed = {"device": ["NVIDIA A100", "no device"], "fake": ["0", "1"]}
    assert study_fields(load_study(store, "demo"))["continued"] == [{"trial": 0, "changed": changed}]
    _print("demo/0", ReplayResult(True, (), (), 6), trial)
    assert f"continued with something else than before: {what}. For such a trial" in capsys.readouterr().out


@pytest.mark.parametrize(
    "begun", [{"saved": False}, {"device": "no device", "fake": "1"}], ids=["left nothing", "with the same"]
)
def test_nothing_is_said_of_a_trial_whose_result_is_of_one_environment(store, tmp_path, begun):
    begin_elsewhere(store, tmp_path, **begun)

    assert go_on(store, tmp_path) == []
    assert len(store.trials.get("demo", 0).attempts) == 2
    assert "continued with something else" not in render_study(load_study(store, "demo"))


def test_a_trial_does_not_go_on_from_a_checkpoint_of_other_images(store, tmp_path):
    begin_elsewhere(store, tmp_path, digits=B)

    notes = go_on(store, tmp_path, other_data=True)

    assert notes == ["demo/0: begins again: its checkpoint was trained on other images than those here"]
    trial = store.trials.get("demo", 0)
    assert [each.first_step for each in trial.attempts] == [0, 0] and trial.changed == {}
    steps, _ = store.metrics.read("demo", ["val/accuracy"], only=[0])[0, "val/accuracy"]
    assert steps.tolist() == list(range(1, child.STEPS + 1))
    assert store.admin.check() == []
    assert f"{A}" in render_study(load_study(store, "demo"))
