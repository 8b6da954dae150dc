"""Campaigns against disks and children: damaged checkpoints, no room, trials that break their process."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from chain_child import Chaos
from fleet import Fleet, ticks, wait_for
from oracle import Broken, undisturbed
from places import Place, study_of
from siege import judge, unfinished
from sqlalchemy import select, update

from cifarsweep.checkpoints.folder import CheckpointFolder
from cifarsweep.errors import CheckpointError, StoreUnavailable
from cifarsweep.spec.types import CheckpointRef, TrialState
from cifarsweep.store import Store
from cifarsweep.store.queue.claim import read_checkpoints
from cifarsweep.store.queue.crashes import MOST_CRASHES
from cifarsweep.store.schema import trial

Counts = dict[str, int]


def damaged_checkpoints(place: Place, *, cases: int) -> Counts:
    """Every trial is interrupted with two checkpoints, of which one or both are damaged; another worker goes on."""
    spec, counts = study_of(cases), Counter[str]()
    # Nobody is to be taken for dead here: a trial whose second attempt never began would tell nothing.
    patient = {"CIFARSWEEP_LEASE": "600", "CIFARSWEEP_BEAT": "1"}
    misbehaving = {"CHAOS_MISBEHAVE": '{"all": "raise-once"}', **patient}
    with place.open() as store, Fleet(place) as fleet:
        store.studies.create(spec)
        fleet.start("--slots", "6", "--max-trials", str(cases), env=misbehaving)
        fleet.finish()
        # On a busy machine a trial may be due again in the first round, and another one wait for the second.
        halfway = {row.number for row in store.trials.all(spec.name) if row.state == TrialState.QUEUED and row.attempts}
        starts = {n: _damage(place, refs, counts) for n, refs in _pointers(store).items() if n in halfway}
        store._db.write(lambda conn: conn.execute(update(trial).values(not_before=None)))
        fleet.start("--slots", "4", env=patient)
        fleet.finish()
        judge(place, store, spec.name, undisturbed(spec))
        found = fleet.lines(r"chaos/(\d+) .*\(attempt 2\): (?:begins|from step (\d+))")
    resumed = {int(one[1]): int(one[2] or 0) for one in found if int(one[1]) in starts}
    wrong = {number: step for number, step in resumed.items() if starts[number] != step}
    if wrong or len(resumed) != len(starts) or len(starts) < cases // 2:
        raise Broken(
            f"seed {place.seed}: {len(resumed)} of {len(starts)} resumed, wrongly {wrong}; logs in {place.folder}"
        )
    return {**counts, "damaged ones accepted": len(wrong)}


def _pointers(store: Store) -> dict[int, tuple[CheckpointRef, ...]]:
    """What the database points to, newest first, by the number of the trial."""
    ids = store._db.read(lambda conn: list(conn.execute(select(trial.c.number, trial.c.trial_id))))
    return {number: store._db.read(lambda conn, key=key: read_checkpoints(conn, key)) for number, key in ids}


def _damage(place: Place, refs: tuple[CheckpointRef, ...], counts: Counter[str]) -> int:
    """Damage the newer checkpoint, the older or both; the step that the next worker has to start from."""
    bad = place.chance.choice((refs[:1], refs[:1], refs[1:], refs))
    for ref in bad:
        kind = place.chance.choice(tuple(_DAMAGE))
        counts[kind] += 1
        _DAMAGE[kind](place, Path(ref.path))
    counts["cases"] += bool(bad)
    return next((ref.step for ref in refs if ref not in bad), 0)


def _truncate(place: Place, path: Path) -> None:
    os.truncate(path, place.chance.randrange(path.stat().st_size))


def _flip(place: Place, path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[place.chance.randrange(len(data))] ^= 1 << place.chance.randrange(8)
    path.write_bytes(data)


def _lengthen(place: Place, path: Path) -> None:
    path.write_bytes(path.read_bytes() + bytes(place.chance.randrange(1, 5000)))


_DAMAGE: dict[str, Callable[[Place, Path], object]] = {
    "truncated": _truncate,
    "bit flipped": _flip,
    "lengthened": _lengthen,
    "deleted": lambda place, path: path.unlink(),
}


class Disk:
    """A small file system of its own, which a file can fill."""

    def __init__(self, path: Path, kilobytes: int) -> None:
        path.mkdir(parents=True, exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k,mode=0777", "tmpfs", str(path)]
        found = subprocess.run(command, capture_output=True, text=True, check=False)
        if found.returncode:
            raise PermissionError(f"no right to mount a tmpfs here: {found.stderr.strip()}")
        self.path, self._filler = path, path / "filler"

    def fill(self) -> None:
        with contextlib.suppress(OSError), self._filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1024))

    def make_room(self) -> None:
        self._filler.unlink()

    def close(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.path)], check=True)


@contextlib.contextmanager
def disk(path: Path, kilobytes: int) -> Iterator[Disk]:
    """Raises PermissionError where nobody lets us mount one."""
    made = Disk(path, kilobytes)
    try:
        yield made
    finally:
        made.close()


def full_checkpoint_disk(place: Place, *, trials: int = 4) -> Counts:
    """The folder of the checkpoints has no room for a while: training goes on, what was saved stays whole."""
    spec = study_of(trials)
    with disk(place.artifacts, 512) as small, place.open() as store, Fleet(place) as fleet:
        store.studies.create(spec)
        # The child waits within its second checkpoint until the disk is full: else a late look finds everything done.
        worker = fleet.start(env={"CHAOS_STEP_S": "0.1"}, sabotage=fleet.sabotage("before fsync", "stop", 3))
        wait_for(lambda: worker.child_stopped() and any(_pointers(store).values()), fleet, "a checkpoint")
        small.fill()
        worker.send(signal.SIGCONT, "child")
        wait_for(lambda: fleet.lines("no checkpoint at step"), fleet, "a checkpoint that fails")
        whole = _all_whole(store)
        small.make_room()
        at = len(fleet.lines("no checkpoint at step"))
        fleet.finish()
        judge(place, store, spec.name, undisturbed(spec))
        reasons = {match[0] for match in fleet.lines("No space left on device")}
    if not reasons:
        raise Broken(f"the log does not say why there was no checkpoint: {place.folder}")
    return {"failed checkpoints": at, "whole ones meanwhile": whole, "trials": trials}


def _all_whole(store: Store) -> int:
    """Read whatever the database points to and is kept; how many there were. Raises CheckpointError."""
    while True:
        kept = _kept(store)
        try:
            for ref in kept:
                CheckpointFolder(Path(ref.path).parent).read(ref)
        except CheckpointError:
            # Unless the worker got on meanwhile, and removed what was not needed any more.
            if _kept(store) == kept:
                raise
        else:
            return len(kept)


def _kept(store: Store) -> list[CheckpointRef]:
    """Two checkpoints of a trial, but of one that is done only the newest."""
    most = {row.number: 1 if row.state is TrialState.DONE else 2 for row in store.trials.all("chaos")}
    return [ref for number, refs in _pointers(store).items() for ref in refs[: most[number]]]


def full_database_disk(place: Place, *, trials: int = 4) -> Counts:
    """The disk of an SQLite database has no room for a while: what was committed is whole, workers wait and go on."""
    spec = study_of(trials)
    with disk(place.folder / "small", 2048) as small:
        there = Place(place.folder, f"sqlite:///{small.path}/results.db", place.seed, lease_s=place.lease_s)
        with Store.open(there.url, upgrade=True) as store, Fleet(there) as fleet:
            store.studies.create(spec)
            fleet.start(env={"CHAOS_STEP_S": "0.1"})
            wait_for(lambda: store.trials.get("chaos", 0).step >= 4, fleet, "the first rows")
            small.fill()
            refusals = sum(_refused(store, number) for number in range(5))
            findings = [each for each in store.admin.check() if "lease has run out" not in each]
            # Half a lease in which the worker wants to write. Few rows may find room: SQLite keeps its journal's.
            time.sleep(there.lease_s / 2)
            small.make_room()
            fleet.finish()
            # On a slow machine the first worker may end while the disk is full; what it can't tell, the next one does.
            fleet.start()
            fleet.finish()
            judge(there, store, spec.name, undisturbed(spec))
    if findings or not refusals:
        raise Broken(f"seed {place.seed}: {refusals} refusals, findings while full: {findings}; logs {place.folder}")
    return {"refused while full": refusals, "findings while full": len(findings), "trials": trials}


def _refused(store: Store, number: int) -> bool:
    """Whether a large study is refused for want of room, in words that say so."""
    try:
        store.studies.create(study_of(4000, f"large-{number}"))
    except StoreUnavailable as error:
        return re.search("disk is full, or|disk is full; what was committed is safe", str(error)) is not None
    return False


#: What trials do to their process, and what has to become of them where they always do it.
BEHAVIOURS = {
    "segfault": TrialState.POISONED,
    "exit": TrialState.POISONED,
    "oom-killed": TrialState.POISONED,
    "garbage": TrialState.POISONED,
    "hang": TrialState.POISONED,
    "memory": TrialState.FAILED,
    "raise": TrialState.FAILED,
}


#: Exit code of a worker whose children died in a row, whatever they trained.
_BAD_MACHINE = 70


def bad_children(place: Place, *, behaviours: tuple[str, ...] = tuple(BEHAVIOURS), good: int = 4) -> Counts:
    """Some trials always break their process, some do it once, others never: counted, limited, the others finish."""
    names = [*behaviours, *(f"{name}-once" for name in behaviours)]
    seeds = len(names) + good
    spec = study_of(1, "chaos").model_copy(update={"seeds": tuple(range(seeds))})
    plan = ", ".join(f'"{seed}": "{name}"' for seed, name in enumerate(names))
    with place.open() as store, Fleet(place) as fleet:
        store.studies.create(spec)
        for _ in ticks(0.2):
            working = sum(worker.alive for worker in fleet.workers)
            # A worker that ends may still take back what crashed on its machine: until then nothing is decided.
            if not working and not unfinished(store, spec.name):
                break
            # A worker that takes its machine for a bad one leaves, and one on another machine comes.
            for _ in range(2 - working if unfinished(store, spec.name) else 0):
                host = f"machine-{len(fleet.workers)}"
                fleet.start("--slots", "3", env={"CHAOS_MISBEHAVE": f"{{{plan}}}"}, host=host)
            fleet.check((0, _BAD_MACHINE))
        fleet.start()
        fleet.finish((0, _BAD_MACHINE))
        judge(place, store, spec.name, undisturbed(spec), spared=range(len(behaviours)))
        rows = store.trials.all(spec.name)
        suspicious = sum(worker.exit_code == _BAD_MACHINE for worker in fleet.workers)
    wrong = [rows[at] for at, name in enumerate(behaviours) if rows[at].state is not BEHAVIOURS[name]]
    # From its last checkpoint on a bad trial only fails. Crashes that a bad machine takes upon itself do not count.
    most = max(
        sum(attempt.first_step == Chaos.bad_step - 2 for attempt in row.attempts) for row in rows[: len(behaviours)]
    )
    if wrong or most >= MOST_CRASHES + 3 * suspicious:
        raise Broken(f"seed {place.seed}: {most} fruitless attempts, wrong ends {wrong}; logs in {place.folder}")
    states = Counter(f"trials {row.state}" for row in rows)
    return {**states, "attempts": sum(len(row.attempts) for row in rows), "most fruitless attempts": most + 1}
