"""The vocabulary that all rooms share: states, outcomes and records."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

#: Names of studies and data sets: safe in a path, a URL, SQL and HTML without quoting.
NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

#: A level of a factor, or any other setting's value, as TOML and JSON know it.
Scalar = None | bool | int | float | str
Value = Scalar | tuple[Scalar, ...]


class TrialState(StrEnum):
    """The state of a trial. `done`, `failed`, `poisoned` and `cancelled` are final."""

    #: waits for a worker, perhaps until `not_before`
    QUEUED = "queued"
    #: a worker holds its lease, until `lease_until`
    LEASED = "leased"
    #: waits until a user resumes it
    PAUSED = "paused"
    #: trained to the end; a diverged trial is done as well
    DONE = "done"
    #: raised the same kind of error too often
    FAILED = "failed"
    #: crashed its worker too often
    POISONED = "poisoned"
    #: cancelled by a user
    CANCELLED = "cancelled"


FINAL_STATES = (TrialState.DONE, TrialState.FAILED, TrialState.POISONED, TrialState.CANCELLED)


class StopRequest(StrEnum):
    """A request to stop: for a trial that a worker holds, and for the future trials of a search."""

    #: stop at a checkpoint and wait
    PAUSE = "pause"
    #: stop for good
    CANCEL = "cancel"

    @property
    def state(self) -> TrialState:
        """The state of a trial after the request."""
        return TrialState.PAUSED if self is StopRequest.PAUSE else TrialState.CANCELLED


class Outcome(StrEnum):
    """The outcome of a trial that is done."""

    #: reached its budget with finite losses
    FINISHED = "finished"
    #: its loss stopped being finite; its accuracy is recorded as that of a guess
    DIVERGED = "diverged"
    #: a search ended it early, because it fell behind others
    PRUNED = "pruned"


class AttemptEnd(StrEnum):
    """The reason for the end of a worker's lease on a trial."""

    #: the trial is done
    DONE = "done"
    #: the worker was stopped or the trial paused; the lease was given back
    RELEASED = "released"
    #: a user cancelled the trial
    CANCELLED = "cancelled"
    #: the trial raised an exception
    EXCEPTION = "exception"
    #: the device ran out of memory
    OUT_OF_MEMORY = "out_of_memory"
    #: the child process crashed or hung
    CRASHED = "crashed"
    #: the same, but the worker then found its own machine at fault; does not count as a failure
    BAD_MACHINE = "bad_machine"
    #: the lease expired and another worker took over
    TAKEN_OVER = "taken_over"


#: Prefix of the names of versions that are digests of data sets.
DATA_VERSION = "data "


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One value of one metric of a trial. `step` counts optimizer steps done; `value` may be nan or infinite."""

    name: str
    step: int
    value: float


@dataclass(frozen=True, slots=True)
class CheckpointRef:
    """Refers to a checkpoint file, with the digest that is checked before it is used."""

    step: int
    path: str
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Hits:
    """Which images an evaluation got right, in the order of the data set."""

    images: int
    #: base64 of a bit for each image, the first one in the highest bit of the first byte (numpy.packbits)
    packed: str


@dataclass(frozen=True, slots=True)
class TrialResult:
    """The result of a trial: its last metrics, the digest of its weights, and the hits behind its last accuracies."""

    outcome: Outcome
    step: int
    final: Mapping[str, float]
    weights_sha256: str
    #: by the name of the accuracy
    hits: Mapping[str, Hits] = field(default_factory=dict)
    #: what a person should know of its end, a sentence; kept with the attempt
    remark: str = ""
