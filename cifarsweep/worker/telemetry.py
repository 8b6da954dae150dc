"""Telemetry of the hardware while trials train, recorded beside their other metrics.

A thread samples about once a second, so a driver that hangs blocks no trial. An attempt reads the sums of the samples
and records the difference between two readings.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from statistics import fmean

from cifarsweep.errors import DeviceError
from cifarsweep.spec.metrics import CPU_SLOTS, ENERGY, GPU_MEMORY, GPU_POWER, GPU_SLOTS, GPU_TEMPERATURE
from cifarsweep.spec.types import MetricRow
from cifarsweep.worker.sensors import GpuSensor, ProcessTree

logger = logging.getLogger(__name__)

SAMPLE_EVERY_S = 1.0
#: How long `close` waits for a sample under way. Seconds.
_CLOSE_TIMEOUT_S = 1.0


#: What several GPUs of one trial show together: of these gauges the sum or the highest, of all others the mean.
_TOGETHER: Mapping[str, Callable[[Sequence[float]], float]] = {GPU_MEMORY: sum, GPU_POWER: sum, GPU_TEMPERATURE: max}
#: What the gauges of a GPU show, and its energy in J since some moment, None if unknown.
_Reading = tuple[Mapping[str, float], float | None]


@dataclass(frozen=True, slots=True)
class Totals:
    """Sum and number of the samples of each gauge; energy of a device in J since some moment, None if unknown."""

    gauges: Mapping[str, tuple[float, int]] = field(default_factory=dict)
    energy_j: float | None = None

    def add_sample(self, values: Mapping[str, float], energy_j: float | None = None) -> Totals:
        """Return the totals with one more sample."""
        added = {name: (self._of(name)[0] + value, self._of(name)[1] + 1) for name, value in values.items()}
        return Totals({**self.gauges, **added}, energy_j)

    def means_since(self, before: Totals) -> dict[str, float]:
        """Return the means of the samples after `before`."""
        known = {name: (*now, *before._of(name)) for name, now in self.gauges.items()}
        return {name: (total - old) / (n - m) for name, (total, n, old, m) in known.items() if n > m}

    def _of(self, name: str) -> tuple[float, int]:
        return self.gauges.get(name, (0.0, 0))


@dataclass(frozen=True, slots=True)
class Readings:
    """All that was sampled so far of a slot's child, and of each GPU that trains its trial."""

    child: Totals = Totals()
    gpus: tuple[Totals, ...] = ()

    def means_since(self, before: Readings) -> dict[str, float]:
        """Return the means of the samples after `before`, those of several GPUs together."""
        earlier = before.gpus or (Totals(),) * len(self.gpus)
        found = [now.means_since(then) for now, then in zip(self.gpus, earlier, strict=True)]
        # What one GPU does not tell is unknown of all: a sum without it would be too small.
        names = set.intersection(*map(set, found)) if found else set[str]()
        together = {name: _TOGETHER.get(name, fmean)([means[name] for means in found]) for name in sorted(names)}
        return self.child.means_since(before.child) | together

    @property
    def energy_j(self) -> float | None:
        """The energy of all GPUs in J since some moment; None if that of one is unknown, or without a GPU."""
        known = [gpu.energy_j for gpu in self.gpus if gpu.energy_j is not None]
        return sum(known) if known and len(known) == len(self.gpus) else None


