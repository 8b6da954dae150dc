"""Checkpoints that are elsewhere, damaged, slow or without room: real children, a real database, a real S3 server."""

import json
import subprocess
import sys
from pathlib import Path

import chained_child
import pytest
from chained_child import STEPS, TOGETHER

from cifarsweep.data.catalog import DataSetInfo
from cifarsweep.spec.metrics import VAL_ACCURACY
from cifarsweep.spec.reader import find, read_study
from cifarsweep.spec.types import AttemptEnd, TrialState
from cifarsweep.store import Store
from cifarsweep.store.queue.claim import read_checkpoints
from cifarsweep.store.timing import Timing
from cifarsweep.worker.context import WorkerConfig
from cifarsweep.worker.display import Display
from cifarsweep.worker.eligibility import EligibleStudies
from cifarsweep.worker.supervisor import Supervisor

TIMING = Timing(lease_s=5.0, beat_s=0.2)


class Witness(Display):
    """Remembers what is said, and where each trial begins; a test may act on what it hears."""

    def __init__(self, on_note=None, on_failure=None) -> None:
        self.notes: list[str] = []
        self.starts: dict[int, list[int]] = {}
        self._number: dict[int, int] = {}
        self._on_note, self._on_failure = on_note, on_failure

    def begin(self, slot, lease):
        self._number[slot] = lease.number

    def started(self, slot, started):
        self.starts.setdefault(self._number[slot], []).append(started.start_step)

    def end(self, slot, lease, how, result=None):
        if self._on_failure and how.startswith("failed"):
            self._on_failure(lease)

    def note(self, text):
        self.notes.append(text)
        if self._on_note:
            self._on_note(text)

    def notes_with(self, words: str) -> list[str]:
        return [note for note in self.notes if words in note]


@pytest.fixture
def store(tmp_path: Path):
    with Store.open(f"sqlite:///{tmp_path}/test.db", upgrade=True, timing=TIMING) as store:
        store.create_study(read_study(find("demo")))
        yield store


@pytest.fixture
def work(store: Store, tmp_path: Path):
    def _work(artifacts: object, behaviour: str = "ok", witness: Display | None = None, **plan: object) -> Display:
        command = [sys.executable, str(Path(chained_child.__file__)), behaviour, str(tmp_path)]
        witness = witness or Witness()
        ready = WorkerConfig(command=command, artifacts=str(artifacts), timing=TIMING, **plan)  # type: ignore[arg-type]
        here = lambda name: DataSetInfo(name, "", (), 0, 0, "d" * 64, 0, Path())  # noqa: E731
        assert Supervisor(store, ready, witness, EligibleStudies(store, witness.note, here)).run() == 0
        return witness

    return _work


def assert_undisturbed(store: Store, trials: range = range(12)) -> None:
    """The oracle: these trials are what nobody disturbed would have left, to the last bit."""
    curves = store.metrics("demo", [VAL_ACCURACY])
    for trial in [store.trial("demo", number) for number in trials]:
        steps, values = curves[trial.number, VAL_ACCURACY]
        chains = chained_child.whole(trial.seed)
        assert trial.state is TrialState.DONE
        assert list(steps) == list(range(1, STEPS + 1))
        assert [v.hex() for v in values] == [chained_child.value(chain).hex() for chain in chains]
        assert trial.weights_sha256 == chains[-1]
    assert store.check() == []


def pointers(store: Store, trial_id: int):
    return store._db.read(lambda conn: read_checkpoints(conn, trial_id))


@pytest.mark.parametrize("shared", [True, False], ids=["shared", "not shared"])
def test_the_next_worker_goes_on_or_begins_again_and_says_so_once(store, work, tmp_path, shared):
    work(tmp_path / "one", "give-back", slots=TOGETHER, max_trials=TOGETHER)
    (tmp_path / "one").rename(tmp_path / "of another machine")

    witness = work(tmp_path / ("of another machine" if shared else "two"), slots=2)

    assert_undisturbed(store)
    assert [witness.starts[number] for number in range(4)] == ([[8]] * 3 + [[0]] if shared else [[0]] * 4)
    assert len(witness.notes_with("not visible")) == len(witness.notes) == (0 if shared else 1)
    assert {len(trial.attempts) for trial in store.trials("demo")[:3]} == {2}


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
    write = store.write

    def write_and_mark(lease, rows, new, *more):
        renewed = write(lease, rows, new, *more)
        if new is not None:
            (tmp_path / f"{lease.study}-{lease.number} pointed to {new.step}").touch()
        return renewed

    monkeypatch.setattr(store, "write", write_and_mark)


def test_damage_in_s3_falls_back_to_the_one_before_and_then_to_the_start(store, work, s3, s3_place, marked):
    expected = {}

    def damage(lease):
        refs, harms = pointers(store, lease.trial_id), HARMS[lease.number % 6]
        for ref, harm in zip(refs, harms, strict=False):
            harm(s3, ref.path)
        expected[lease.number] = [ref.step for ref in refs[len(harms) :]][:1] or [0]

    witness = work(s3_place, "raise", Witness(on_failure=damage), slots=2)

    assert_undisturbed(store)
    assert {number: starts[1:] for number, starts in witness.starts.items()} == expected
    assert {8, 4, 0} == {step for (step,) in expected.values()}
    assert len(witness.notes_with("not visible")) == 1  # of the two trials that lost both
    assert len(s3.names(s3_place)) == 12  # one each: the last


def test_a_store_that_is_away_costs_checkpoints_but_not_the_trial(store, work, s3, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")

    witness = work("s3://bucket/away", max_trials=1)

    assert_undisturbed(store, range(1))
    assert len(witness.notes_with("no checkpoint at step")) == 3
    assert len(store.trial("demo", 0).attempts) == 1


def test_a_slow_save_is_no_hung_child(store, work, tmp_path):
    work(tmp_path / "slow", "slow-save", max_trials=1)

    assert [attempt.end for attempt in store.trial("demo", 0).attempts] == [AttemptEnd.DONE]


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

    witness = work(small_disk, "fill", Witness(on_note=make_room), max_trials=1)

    assert_undisturbed(store, range(1))
    assert len(witness.notes) == 1 and "no checkpoint at step 8" in witness.notes[0]
    assert "No space left on device" in witness.notes[0]
    assert left == [{"step": 4, "chain": chained_child.whole(store.trial("demo", 0).seed)[3]}]
    assert [ref.step for ref in pointers(store, 1)] == [12, 4]
    assert [path.name[:13] for path in small_disk.glob("demo-*/0/*")] == ["step-00000012"]
