"""Trains a finished trial again in a child, as a worker does, and compares. Writes to no database."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cifarsweep.errors import CifarsweepError, DeviceError, StoreError
from cifarsweep.own_code import Files
from cifarsweep.spec.metrics import CONFUSION, TEST_ACCURACY, TEST_LOSS, TIMING_METRICS
from cifarsweep.spec.types import DATA_VERSION, MetricRow, Outcome, TrialResult, TrialState
from cifarsweep.store import Store
from cifarsweep.store.trial_records import TrialRow
from cifarsweep.training import events
from cifarsweep.worker.child import protocol
from cifarsweep.worker.child.process import ChildProcess
from cifarsweep.worker.context import versions
from cifarsweep.worker.gpus_here import check_gpus

#: Values by metric and step.
Rows = Mapping[tuple[str, int], float]
#: No checkpoints on the way: the last one is written anyway.
_NEVER_S = 1e9


@dataclass(frozen=True, slots=True)
class Original:
    """A finished trial and all its rows but the timing ones."""

    trial: TrialRow
    rows: Rows


@dataclass(frozen=True, slots=True)
class Repetition:
    """The result of training it again, and the device and versions."""

    result: TrialResult
    rows: Rows
    device: str
    versions: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Deviation:
    """A metric whose rows differ: how many, and the largest difference (inf for nan beside a number)."""

    metric: str
    rows: int
    of: int
    largest: float


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """Whether the trial reproduced, which metrics deviate, and which differences of the environment may explain it."""

    weights: bool
    deviations: tuple[Deviation, ...]
    environment_differences: tuple[str, ...]
    rows: int

    @property
    def reproduced(self) -> bool:
        """Weights and every row that does not depend on the machine's speed are the same to the last bit."""
        return self.weights and not self.deviations


def read_original(store: Store, study: str, number: int) -> Original:
    """Read a finished trial. Raises UnknownStudy, or StoreError if it does not exist or is not done."""
    trial = store.trials.get(study, number)
    if trial.state is not TrialState.DONE:
        raise StoreError(f"{study}/{number} is {trial.state}: only a trial that is done can be trained again")
    if trial.outcome is Outcome.PRUNED:
        raise StoreError(
            f"{study}/{number} was pruned at step {trial.step} and left no weights: only a trial that trained to its "
            "end can be trained again"
        )
    series = store.metrics.read(study, set(trial.final) - TIMING_METRICS, only=[number])
    rows = {
        (name, int(step)): float(value)
        for (_, name), (steps, values) in series.items()
        for step, value in zip(steps, values, strict=True)
    }
    return Original(trial, rows)


def repeat(
    original: Original,
    command: Sequence[str],
    folder: Path,
    progress: Callable[[events.Progress], None],
    digests: Mapping[str, str] = MappingProxyType({}),
    code: Files = (),
    program: str | None = None,
) -> Repetition:
    """Train the trial in its own child from step 0, with its checkpoint in `folder`.

    `digests` are those of the data sets here, to be compared with the original's, `code` the files of own code,
    `program` the digest of what the trial ran. Raises DeviceError if the child has no device, CifarsweepError if it
    fails or ends early.
    """
    child = ChildProcess(command)
    try:
        return _ReplayRun(child, progress, digests).run(_request(original.trial, folder, code, program))
    finally:
        child.kill()


def _request(trial: TrialRow, folder: Path, code: Files, program: str | None) -> protocol.Train:
    settings: dict[str, Any] = (
        json.loads(trial.settings.model_dump_json())
        if trial.parameters is None
        else {"parameters": dict(trial.parameters)}
    )
    return protocol.Train("replay", settings, trial.seed, str(folder), (), _NEVER_S, code=tuple(code), program=program)


@dataclass
class _ReplayRun:
    child: ChildProcess
    progress: Callable[[events.Progress], None]
    digests: Mapping[str, str]
    ready: protocol.Ready | None = None
    rows: list[MetricRow] = field(default_factory=list)

    def run(self, request: protocol.Train) -> Repetition:
        for reply in self.child.replies():
            match reply:
                case protocol.Ready():
                    check_gpus(reply, request.settings)
                    self.ready = reply
                    self.child.send(request)
                case events.Metrics():
                    self.rows.extend(reply.rows)
                case events.Progress():
                    self.progress(reply)
                case events.Finished() if self.ready is not None:
                    return self._repetition(self.ready, reply.result)
                case protocol.DeviceUnavailable():
                    raise DeviceError(reply.reason)
                case protocol.DataRefused():
                    raise CifarsweepError(f"the repetition can't be trained: {reply.reason}")
                case protocol.Failed():
                    raise CifarsweepError(f"the repetition failed: {reply.error}\n{reply.traceback}")
        self.child.close()
        raise CifarsweepError(f"the repetition did not end: {self.child.exit_report()}")

    def _repetition(self, ready: protocol.Ready, result: TrialResult) -> Repetition:
        return Repetition(result, comparable(self.rows), ready.device, versions(ready.versions, self.digests))


def comparable(rows: Iterable[MetricRow]) -> Rows:
    """The rows that must be the same again."""
    # The confusion matrix follows from the weights and is no part of `final`.
    compared = (row for row in rows if row.name not in TIMING_METRICS and not row.name.startswith(CONFUSION))
    return {(row.name, row.step): row.value for row in compared}


def compare(original: Original, again: Repetition) -> ReplayResult:
    """Compare the repetition with the original, bit for bit."""
    recorded = {name for name, _ in original.rows}
    # A trial of an earlier version that held validation images out was not tested.
    names = sorted(recorded | {name for name, _ in again.rows} - {TEST_LOSS, TEST_ACCURACY})
    found = (_deviation(name, original.rows, again.rows) for name in names)
    return ReplayResult(
        weights=original.trial.weights_sha256 == again.result.weights_sha256,
        deviations=tuple(each for each in found if each is not None),
        environment_differences=tuple(_environment_differences(original.trial, again)),
        rows=len(original.rows),
    )


def _deviation(name: str, first: Rows, second: Rows) -> Deviation | None:
    keys = {key for key in (*first, *second) if key[0] == name}
    # Compared as text: nan equals nan, and 0 is not -0.
    apart = [key for key in keys if key not in first or key not in second or first[key].hex() != second[key].hex()]
    if not apart:
        return None
    both = [key for key in apart if key in first and key in second]
    return Deviation(name, len(apart), len(keys), max((_gap(first[key], second[key]) for key in both), default=0.0))


def _gap(first: float, second: float) -> float:
    gap = abs(first - second)
    return gap if gap == gap else float("inf")


def _environment_differences(trial: TrialRow, again: Repetition) -> Iterable[str]:
    """Yield what differs between the repetition and the attempts that trained the original."""
    other_data = {key for attempt in trial.trained_by for key in attempt.versions if key.startswith(DATA_VERSION)}
    if trial.own_settings is not None:
        other_data.discard(DATA_VERSION + trial.own_settings.dataset)
    for attempt in trial.trained_by:
        before, now = {"device": attempt.device, **attempt.versions}, {"device": again.device, **again.versions}
        for key in sorted((before.keys() | now.keys()) - other_data):
            if before.get(key) != now.get(key):
                which = f" in attempt {attempt.attempt}" if len(trial.trained_by) > 1 else ""
                which += f" of {trial.source}" if trial.reuse and attempt in trial.reuse.attempts else ""
                yield f"{key}: {before.get(key, 'unknown')}{which}, {now.get(key, 'unknown')} now"
