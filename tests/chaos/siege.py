"""What most campaigns share: workers on a study, something that goes on happening to them, and the oracle."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from itertools import count
from typing import Any

from fleet import Fleet, Worker, ticks
from oracle import Broken, Runs, complaints, undisturbed
from places import Place, study_of

from cifarsweep.errors import StoreUnavailable
from cifarsweep.spec.links import Planner
from cifarsweep.spec.study import Study
from cifarsweep.store import Store

#: Starts a worker for the study of that name.
Recruit = Callable[[Fleet, str], Worker]


def plain(step_s: float = 0.05, **more: Any) -> Recruit:
    """Workers to which nothing is going to happen by itself."""
    return lambda fleet, name: fleet.start("--study", name, env={"CHAOS_STEP_S": str(step_s)}, **more)


def besiege(
    place: Place,
    trials: int,
    workers: int,
    disturb: Callable[[Fleet], None],
    enough: Callable[[], bool],
    *,
    recruit: Recruit | None = None,
    relieve: Callable[[Fleet], None] = lambda fleet: None,
    spec_of: Callable[[int, str], Study] = study_of,
    expect: Callable[[Study], Runs] = undisturbed,
    forgive_starts: bool = False,
    planner: Planner | None = None,
    finish: Recruit | None = None,
) -> list[Fleet]:
    """Let `workers` train study after study, disturbed, until it is enough; the oracle looks at every study.

    `relieve` ends what a disturbance left behind. Whoever ends is replaced, and the last worker of a study, which is
    that of `finish`, is left in peace. `planner` plans what trials take from others. Raises Broken.
    """
    recruit, fleets = recruit or plain(), []
    finish = finish or plain(0.0, real=spec_of is not study_of)
    for number in count():
        spec = spec_of(trials, f"round-{number}")
        with place.open() as store, Fleet(place) as fleet:
            fleets.append(fleet)
            store.studies.create(spec, planner=planner)
            for _ in ticks(0.04):
                if enough() or not unfinished(store, spec.name):
                    break
                for _ in range(workers - sum(worker.alive for worker in fleet.workers)):
                    recruit(fleet, spec.name)
                disturb(fleet)
                fleet.check(forgive_starts=forgive_starts)
            finish(fleet, spec.name)
            fleet.finish(forgive_starts=forgive_starts, meanwhile=lambda there=fleet: relieve(there))
            judge(place, store, spec.name, expect(spec))
        if enough():
            return fleets
    raise AssertionError("unreachable")


def unfinished(store: Store, name: str) -> bool:
    """Whether there is something to do, or nobody can tell: who is frozen or slow in a COMMIT keeps readers waiting."""
    try:
        return store.queue.has_unfinished([name])
    except StoreUnavailable:
        return True


def judge(place: Place, store: Store, name: str, expected: Runs, *, spared: Collection[int] = ()) -> None:
    """Raise Broken with everything that the oracle complains of."""
    found = complaints(store, name, expected, spared=spared)
    if found:
        text = "\n".join(f"  - {each}" for each in found[:12])
        raise Broken(f"{place.backend}, seed {place.seed}, logs in {place.folder}: {len(found)} complaints\n{text}")


def takeovers(store: Store, name: str) -> int:
    """Attempts beyond the first."""
    return sum(len(row.attempts) - 1 for row in store.trials.all(name))


class Every:
    """Says now and then, at random intervals, that it is time."""

    def __init__(self, place: Place, least_s: float, most_s: float) -> None:
        self._draw = lambda: place.chance.uniform(least_s, most_s)
        self._at = time.monotonic() + self._draw()

    def __call__(self) -> bool:
        if time.monotonic() < self._at:
            return False
        self._at = time.monotonic() + self._draw()
        return True
