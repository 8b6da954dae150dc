"""The vocabulary: the words of the design, as types, in one place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

#: Names of studies and data sets: what is safe in a path, a URL, SQL and HTML without quoting.
NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

#: A level of a factor, or any other setting's value, as TOML and JSON know it.
Scalar = None | bool | int | float | str
Value = Scalar | tuple[Scalar, ...]

Device = Literal["cpu", "cuda"]


class TrialState(StrEnum):
    """Where a trial stands. `done`, `failed`, `poisoned` and `cancelled` are final."""

    #: waits for a worker, perhaps until `not_before`
    QUEUED = "queued"
    #: a worker has the right to write for it, until `lease_until`
    LEASED = "leased"
    #: waits until somebody resumes it
    PAUSED = "paused"
    #: trained to the end; a diverged trial is done as well
    DONE = "done"
    #: raised the same kind of error as often as it may
    FAILED = "failed"
    #: took its worker down as often as it may
    POISONED = "poisoned"
    #: somebody did not want it any more
    CANCELLED = "cancelled"


FINAL_STATES = (TrialState.DONE, TrialState.FAILED, TrialState.POISONED, TrialState.CANCELLED)


class StopRequest(StrEnum):
    """What somebody wants of a trial that a worker holds, and of the trials that a study is still to get."""

    #: stop at a checkpoint and wait
    PAUSE = "pause"
    #: stop for good
    CANCEL = "cancel"

    @property
    def state(self) -> TrialState:
        """What a trial becomes by it."""
        return TrialState.PAUSED if self is StopRequest.PAUSE else TrialState.CANCELLED


class Outcome(StrEnum):
    """How a trial that is done ended."""

    #: reached its budget with finite losses
    FINISHED = "finished"
    #: its loss stopped being finite; counts at chance accuracy
    DIVERGED = "diverged"
    #: a search ended it early, because it fell behind the others
    PRUNED = "pruned"


class AttemptEnd(StrEnum):
    """Why a worker's lease on a trial ended."""

    #: the trial is done
    DONE = "done"
    #: the worker, or somebody who paused the trial, wanted it to stop; the lease was given back
    RELEASED = "released"
    #: somebody cancelled the trial
    CANCELLED = "cancelled"
    #: the trial raised an exception
    EXCEPTION = "exception"
    #: the device ran out of memory
    OUT_OF_MEMORY = "out_of_memory"
    #: the child process died or hung
    CRASHED = "crashed"
    #: so it did, but the worker then found its own machine at fault; counts as no failure
    BAD_MACHINE = "bad_machine"
    #: the lease ran out and another worker took over
    TAKEN_OVER = "taken_over"


#: Begins the names of a worker's versions that are digests of data sets.
DATA_VERSION = "data "


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One value of one metric of a trial. `step` counts optimizer steps done; `value` may be nan or infinite."""

    name: str
    step: int
    value: float


@dataclass(frozen=True, slots=True)
class CheckpointRef:
    """Points to a checkpoint file: what it must hash to before anyone opens it."""

    step: int
    path: str
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class TrialResult:
    """What a finished trial leaves behind: its last metrics and the digest of its weights."""

    outcome: Outcome
    step: int
    final: Mapping[str, float]
    weights_sha256: str
