"""A worker's part in searches: add a point when the queue is empty, and prune trials that fall behind."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from cifarsweep.errors import SpecError, UnreadableStudy
from cifarsweep.spec.cell_names import is_named_as_before
from cifarsweep.spec.metrics import is_loss
from cifarsweep.spec.search_space import Curve, Pruner, Search
from cifarsweep.spec.study import Cell
from cifarsweep.store import Store
from cifarsweep.store.records import Lease
from cifarsweep.store.search import SearchState

logger = logging.getLogger(__name__)


class SearchClient:
    """Adds points to the searches of a worker. Optuna is imported with the first of them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._searches: dict[str, Search | None] = {}
        self._exhausted: set[str] = set()
        #: Curves of finished trials, which can't change any more.
        self._curves: dict[str, dict[int, Curve]] = {}

    def add_next_point(self, studies: Sequence[str]) -> bool:
        """Add a point to the first study that wants one. If True, read the queue again.

        Of two workers that suggest a point at once one adds it, and the other finds it in the queue.
        """
        for name in studies:
            try:
                if name not in self._exhausted and self._add_point(name):
                    return True
            except UnreadableStudy as error:
                self._exhausted.add(name)
                logger.warning(str(error))
        return False

    def _add_point(self, name: str) -> bool:
        """Add a point if the study wants one; return whether a point was suggested."""
        if self.search(name) is None:
            return False
        state = self._store.search.state(name)
        if state is None or not state.wants_more or state.spec.search is None:
            return False
        cell = self._suggest(name, state.spec.search, state)
        if cell is not None:
            self._store.search.add(name, state.asked, cell)
        return cell is not None

    def _suggest(self, name: str, search: Search, state: SearchState) -> Cell | None:
        from cifarsweep.search import suggest

        reason = f"no point is left that is new and trains; the search ends after {state.asked}"
        try:
            cell = suggest(
                search,
                state.asked,
                state.tried,
                free=state.spec.program is not None,
                less_is_better=is_loss(state.spec.metric),
                as_before=is_named_as_before(state.spec),
            )
        except SpecError as error:
            cell, reason = None, str(error)
        if cell is None:
            self._exhausted.add(name)
            logger.warning(f"study {name!r}: {reason}")
        return cell

    def pruning_decider(self, lease: Lease) -> PruningDecider:
        """Return what decides about pruning a trial. Reads nothing yet."""
        return PruningDecider(self._store, lease, self.search, self._curves.setdefault(lease.study, {}))

    def search(self, name: str) -> Search | None:
        """Return the search of a study; None if it has none. Raises StoreUnavailable."""
        if name not in self._searches:
            self._searches[name] = self._store.studies.get(name).spec.search
        return self._searches[name]


class PruningDecider:
    """Decides at every evaluation of an attempt whether its trial is pruned.

    A stored decision of an earlier attempt holds, so that a trial that was taken over ends where it would have ended
    undisturbed.
    """

    def __init__(
        self, store: Store, lease: Lease, search_of: Callable[[str], Search | None], finished: dict[int, Curve]
    ) -> None:
        self._store, self._lease, self._search_of, self._finished = store, lease, search_of, finished
        self._decided: dict[int, bool] | None = None
        self._observed: dict[int, float] = {}

    def observe(self, step: int, accuracy: float) -> None:
        """Remember an evaluation, whether or not it can be decided on now."""
        self._observed[step] = accuracy

    def __call__(self, step: int) -> bool | None:
        """Return whether the trial ends at `step`, which was observed before; None if its study prunes none.

        Raises StoreUnavailable.
        """
        search = self._search_of(self._lease.study)
        if search is None or search.pruner == "none":
            return None
        if self._decided is None:
            self._observed = self._observed_before(step) | self._observed
            self._decided = self._store.search.decisions(self._lease.trial_id)
        if step not in self._decided:
            self._decided[step] = self._decide(search.pruner, step)
        return self._decided[step]

    def _observed_before(self, step: int) -> dict[int, float]:
        """Return what earlier attempts evaluated before `step`."""
        number = self._lease.number
        metric = self._lease.metric
        found = self._store.metrics.read(self._lease.study, [metric], only=[number]).get((number, metric))
        if found is None:
            return {}
        return {at: value for at, value in zip(*(array.tolist() for array in found), strict=True) if at < step}

    def _decide(self, pruner: Pruner, step: int) -> bool:
        from cifarsweep.search import should_prune

        metric = self._lease.metric
        fresh = self._store.search.curves(self._lease.study, self._finished, metric)
        self._finished |= {number: curve for number, curve in fresh.items() if curve.complete}
        known = self._finished | fresh
        known[self._lease.number] = Curve(tuple(value for at, value in sorted(self._observed.items()) if at <= step))
        curves = [known[number] for number in sorted(known)]
        return should_prune(pruner, self._lease.study, self._lease.number, curves, less_is_better=is_loss(metric))
