"""Workers in any order: claiming, writing, freezing, waking, failing. A simple model says what must come of it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from scenes import make_due, make_study, must_claim, result, saved_at, set_trial, taken_over
from sqlalchemy import update

from cifarsweep.errors import LeaseLost, StoreError
from cifarsweep.spec.types import FINAL_STATES, AttemptEnd, MetricRow, StopRequest, TrialState
from cifarsweep.store import Store
from cifarsweep.store.queue import fence
from cifarsweep.store.records import ClaimRequest, ControlResult, Lease
from cifarsweep.store.schema import trial

TRIALS = 3
ENDS = [AttemptEnd.EXCEPTION, AttemptEnd.OUT_OF_MEMORY, AttemptEnd.CRASHED]
_names = count()


@dataclass
class Modelled:
    """What a trial must look like."""

    state: TrialState = TrialState.QUEUED
    attempt: int = 0
    expired: bool = False
    steps: int = 0
    checkpoints: list[int] = field(default_factory=list)
    furthest: int = 0
    failures: dict[AttemptEnd, int] = field(default_factory=lambda: dict.fromkeys(ENDS, 0))
    takeovers: int = 0
    stop_request: StopRequest | None = None

    def leave(self, state: TrialState) -> None:
        """Nobody holds it any more."""
        self.state, self.stop_request, self.expired = state, None, False

    def unheld(self) -> TrialState:
        return TrialState.QUEUED if self.stop_request is None else self.stop_request.state


@dataclass
class Holder:
    """A worker that believes in its lease, rightly or not."""

    lease: Lease
    steps: int


def value_at(number: int, step: int) -> float:
    """Training is deterministic: the same trial has the same numbers, whoever computes them."""
    return 1.0 / (1 + number + step)


class Workers(RuleBasedStateMachine):
    """Each rule does the same to the store and to the model."""

    store: Store

    def __init__(self) -> None:
        super().__init__()
        self.study = f"machine-{next(_names)}"
        self.store.studies.create(make_study(1, TRIALS, name=self.study))
        self.trials = [Modelled() for _ in range(TRIALS)]
        self.holders: list[Holder] = []

    @rule()
    def claim(self) -> None:
        self._compare(self.store.queue.claim("w", studies=[self.study]), self._claim_in_the_model())

    def _compare(self, lease: Lease | None, expected: int | None) -> None:
        assert (lease.number if lease else None) == expected
        if lease is not None:
            model = self.trials[lease.number]
            assert (lease.attempt, lease.step) == (model.attempt, model.steps)
            assert [checkpoint.step for checkpoint in lease.checkpoints] == model.checkpoints
            self.holders.append(Holder(lease, lease.step))

    def _claim_in_the_model(self) -> int | None:
        for number, model in enumerate(self.trials):
            if model.state is TrialState.LEASED and model.expired:
                if model.takeovers >= 5:
                    continue
                if (found := self._taken_over_in_the_model(number)) is not None:
                    return found
        queued = [number for number, model in enumerate(self.trials) if model.state is TrialState.QUEUED]
        if queued:
            return self._lease_in_the_model(queued[0])
        expired = [number for number, model in enumerate(self.trials) if model.expired]
        found = (self._taken_over_in_the_model(number) for number in expired)
        return next((number for number in found if number is not None), None)

    def _taken_over_in_the_model(self, number: int) -> int | None:
        model = self.trials[number]
        model.takeovers += 1
        if model.stop_request is None:
            return self._lease_in_the_model(number)
        model.leave(model.unheld())
        return None

    def _lease_in_the_model(self, number: int) -> int:
        model = self.trials[number]
        model.state, model.expired, model.attempt = TrialState.LEASED, False, model.attempt + 1
        model.steps = model.checkpoints[0] if model.checkpoints else 0
        return number

    def _current(self, holder: Holder) -> Modelled | None:
        """The trial, where the holder has the right to write for it."""
        model = self.trials[holder.lease.number]
        return model if model.state is TrialState.LEASED and model.attempt == holder.lease.attempt else None

    def _rows(self, holder: Holder, more: int) -> list[MetricRow]:
        steps = range(holder.steps + 1, holder.steps + more + 1)
        return [MetricRow("m", step, value_at(holder.lease.number, step)) for step in steps]

    def _lost(self, holder: Holder, act: Any) -> None:
        with pytest.raises(LeaseLost):
            act()
        self.holders.remove(holder)

    def _advance(self, model: Modelled, steps: int, checkpoint: bool) -> None:
        model.expired = False
        model.steps = steps
        if checkpoint:
            model.checkpoints = [steps, *(step for step in model.checkpoints if step < steps)][:2]
            if steps > model.furthest:
                model.furthest, model.failures[AttemptEnd.CRASHED], model.takeovers = steps, 0, 0

    @precondition(lambda self: self.holders)
    @rule(data=st.data(), more=st.integers(0, 3), checkpoint=st.booleans())
    def write(self, data: st.DataObject, more: int, checkpoint: bool) -> None:
        holder = data.draw(st.sampled_from(self.holders))
        steps = holder.steps + more
        pointer = saved_at(steps) if checkpoint and steps else None
        rows, lease = self._rows(holder, more), holder.lease
        if model := self._current(holder):
            holder.lease = self.store.queue.write(lease, rows, pointer)
            assert holder.lease.stop_request is model.stop_request
            holder.steps = steps
            self._advance(model, steps, pointer is not None)
        else:
            self._lost(holder, lambda: self.store.queue.write(lease, rows, pointer))

    @precondition(lambda self: self.holders)
    @rule(data=st.data())
    def rewind(self, data: st.DataObject) -> None:
        holder = data.draw(st.sampled_from(self.holders))
        step = holder.lease.checkpoints[-1].step if holder.lease.checkpoints else 0
        lease = holder.lease
        if model := self._current(holder):
            holder.lease = self.store.queue.rewind(lease, step)
            holder.steps = model.steps = step
            model.checkpoints = [kept for kept in model.checkpoints if kept <= step]
            model.expired = False
        else:
            self._lost(holder, lambda: self.store.queue.rewind(lease, step))

    @precondition(lambda self: self.holders)
    @rule(data=st.data(), more=st.integers(0, 2), chained=st.booleans())
    def finish(self, data: st.DataObject, more: int, chained: bool) -> None:
        want = ClaimRequest("w", [self.study]) if chained else None
        holder = data.draw(st.sampled_from(self.holders))
        rows, lease, steps = self._rows(holder, more), holder.lease, holder.steps + more
        if model := self._current(holder):
            following = self.store.queue.finish(lease, rows, None, result(steps), want)
            self._advance(model, steps, False)
            model.leave(TrialState.DONE)
            self.holders.remove(holder)
            self._compare(following, self._claim_in_the_model() if want else None)
        else:
            self._lost(holder, lambda: self.store.queue.finish(lease, rows, None, result(steps), want))

    @precondition(lambda self: self.holders)
    @rule(data=st.data(), checkpoint=st.booleans())
    def release(self, data: st.DataObject, checkpoint: bool) -> None:
        holder = data.draw(st.sampled_from(self.holders))
        lease = holder.lease
        pointer = saved_at(holder.steps) if checkpoint and holder.steps else None
        if model := self._current(holder):
            self.store.queue.release(lease, [], pointer)
            self._advance(model, holder.steps, pointer is not None)
            model.leave(model.unheld())
            self.holders.remove(holder)
        else:
            self._lost(holder, lambda: self.store.queue.release(lease, [], pointer))

    @precondition(lambda self: self.holders)
    @rule(data=st.data(), end=st.sampled_from(ENDS))
    def fail(self, data: st.DataObject, end: AttemptEnd) -> None:
        holder = data.draw(st.sampled_from(self.holders))
        lease = holder.lease
        if model := self._current(holder):
            model.failures[end] += 1
            most, last = (5, TrialState.POISONED) if end is AttemptEnd.CRASHED else (2, TrialState.FAILED)
            model.leave(last if model.failures[end] >= most else model.unheld())
            assert self.store.queue.fail(lease, end, "boom", "") is model.state
            make_due(self.store, lease)
            self.holders.remove(holder)
        else:
            self._lost(holder, lambda: self.store.queue.fail(lease, end, "boom", ""))

    @precondition(lambda self: self.holders)
    @rule(data=st.data())
    def freeze(self, data: st.DataObject) -> None:
        """The holder stops; it may wake and act at any later time."""
        holder = data.draw(st.sampled_from(self.holders))
        if model := self._current(holder):
            set_trial(self.store, holder.lease.trial_id, lease_until=0.0, expired=True)
            model.expired = True

    @rule(number=st.integers(0, TRIALS - 1), stop_request=st.sampled_from(StopRequest))
    def steer(self, number: int, stop_request: StopRequest) -> None:
        model, act = (
            self.trials[number],
            self.store.control.pause if stop_request is StopRequest.PAUSE else self.store.control.cancel,
        )
        if model.state in FINAL_STATES and model.state is not stop_request.state:
            with pytest.raises(StoreError, match="is final"):
                act(self.study, number)
            return
        act(self.study, number)
        if model.stop_request is not StopRequest.CANCEL or stop_request is StopRequest.CANCEL:
            if model.state is TrialState.LEASED and not model.expired:
                model.stop_request = stop_request
            else:
                model.takeovers += model.state is TrialState.LEASED
                model.leave(stop_request.state)

    @rule(number=st.integers(0, TRIALS - 1))
    def resume_or_retry(self, number: int) -> None:
        model = self.trials[number]
        if model.state is TrialState.PAUSED or model.stop_request is StopRequest.PAUSE:
            assert self.store.control.resume(self.study, number) in (ControlResult(1, 0), ControlResult(0, 1))
        elif model.stop_request is StopRequest.CANCEL or (
            model.state in FINAL_STATES and model.state is not TrialState.DONE
        ):
            assert self.store.control.retry(self.study, number) in (ControlResult(1, 0), ControlResult(0, 1))
            if model.state in FINAL_STATES:
                model.failures, model.takeovers = dict.fromkeys(ENDS, 0), 0
        else:
            return
        model.leave(model.state if model.state is TrialState.LEASED else TrialState.QUEUED)

    @invariant()
    def the_store_is_as_the_model_says(self) -> None:
        rows = self.store.trials.all(self.study)
        series = self.store.metrics.read(self.study, ["m"])
        for number, (row, model) in enumerate(zip(rows, self.trials, strict=True)):
            assert (row.state, len(row.attempts)) == (model.state, model.attempt)
            assert sum(attempt.end is None for attempt in row.attempts) == (model.state is TrialState.LEASED)
            steps, values = series.get((number, "m"), ((), ()))
            assert list(steps) == list(range(1, model.steps + 1))
            assert list(values) == [value_at(number, step) for step in steps]


def run_machine(store: Store, **options: Any) -> None:
    machine = type("Machine", (Workers,), {"store": store})
    checks = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
    chosen = {"max_examples": 25, "stateful_step_count": 30, "deadline": None, "database": None} | options
    run_state_machine_as_test(machine, settings=settings(suppress_health_check=checks, **chosen))


def test_any_order_of_events_agrees_with_the_model(store: Store) -> None:
    run_machine(store)
    assert [finding for finding in store.admin.check() if "lease has run out" not in finding] == []


def unfenced(conn: Any, lease: Lease, progress: Any, *, finishing: bool = False) -> fence.GuardResult:
    """A guard that lets everybody pass."""
    state = TrialState.DONE if finishing else TrialState.LEASED
    conn.execute(update(trial).where(trial.c.trial_id == lease.trial_id).values(state=state.value))
    return fence.GuardResult(already_committed=False, stop_request=None)


def test_without_the_fence_the_model_disagrees(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proof that the test above can fail."""
    monkeypatch.setattr(fence, "guard", unfenced)

    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        run_machine(store, max_examples=200, phases=[Phase.generate], derandomize=True)


