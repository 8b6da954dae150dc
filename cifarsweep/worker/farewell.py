"""What a worker sees to before it goes: what is left of its studies in words, and Optuna's view of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from cifarsweep.spec.types import TrialState, Wish
from cifarsweep.store import Store
from cifarsweep.store.records import StudyStatus

#: How long a worker that is done sees to Optuna's view; what is left then, the next worker tells.
_TELL_WITHIN_S = 60.0


def what_is_left(found: Sequence[StudyStatus]) -> Iterator[str]:
    """Nobody need wait for these, but who sees a worker end should know of them."""
    count = {state: sum(each.trials[state] for each in found) for state in TrialState}
    points = sum(each.held for each in found if each.wish is Wish.PAUSE)
    if count[TrialState.PAUSED] or points:
        and_points = f" and {points} points of a search" if points else ""
        trials = f"{count[TrialState.PAUSED]} trial{'s' * (count[TrialState.PAUSED] != 1)}"
        yield f"paused: {trials}{and_points}; `cifarsweep resume STUDY` queues them again"
    given_up = [f"{count[state]} {state}" for state in (TrialState.FAILED, TrialState.POISONED) if count[state]]
    if given_up:
        why = "`cifarsweep show STUDY/TRIAL` says why, `cifarsweep retry STUDY` queues them again"
        yield f"given up: {', '.join(given_up)}; {why}"


def tell_all(store: Store, hurried: Callable[[], object]) -> None:
    """Wait while another worker tells, since it may have looked before our last trial was done; until `hurried`."""
    give_up = time.monotonic() + _TELL_WITHIN_S
    while not hurried() and store.untold() and time.monotonic() < give_up:
        if store.tell(limit=500):
            continue
        if store.telling_fails:
            return
        time.sleep(0.2)
