"""`--slots auto`: finds by trial how many trials train at once on this machine's device."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from cifarsweep.errors import CifarsweepError, DeviceError
from cifarsweep.files import scratch
from cifarsweep.own_code import Files
from cifarsweep.spec.settings import EarlyStop, Settings
from cifarsweep.training import events
from cifarsweep.worker.child import protocol
from cifarsweep.worker.child.process import LONGEST_START_S, ChildProcess, one_line, wait_for_any
from cifarsweep.worker.gpus_here import check_gpus

logger = logging.getLogger(__name__)

#: Numbers of slots that are tried, in this order.
SIZES = (1, 2, 4, 8)
#: Steps before a child's rate counts: the first ones load libraries, let cuDNN choose and capture a graph.
_WARM_STEPS = 5
#: How long a rate is measured, and how long a child may be silent before it counts as hung. Seconds.
_MEASURED_S, _SILENCE_LIMIT_S = 3.0, 120.0
_NEVER = 10**9
#: A learning rate at which no network diverges while it is timed; the time of a step does not depend on it.
_STABLE_LEARNING_RATE = 1e-12


class _DoesNotFit(Exception):
    """So many children do not run together; its text says why."""


def best_slots(measure: Callable[[int], float | None]) -> int:
    """Return the number of slots that trains most images a second together.

    `measure` returns the rate, or None if so many do not fit. The search ends there, or at the first rate below an
    earlier one.
    """
    rates: dict[int, float] = {}
    for slots in SIZES:
        rate = measure(slots)
        if rate is None:
            break
        rates[slots] = rate
        logger.info(f"slots: {slots} at once train {rate:,.0f} images/s together")
        if rate < max(rates.values()):
            break
    if not rates:
        raise CifarsweepError("--slots auto: not even one trial of this study fits in the device's memory")
    return max(rates, key=rates.__getitem__)


def processor_slots(settings: Settings) -> int:
    """Return how many trials with all their threads fit on the processors that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // (settings.threads * settings.devices))


def find_slots(command: Sequence[str], settings: Settings, code: Files = ()) -> int:
    """Return the number of slots for trials like `settings` on the device that `command`'s children train on.

    `code` are the files of the user's own code.

    Raises DeviceError if there is no such device, CifarsweepError if the children do not train on it.
    """
    with SlotTuner(command, settings, code) as tuner:
        if not tuner.on_gpu():
            return processor_slots(settings)
        return best_slots(tuner.rate)


def benchmark_settings(settings: Settings) -> Settings:
    """Return the settings without an end, evaluation or early stop, at a learning rate that does not diverge."""
    schedule = settings.schedule.model_copy(update={"warmup_epochs": 0.0, "warmup_steps": 0})
    optimizer = settings.optimizer.model_copy(update={"lr": _STABLE_LEARNING_RATE})
    changes = {"epochs": None, "steps": _NEVER, "eval_every": _NEVER, "optimizer": optimizer}
    return settings.model_copy(update={**changes, "schedule": schedule, "early_stop": EarlyStop()})


@dataclass
class _TunedChild:
    """A child that trains, with samples of its progress: time and step."""

    child: ChildProcess
    heard_at: float
    ready: protocol.Ready | None = None
    samples: list[tuple[float, int]] = field(default_factory=list)

    def read_events(self, now: float) -> None:
        """Raises DeviceError for a device that is not here, _DoesNotFit for whatever ends or fails a child."""
        replies = self.child.read()
        if replies is None:
            self.child.reap()
            raise _DoesNotFit(self.child.exit_report())
        self.heard_at = now
        for reply in replies:
            self._on_reply(reply, now)

    def _on_reply(self, reply: protocol.Reply, now: float) -> None:
        match reply:
            case protocol.Ready():
                self.ready = reply
            case protocol.DeviceUnavailable(for_now=True):
                raise _DoesNotFit(reply.reason)
            case protocol.DeviceUnavailable():
                raise DeviceError(reply.reason)
            case protocol.DataRefused():
                raise CifarsweepError(f"--slots auto: {reply.reason}")
            case protocol.Failed() if reply.out_of_memory:
                raise _DoesNotFit("out of memory")
            case protocol.Failed():
                raise CifarsweepError(f"--slots auto: the study's first cell does not train: {reply.error}")
            case events.Finished():
                raise CifarsweepError("--slots auto: the loss of the study's first cell is not finite from the start")
            case events.Progress() if reply.step >= _WARM_STEPS:
                self.samples.append((now, reply.step))

    @property
    def has_rate(self) -> bool:
        """Whether the samples span long enough."""
        return len(self.samples) > 1 and self.samples[-1][0] - self.samples[0][0] >= _MEASURED_S

    @property
    def rate(self) -> float:
        """Steps per second between the first and the last sample."""
        (began, before), (ended, after) = self.samples[0], self.samples[-1]
        return (after - before) / (ended - began)


