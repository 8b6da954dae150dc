"""What the store hands out and takes in: frozen records, no database handle inside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from cifarsweep.spec.settings import Settings
from cifarsweep.spec.study import Study
from cifarsweep.spec.words import AttemptEnd, CheckpointRef, Outcome, TrialState, Value


@dataclass(frozen=True, slots=True)
class Created:
    """What `create_study` found and did, in trials."""

    study_id: int
    added: int
    existing: int


@dataclass(frozen=True, slots=True)
class StudyRow:
    """A study by name, as lists show it."""

    study_id: int
    name: str
    question: str
    sha256: str
    created_at: datetime
    trials: int


@dataclass(frozen=True, slots=True)
class StoredStudy:
    """A study with everything that its file said."""

    study_id: int
    name: str
    sha256: str
    created_at: datetime
    spec: Study


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write for one trial, for as long as nobody has replaced its holder.

    `attempt` and `flush_seq` are the fence: every write checks and advances them in the database.
    """

    trial_id: int
    study: str
    number: int
    cell: str
    seed: int
    settings: Settings
    attempt: int
    flush_seq: int
    checkpoints: tuple[CheckpointRef, ...]
    """At most two, newest first."""
    lease_s: float

    @property
    def step(self) -> int:
        """Steps that are safe: those of the newest checkpoint."""
        return self.checkpoints[0].step if self.checkpoints else 0


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """Who a worker is and what it trains with."""

    worker_id: str
    host: str
    pid: int
    device: str
    slots: int
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """A worker at one trial. `last_beat_s` is None where the beat was written before the machine's last boot."""

    worker_id: str
    host: str
    device: str
    trial: int
    attempt: int
    step: int
    last_beat_s: float | None
    expired: bool


@dataclass(frozen=True, slots=True)
class StudyStatus:
    """How far a study is. `trials` has a count for every state; `done_s` sums the training time of the done trials."""

    study: str
    trials: Mapping[TrialState, int]
    workers: tuple[WorkerStatus, ...]
    done_s: float


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One lease of a trial. `end` is None while it is held."""

    attempt: int
    worker_id: str
    host: str
    device: str
    versions: Mapping[str, str]
    started_at: datetime
    ended_at: datetime | None
    end: AttemptEnd | None
    first_step: int
    """The step it went on from."""
    error: str
    traceback: str


@dataclass(frozen=True, slots=True)
class TrialRow:
    """One trial with its history. `value`, the last validation accuracy, and `final` are there once it is done."""

    number: int
    cell: str
    levels: Mapping[str, Value]
    settings: Settings
    seed: int
    state: TrialState
    outcome: Outcome | None
    value: float | None
    final: Mapping[str, float]
    step: int
    elapsed_s: float
    weights_sha256: str
    attempts: tuple[AttemptRow, ...]

    @property
    def error(self) -> str:
        """Of the last attempt that raised one."""
        return next((attempt.error for attempt in reversed(self.attempts) if attempt.error), "")

    @property
    def traceback(self) -> str:
        """Of the last attempt that left one."""
        return next((attempt.traceback for attempt in reversed(self.attempts) if attempt.traceback), "")

    @property
    def started_at(self) -> datetime | None:
        """When the first attempt began."""
        return self.attempts[0].started_at if self.attempts else None

    @property
    def finished_at(self) -> datetime | None:
        """When the last attempt ended."""
        return self.attempts[-1].ended_at if self.attempts else None