class Telemetry:
    """Samples a worker's GPUs and its children, one a slot, from the first `add_child` to `close`.

    `busy` returns how many slots train.
    """

    def __init__(self, busy: Callable[[], int]) -> None:
        self._busy = busy
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._addresses: tuple[str, ...] = ()
        self._pids: dict[int, int] = {}
        self._process_trees: dict[int, ProcessTree] = {}
        #: Values are replaced, never changed, so no lock is needed.
        self._children: dict[int, Totals] = {}
        self._gpus: tuple[Totals, ...] = ()

    def add_child(self, slot: int, pid: int, gpus: Sequence[str]) -> None:
        """Sample the child `pid` from now on. `gpus` are the addresses of the worker's GPUs, none on the processor."""
        self._pids[slot] = pid
        if self._thread is None:
            self._addresses = tuple(gpus)
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()

    def remove_child(self, slot: int) -> None:
        """Stop sampling the slot's child; its process number may be reused."""
        self._pids.pop(slot, None)

    def readings(self, slot: int, gpus: int | None = None) -> Readings:
        """Return all that was sampled so far, of the first `gpus` GPUs or of all. Never blocks."""
        return Readings(self._children.get(slot, Totals()), self._gpus[:gpus])

    def close(self) -> None:
        """Stop sampling; do not wait long for a driver."""
        self._over.set()
        if self._thread is not None:
            self._thread.join(_CLOSE_TIMEOUT_S)

    def _run(self) -> None:
        if self._addresses:
            try:
                with ExitStack() as opened:
                    sensors = [opened.enter_context(closing(GpuSensor(address))) for address in self._addresses]
                    self._sample_while_open(lambda: [sensor.read() for sensor in sensors])
            except DeviceError as error:
                logger.warning(str(error))
                self._gpus = tuple(replace(gpu, energy_j=None) for gpu in self._gpus)
        # Processes can be read without the device.
        self._sample_while_open(list)

    def _sample_while_open(self, read: Callable[[], Sequence[_Reading]]) -> None:
        while not self._over.is_set():
            self._sample(read())
            self._over.wait(SAMPLE_EVERY_S)

    def _sample(self, of_gpus: Sequence[_Reading]) -> None:
        if of_gpus:
            before = self._gpus or (Totals(),) * len(of_gpus)
            self._gpus = tuple(gpu.add_sample(*reading) for gpu, reading in zip(before, of_gpus, strict=True))
        slots = {GPU_SLOTS if self._addresses else CPU_SLOTS: float(self._busy())}
        for slot, pid in tuple(self._pids.items()):
            tree = self._process_trees.get(slot)
            if tree is None or tree.pid != pid:
                tree = self._process_trees[slot] = ProcessTree(pid)
                values: Mapping[str, float] = {}
            else:
                values = tree.read()
            self._children[slot] = self._children.get(slot, Totals()).add_sample({**slots, **values})


class AttemptTelemetry:
    """The telemetry of one attempt, from the start of its training.

    `earlier` is the trial's stored energy, None for a new one. Without it, an attempt that continues records none.
    `gpus` is how many of the worker's GPUs train the trial, all of them if None.
    """

    def __init__(
        self,
        telemetry: Telemetry,
        slot: int,
        start_step: int = 0,
        earlier: MetricRow | None = None,
        gpus: int | None = None,
    ) -> None:
        self._telemetry, self._slot, self._gpus = telemetry, slot, gpus
        self._began = self._last_evaluation = self._readings()
        self._meter = self._began.energy_j
        self._used_before = 0.0 if start_step == 0 else earlier.value if earlier else None
        self._latest = earlier

    def at_evaluation(self, step: int) -> tuple[MetricRow, ...]:
        """Return rows of the means since the last evaluation; none without samples."""
        now = self._readings()
        means = now.means_since(self._last_evaluation)
        if not means:
            return ()
        self._last_evaluation = now
        return (*(MetricRow(name, step, value) for name, value in means.items()), *self.at_checkpoint(step))

    def at_checkpoint(self, step: int) -> tuple[MetricRow, ...]:
        """Return the energy so far, from which another attempt may continue; none if the step has it already.

        An attempt that is stopped before its first step records none, since the next one begins anew.
        """
        energy_j = self._energy_j()
        if energy_j is None or step == 0 or (self._latest is not None and self._latest.step >= step):
            return ()
        self._latest = MetricRow(ENERGY, step, energy_j)
        return (self._latest,)

    def final(self) -> dict[str, float]:
        """Return the energy as last recorded, and the means of the whole attempt."""
        energy = {} if self._energy_j() is None or self._latest is None else {ENERGY: self._latest.value}
        return self._readings().means_since(self._began) | energy

    def _readings(self) -> Readings:
        return self._telemetry.readings(self._slot, self._gpus)

    def _energy_j(self) -> float | None:
        meter = self._readings().energy_j
        if meter is None or self._used_before is None:
            return None
        # A child may be ready before the first sample.
        self._meter = meter if self._meter is None else self._meter
        return self._used_before + meter - self._meter
