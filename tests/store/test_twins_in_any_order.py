"""Whatever happens to trials of one identity and in whatever order: all can be ended, and all end the same."""

from __future__ import annotations

from contextlib import suppress
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import make_study, result, saved_at
from sqlalchemy import text

from cifarsweep.errors import LeaseLost, StoreError
from cifarsweep.spec.types import AttemptEnd, MetricRow, TrialState
from cifarsweep.store import Store
from cifarsweep.store.records import Lease

STEPS, CELLS = 3, 2
EVENTS = ["claim", "claim", "claim of one", "claim without reuse", "save", "finish", "finish", "release", "fail"]
EVENTS += ["vanish", "pause", "resume", "cancel", "retry", "prioritize"]
_examples = count()


def row(cell: str, step: int) -> MetricRow:
    """What every trial of a cell records at a step."""
    return MetricRow("train/loss", step, len(cell) / step)


class Crowd:
    """Workers that hold trials of three studies with the same cells, each of one seed."""

    def __init__(self, store: Store) -> None:
        example = next(_examples)
        self.store = store
        self.names = [f"{example}-{place}" for place in range(3)]
        for name in self.names:
            store.studies.create(make_study(CELLS, 1, name=name))
        self._example = example
        self._held: list[Lease] = []

    def identify(self, lease: Lease, steps: int | None) -> str:
        return f"{self._example} {lease.cell} {steps}"

    def on(self, event: str, which: int) -> None:
        """Let something happen; `which` says to what."""
        name = self.names[which % len(self.names)]
        match event.split()[0]:
            case "claim":
                names = [name] if event == "claim of one" else self.names
                lease = self.store.queue.claim(
                    f"w{which}", studies=names, identify=None if "without" in event else self.identify
                )
                self._held += [] if lease is None else [lease]
            case "pause" | "resume" | "cancel" | "retry":
                with suppress(StoreError):
                    getattr(self.store.control, event)(name, which % CELLS)
            case "prioritize":
                self.store.control.prioritize(name, priority=which % 3)
            case _ if self._held:
                self._of_holder(event, self._held.pop(which % len(self._held)))

    def _of_holder(self, event: str, lease: Lease) -> None:
        with suppress(LeaseLost):
            match event:
                case "save":
                    if lease.step < STEPS - 1:
                        step = lease.step + 1
                        lease = self.store.queue.write(lease, [row(lease.cell, step)], saved_at(step))
                    self._held.append(lease)
                case "finish":
                    self.finish(lease)
                case "release":
                    self.store.queue.release(lease, [], None)
                case "fail":
                    self.store.queue.fail(lease, AttemptEnd.EXCEPTION, "boom", "")
                case "vanish":
                    self.expire(f"AND trial_id = {lease.trial_id} AND attempt = {lease.attempt}")

    def finish(self, lease: Lease) -> None:
        if lease.twin is not None and lease.step == 0:
            self.store.queue.reuse(lease)
        else:
            rows = [row(lease.cell, step) for step in range(lease.step + 1, STEPS + 1)]
            self.store.queue.finish(lease, rows, None, result(STEPS))

    def expire(self, which: str = "") -> None:
        statement = text(f"UPDATE cs_trial SET lease_until = 0, expired = true WHERE state = 'leased' {which}")  # noqa: S608
        self.store._db.write(lambda conn: conn.execute(statement))

    def check_that_one_trains(self) -> None:
        """Of trials without progress of their own that may reuse, a worker trains one of each identity."""
        begun = [lease.identity for lease in self._held if self._trains_anew(lease)]
        assert len(set(begun)) == len(begun)

    def _trains_anew(self, lease: Lease) -> bool:
        state = self.store.trials.get(lease.study, lease.number)
        current = state.state is TrialState.LEASED and len(state.attempts) == lease.attempt
        return current and lease.identity is not None and lease.twin is None and not lease.checkpoints

    def work_off(self) -> None:
        """A worker alone ends all, once nobody is in its way."""
        for name in self.names:
            self.store.control.resume(name)
            self.store.control.retry(name)
        self.expire()
        self.store._db.write(lambda conn: conn.execute(text("UPDATE cs_trial SET not_before = 0")))
        while (lease := self.store.queue.claim("last", studies=self.names, identify=self.identify)) is not None:
            self.finish(lease)

    def outcomes(self) -> list[Any]:
        return [
            [(t.state, t.value, t.step, t.weights_sha256), sorted(self._rows(name, t.number))]
            for name in self.names
            for t in self.store.trials.all(name)
        ]

    def _rows(self, name: str, number: int) -> list[tuple[int, float]]:
        steps, values = self.store.metrics.read(name, ["train/loss"])[number, "train/loss"]
        return list(zip(steps.tolist(), values.tolist(), strict=True))


@pytest.mark.long
@settings(max_examples=20)
@given(happens=st.lists(st.tuples(st.sampled_from(EVENTS), st.integers(0, 11)), max_size=25))
def test_all_end_and_all_end_the_same(store: Store, happens: list[tuple[str, int]]) -> None:
    crowd = Crowd(store)

    for event, which in happens:
        crowd.on(event, which)
        crowd.check_that_one_trains()
    crowd.work_off()

    done = (TrialState.DONE, 0.5, STEPS, "f" * 64)
    cells = [make_study(CELLS, 1).cells[place].name for place in range(CELLS)]
    expected = [[done, [(step, row(cell, step).value) for step in range(1, STEPS + 1)]] for cell in cells]
    assert crowd.outcomes() == expected * len(crowd.names)
    assert not [finding for finding in store.admin.check() if "Optuna" not in finding]