class SlotTuner:
    """Children that train the same cell at once, started as needed. All end with the `with` block."""

    def __init__(self, command: Sequence[str], settings: Settings, code: Files = ()) -> None:
        self._command, self._batch_size, self._code = command, settings.batch_size, tuple(code)
        self._settings: dict[str, Any] = json.loads(benchmark_settings(settings).model_dump_json())
        self._children: list[_TunedChild] = []
        self._cleanup = contextlib.ExitStack()
        self._folder = self._cleanup.enter_context(scratch())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._children:
            each.child.kill()
        self._cleanup.close()

    def on_gpu(self) -> bool:
        """Start the first child and return whether it trains on a GPU. Raises CifarsweepError if it does not start."""
        try:
            first = self._start()
            self._wait_until(lambda: first.ready is not None)
        except _DoesNotFit as error:
            raise CifarsweepError(f"--slots auto: {error}") from None
        if first.ready is not None:
            check_gpus(first.ready, self._settings)
        return first.ready is not None and "cuda" in first.ready.versions

    def rate(self, slots: int) -> float | None:
        """Return the images per second of `slots` children together; None if so many do not fit.

        Raises CifarsweepError if even one child does not run, for another reason than memory.
        """
        try:
            return self._rate(slots)
        except _DoesNotFit as error:
            if slots == 1 and str(error) != "out of memory":
                raise CifarsweepError(f"--slots auto: {error}") from None
            logger.info(f"slots: {slots} at once do not fit: {one_line(str(error))}")
            return None

    def _rate(self, slots: int) -> float:
        while len(self._children) < slots:
            self._start()
        self._wait_until(lambda: all(each.samples for each in self._children))
        for each in self._children:  # from here on all of them train
            each.samples.clear()
        self._wait_until(lambda: all(each.has_rate for each in self._children))
        return self._batch_size * sum(each.rate for each in self._children)

    def _start(self) -> _TunedChild:
        try:
            started = _TunedChild(ChildProcess(self._command), time.monotonic())
        except DeviceError as error:
            raise _DoesNotFit(str(error)) from None
        self._children.append(started)
        number = len(self._children)
        started.child.send(
            protocol.Train(
                label=f"probe/{number}",
                settings=self._settings,
                seed=number,
                folder=str(self._folder / str(number)),
                resume=(),
                save_every_s=float(_NEVER),
                code=self._code,
            )
        )
        return started

    def _wait_until(self, done: Callable[[], bool]) -> None:
        """Read the children until `done`. A slow network is no error, only silence is."""
        by_child = {each.child: each for each in self._children}
        while not done():
            if any(self._silent(each) for each in self._children):
                raise _DoesNotFit(
                    f"a training process said nothing for {_SILENCE_LIMIT_S:.0f} s; give a number instead"
                )
            for child in wait_for_any(by_child, 0.25):
                with contextlib.suppress(protocol.ProtocolError):
                    by_child[child].read_events(time.monotonic())

    def _silent(self, each: _TunedChild) -> bool:
        # A child that imports is silent; once ready, it sends keep-alives while it is slow.
        longest = _SILENCE_LIMIT_S if each.ready else LONGEST_START_S
        return time.monotonic() - each.heard_at > longest and not each.child.has_output()
