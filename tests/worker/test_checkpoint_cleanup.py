"""Checkpoints that are elsewhere, damaged, slow or without room: real children, a real database, a real S3 server."""

import json
import subprocess
from pathlib import Path

import pytest
from support import child, worker
from support.child import TOGETHER, Saves
from support.worker import Notes, assert_everything_is_there_once

from cifarsweep.spec.types import AttemptEnd
from cifarsweep.store import Store
from cifarsweep.store.leases import Timing
from cifarsweep.store.queue.claim import read_checkpoints

TIMING = Timing(lease_s=5.0, beat_s=0.2)


@pytest.fixture
def timing() -> Timing:
    return TIMING


@pytest.fixture
def work(store: Store, tmp_path: Path):
    def _work(artifacts: object, behaviour: str = "ok", notes: Notes | None = None, **plan: object) -> Notes:
        notes = notes or Notes()
        command = child.command(tmp_path, behaviour, script="saves")
        assert worker.work(store, tmp_path, display=notes, command=command, artifacts=str(artifacts), **plan) == 0
        return notes

    return _work


def assert_undisturbed(store: Store, trials: range | None = None) -> None:
    assert_everything_is_there_once(store, Saves.steps, trials)


def pointers(store: Store, trial_id: int):
    return store._db.read(lambda conn: read_checkpoints(conn, trial_id))


@pytest.mark.parametrize("shared", [True, False], ids=["shared", "not shared"])
def test_the_next_worker_goes_on_or_begins_again_and_says_so_once(store, work, tmp_path, shared):
    work(tmp_path / "one", "give-back", slots=TOGETHER, max_trials=TOGETHER)
    (tmp_path / "one").rename(tmp_path / "of another machine")

    notes = work(tmp_path / ("of another machine" if shared else "two"), slots=2)

    assert_undisturbed(store)
    assert [notes.starts[number] for number in range(4)] == ([[8]] * 3 + [[0]] if shared else [[0]] * 4)
    assert len(notes.notes_with("not visible")) == len(notes.notes) == (0 if shared else 1)
    assert {len(trial.attempts) for trial in store.trials.all("demo")[:3]} == {2}


def cut_short(s3, path):
    s3.ask("PUT", path, s3.ask("GET", path)[:-1])


def flip(s3, path):
    whole = s3.ask("GET", path)
    s3.ask("PUT", path, bytes([whole[0] ^ 1]) + whole[1:])


def delete(s3, path):
    s3.ask("DELETE", path)


#: What happens to the newest checkpoints of a trial, by its number.
HARMS = [(), (cut_short,), (flip,), (delete,), (flip, cut_short), (delete, delete)]


@pytest.fixture
def marked(store, monkeypatch, tmp_path):
    """Let children know which checkpoints the database points to."""
    write = store.queue.write

    def write_and_mark(lease, rows, new, *more):
        renewed = write(lease, rows, new, *more)
        if new is not None:
            (tmp_path / f"{lease.study}-{lease.number} pointed to {new.step}").touch()
        return renewed

    monkeypatch.setattr(store.queue, "write", write_and_mark)


def test_damage_in_s3_falls_back_to_the_one_before_and_then_to_the_start(store, work, s3, s3_place, marked):
    expected = {}

    def damage(lease):
        refs, harms = pointers(store, lease.trial_id), HARMS[lease.number % 6]
        for ref, harm in zip(refs, harms, strict=False):
            harm(s3, ref.path)
        expected[lease.number] = [ref.step for ref in refs[len(harms) :]][:1] or [0]

    notes = work(s3_place, "raise-once", Notes(on_failure=damage), slots=2)

    assert_undisturbed(store)
    assert {number: starts[1:] for number, starts in notes.starts.items()} == expected
    assert {8, 4, 0} == {step for (step,) in expected.values()}
    assert len(notes.notes_with("not visible")) == 1  # of the two trials that lost both
    assert len(s3.names(s3_place)) == 12  # one each: the last


def test_a_store_that_is_away_costs_checkpoints_but_not_the_trial(store, work, s3, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")

    notes = work("s3://bucket/away", max_trials=1)

    assert_undisturbed(store, range(1))
    assert len(notes.notes_with("no checkpoint at step")) == 3
    assert len(store.trials.get("demo", 0).attempts) == 1


def test_a_slow_save_is_no_hung_child(store, work, tmp_path):
    work(tmp_path / "slow", "slow-save", max_trials=1)

    assert [attempt.end for attempt in store.trials.get("demo", 0).attempts] == [AttemptEnd.DONE]


@pytest.fixture
def small_disk(tmp_path: Path):
    """A file system of 1 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a small disk needs the right to mount one: {done.stderr.strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_leaves_the_earlier_checkpoint_whole_and_saves_go_on_when_there_is_room(store, work, small_disk):
    left = []

    def make_room(note):
        left.extend(json.loads(path.read_bytes()) for path in small_disk.glob("demo-*/0/*"))
        (small_disk / "ballast").unlink()

    notes = work(small_disk, "fill", Notes(on_note=make_room), max_trials=1)

    assert_undisturbed(store, range(1))
    assert len(notes.notes) == 1 and "no checkpoint at step 8" in notes.notes[0]
    assert "No space left on device" in notes.notes[0]
    assert left == [{"step": 4, "chain": child.chain(store.trials.get("demo", 0).seed, 4)}]
    assert [ref.step for ref in pointers(store, 1)] == [12, 4]
    assert [path.name[:13] for path in small_disk.glob("demo-*/0/*")] == ["step-00000012"]
