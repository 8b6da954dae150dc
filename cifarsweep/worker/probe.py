"""`--slots auto`: how many trials train at once on this machine's device, found by trying. Imports no torch."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from typing import Any, Self

from cifarsweep.errors import CifarsweepError, DeviceError
from cifarsweep.spec.settings import EarlyStop, Settings
from cifarsweep.spec.words import IMAGES
from cifarsweep.training import events
from cifarsweep.worker import protocol
from cifarsweep.worker.process import ChildProcess

#: Numbers of slots that are tried, in this order.
SIZES = (1, 2, 4, 8)
#: Steps between two signs of life of a probed child, how many of these make a rate, and how long to wait for them.
_STEPS, _SIGNS, _PATIENCE_S = 50, 5, 120.0
_FOREVER = 10**9


def best_slots(measure: Callable[[int], float | None], note: Callable[[str], None] = lambda text: None) -> int:
    """Return the number of slots that trains most images a second together.

    `measure` gives that rate, or None where so many do not fit in memory; no more are tried then, nor after a rate that
    is lower than one before it.
    """
    rates: dict[int, float] = {}
    for slots in SIZES:
        rate = measure(slots)
        if rate is None:
            note(f"slots: {slots} at once run out of memory")
            break
        rates[slots] = rate
        note(f"slots: {slots} at once train {rate:,.0f} images/s together")
        if rate < max(rates.values()):
            break
    if not rates:
        raise CifarsweepError("--slots auto: not even one trial of this study fits in the device's memory")
    return max(rates, key=rates.__getitem__)


def processor_slots(threads: int) -> int:
    """Return how many trials of so many threads each the processors that this process may use can hold."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // threads)


def find_slots(command: Sequence[str], settings: Settings, note: Callable[[str], None]) -> int:
    """Return the number of slots for trials like `settings` on the device that `command`'s children train on.

    Raises DeviceError where there is no such device, CifarsweepError where the children do not train there.
    """
    with Probe(command, settings) as probe:
        if not probe.on_gpu():
            return processor_slots(settings.threads)
        return best_slots(probe.rate, note)


def endless(settings: Settings) -> Settings:
    """The same training without an end, an evaluation or an early stop, with a row every few steps."""
    schedule = settings.schedule.model_copy(update={"warmup_epochs": 0.0, "warmup_steps": 0})
    changes = {"epochs": None, "steps": _FOREVER, "eval_every": _FOREVER, "log_every": _STEPS}
    return settings.model_copy(update={**changes, "schedule": schedule, "early_stop": EarlyStop()})


@dataclass
class _Probed:
    """A child that trains, and what it has told: images trained at moments of our clock."""

    child: ChildProcess
    ready: protocol.Ready | None = None
    out_of_memory: bool = False
    signs: list[tuple[float, float]] = field(default_factory=list)

    def hear(self, now: float) -> None:
        replies = self.child.read()
        if replies is None:
            raise CifarsweepError(f"--slots auto: {self.child.obituary()}")
        for reply in replies:
            self._note(reply, now)

    def _note(self, reply: protocol.Reply, now: float) -> None:
        match reply:
            case protocol.Ready():
                self.ready = reply
            case protocol.Refused():
                raise DeviceError(reply.reason)
            case protocol.DataRefused():
                raise CifarsweepError(f"--slots auto: {reply.reason}")
            case protocol.Failed():
                self.out_of_memory = reply.out_of_memory
                if not reply.out_of_memory:
                    raise CifarsweepError(f"--slots auto: the study's first cell does not train: {reply.error}")
            case events.Metrics():
                self.signs += [(now, row.value) for row in reply.rows if row.name == IMAGES]

    def rate(self) -> float | None:
        """Images per second between the first and the last sign; None before there are enough of them."""
        if len(self.signs) <= _SIGNS:
            return None
        (began, before), (ended, after) = self.signs[0], self.signs[-1]
        return (after - before) / max(ended - began, 1e-9)


class Probe:
    """Children that train the same cell at once; more join as more are asked for. All end with the `with` block."""

    def __init__(self, command: Sequence[str], settings: Settings) -> None:
        self._command = command
        self._settings: dict[str, Any] = json.loads(endless(settings).model_dump_json())
        self._probed: list[_Probed] = []
        self._folder = tempfile.TemporaryDirectory(prefix="cifarsweep-probe-", ignore_cleanup_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._probed:
            each.child.kill()
        self._folder.cleanup()

    def on_gpu(self) -> bool:
        """Start the first child and ask where it trains."""
        first = self._probed[0] if self._probed else self._start()
        self._until(lambda: first.ready is not None)
        return first.ready is not None and "cuda" in first.ready.versions

    def rate(self, slots: int) -> float | None:
        """Images per second of `slots` children together; None where one of them ran out of memory."""
        while len(self._probed) < slots:
            self._start()
        self._until(lambda: self._failed() or all(each.signs for each in self._probed))
        for each in self._probed:  # only from here on do all of them train
            each.signs.clear()
        self._until(lambda: self._failed() or all(each.rate() is not None for each in self._probed))
        return None if self._failed() else sum(each.rate() or 0.0 for each in self._probed)

    def _failed(self) -> bool:
        return any(each.out_of_memory for each in self._probed)

    def _start(self) -> _Probed:
        started = _Probed(ChildProcess(self._command))
        self._probed.append(started)
        number = len(self._probed)
        started.child.send(
            protocol.Train(
                label=f"probe/{number}",
                settings=self._settings,
                seed=number,
                folder=os.path.join(self._folder.name, str(number)),
                resume=(),
                save_every_s=float(_FOREVER),
            )
        )
        return started

    def _until(self, done: Callable[[], bool]) -> None:
        give_up = time.monotonic() + _PATIENCE_S
        by_pipe = {each.child: each for each in self._probed}
        while not done():
            if time.monotonic() > give_up:
                raise CifarsweepError(f"--slots auto: no progress within {_PATIENCE_S:.0f} s; give a number instead")
            pipes: list[Any] = list(by_pipe)
            for pipe in wait(pipes, timeout=0.25):
                with contextlib.suppress(protocol.ProtocolError):
                    by_pipe[pipe].hear(time.monotonic())  # type: ignore[index]