def frozen_and_woken(store: Store) -> list[tuple[int, float]]:
    """A worker freezes after step 4 and wakes when its successor is at step 6; the rows that remain in the end."""
    frozen = store.queue.write(must_claim(store, "a"), training_rows(1, 2), saved_at(2))
    frozen = store.queue.write(frozen, training_rows(3, 4))
    successor = store.queue.write(taken_over(store, frozen), training_rows(3, 6))
    with contextlib.suppress(LeaseLost):
        store.queue.rewind(frozen, 4)
    store.queue.finish(successor, training_rows(7, 10), None, result(10))
    steps, values = store.metrics.read("s", ["m"])[0, "m"]
    return list(zip(steps.tolist(), values.tolist(), strict=True))


def training_rows(first: int, last: int) -> list[MetricRow]:
    return [MetricRow("m", step, value_at(0, step)) for step in range(first, last + 1)]


@pytest.mark.parametrize("fenced", [True, False])
def test_rows_equal_those_of_an_undisturbed_run_only_with_the_fence(
    busy_store: Store, monkeypatch: pytest.MonkeyPatch, fenced: bool
) -> None:
    undisturbed = [(step, value_at(0, step)) for step in range(1, 11)]
    if not fenced:
        monkeypatch.setattr(fence, "guard", unfenced)

    assert (frozen_and_woken(busy_store) == undisturbed) is fenced
