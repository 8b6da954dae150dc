"""Frozen records that the store takes and returns, without a database handle."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, TypeAlias
from uuid import uuid4

from cifarsweep.spec.links import Candidate, Plan
from cifarsweep.spec.metrics import VAL_ACCURACY
from cifarsweep.spec.program import Parameters
from cifarsweep.spec.settings import Settings
from cifarsweep.spec.study import Study
from cifarsweep.spec.types import CheckpointRef, MetricRow, Outcome, StopRequest, TrialState

# Most reads of a database, such as `status`, need no NumPy, whose import takes a tenth of such a command.
if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Steps, ascending, and values of one metric of a trial.
Series: TypeAlias = "tuple[NDArray[np.int64], NDArray[np.float64]]"


@dataclass(frozen=True, slots=True)
class Created:
    """The result of `Studies.create`, in trials."""

    study_id: int
    added: int
    existing: int
    reopened: int = 0
    """Points that a cancelled search had not asked for; extending it asks for them after all."""
    changed: bool = False
    """Whether a study that was there already has other contents now."""
    new: tuple[Candidate, ...] = ()
    """The trials that were added; only where a plan was made."""
    plan: Plan = Plan()
    """What they take from others."""


@dataclass(frozen=True, slots=True)
class StudyRow:
    """A study by name, as lists show it."""

    study_id: int
    name: str
    question: str
    sha256: str
    created_at: datetime | None
    trials: int
    unreadable: str = ""
    """Why it can't be read, if so; then `question`, `sha256` and `created_at` are empty."""


@dataclass(frozen=True, slots=True)
class StoredStudy:
    """A study with everything that its file said."""

    study_id: int
    name: str
    sha256: str
    created_at: datetime
    spec: Study


@dataclass(frozen=True, slots=True)
class Note:
    """What somebody noted about a study, or about its trial of that number."""

    note: int
    """Its number."""
    trial: int | None
    text: str
    written_at: datetime


@dataclass(frozen=True, slots=True)
class Segment:
    """The training of one attempt, from `first_step` on: device, versions, digest of images."""

    first_step: int
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class SourceRef:
    """A trial whose steps another one takes; `folder` is the name of its study's checkpoint folder."""

    trial_id: int
    study: str
    folder: str
    number: int

    @property
    def name(self) -> str:
        """STUDY/NUMBER, as people write it."""
        return f"{self.study}/{self.number}"


@dataclass(frozen=True, slots=True)
class BranchRef:
    """A checkpoint of another trial to begin from."""

    source: SourceRef
    checkpoint: CheckpointRef
    identity: str
    """The digest of all that decides the rows of its steps."""
    rows_digest: str
    """The digest of the rows before its step."""


@dataclass(frozen=True, slots=True)
class FreedBranches:
    """Checkpoints of a trial that nobody begins from any more."""

    source: SourceRef
    paths: tuple[str, ...]
    last: bool
    """Whether it has no others, and is to write none."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write for one trial, until another worker takes it over.

    `attempt` and `flush_seq` are the fence: every write checks and advances them in the database.
    """

    trial_id: int
    study: str
    folder: str
    """The name of the study's checkpoint folder, unique also among databases that share a location."""
    number: int
    cell: str
    seed: int
    settings: Settings | Parameters
    attempt: int
    flush_seq: int
    checkpoints: tuple[CheckpointRef, ...]
    """At most two, newest first."""
    lease_s: float
    takeovers: int = 0
    """Workers that vanished with the trial since its last new checkpoint."""
    stop_request: StopRequest | None = None
    """A request, seen at the last write, that the holder stop."""
    data_sha256: str | None = None
    """The digest of the images that it was claimed for; None where the worker gave none."""
    history: tuple[Segment, ...] = ()
    """All attempts, this one last; empty for a first attempt."""
    identity: str | None = None
    """The digest of all that decides its rows and its result; None where nobody knows it."""
    twin: SourceRef | None = None
    """A trial that is done and has the same identity: this one can take its rows and its result."""
    branch: BranchRef | None = None
    """Where to begin if no checkpoint of its own is accepted."""
    branch_steps: Mapping[int, str] = field(default_factory=dict)
    """Steps at which others wait for a checkpoint of this trial, each with the identity of the steps up to there."""
    program: str | None = None
    """The digest of the program that it runs, where its settings are parameters."""
    metric: str = VAL_ACCURACY
    """Its value is the trial's, and searches go by it."""

    @property
    def devices(self) -> int | None:
        """How many devices share its batches; None for a program, whose trials take all GPUs of their worker."""
        return self.settings.devices if isinstance(self.settings, Settings) else None

    @property
    def dataset(self) -> str | None:
        """None for a program, which has its own data."""
        return self.settings.dataset if isinstance(self.settings, Settings) else None

    @property
    def step(self) -> int:
        """Steps that are safe: those of the newest checkpoint."""
        return self.checkpoints[0].step if self.checkpoints else 0


@dataclass(frozen=True, slots=True)
class ControlResult:
    """What a command changed: trials `applied` at once, and trials `pending` until their holder's next heartbeat.

    `points` are those that a search has not asked for yet, and that it will now, or will not.
    """

    applied: int
    pending: int = 0
    points: int = 0


@dataclass(frozen=True, slots=True)
class Environment:
    """What a worker trains with. `data` are the content digests of its data sets by name.

    Without a device, device and versions are those that the worker has registered.
    """

    data: Mapping[str, str]
    device: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    other_data: bool = False
    """The worker may join studies whose trials train on other images."""


#: The identity of the first so many steps of a lease's trial, or of all: `training.identity.rows_identity`.
Identify: TypeAlias = "Callable[[Lease, int | None], str | None]"


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """A worker's request for the next trial of the named studies, or of all, for a slot. It is granted once."""

    worker_id: str
    studies: Sequence[str] | None = None
    slot: int | None = None
    environment: Environment | None = None
    """Without it the images are not checked."""
    identify: Identify | None = None
    """Without it, as for `--no-reuse`, the trial waits for no other and takes no steps of others."""
    token: str = field(default_factory=lambda: uuid4().hex)
    """Identifies the claim: it is found again if the answer to its COMMIT was lost."""


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A run that was trained elsewhere: the name of its cell, its seed, and its rows by name and step."""

    cell: str
    seed: int
    rows: tuple[MetricRow, ...]
    state: TrialState = field(default=TrialState.DONE, kw_only=True)
    outcome: Outcome | None = field(default=Outcome.FINISHED, kw_only=True)
    final: Mapping[str, float] | None = field(default=None, kw_only=True)
    """Its last metrics; None if the last rows have them."""


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A worker, and what it trains with."""

    worker_id: str
    host: str
    pid: int
    device: str
    slots: int
    versions: Mapping[str, str] = field(default_factory=dict)
