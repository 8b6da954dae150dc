"""What a training run tells whoever listens, in the order in which it happens. No torch in here."""

from __future__ import annotations

from dataclasses import dataclass

from cifarsweep.spec.types import CheckpointRef, MetricRow, TrialResult


@dataclass(frozen=True, slots=True)
class Rejected:
    """A checkpoint was not accepted; an older one is tried next, and step 0 after the last.

    `unseen` tells one that is not here from one that is damaged.
    """

    path: str
    reason: str
    unseen: bool


@dataclass(frozen=True, slots=True)
class Started:
    """Training goes on from `start_step`: whatever was recorded beyond it will come again.

    `flops_per_image` is of the forward pass, a multiply-add counted as two.
    """

    start_step: int
    total_steps: int
    params: int
    flops_per_image: int


@dataclass(frozen=True, slots=True)
class Progress:
    """A sign of life, about once a second. Loss and accuracy are of training, None before there are any."""

    step: int
    epoch: float
    loss: float | None
    accuracy: float | None
    images_per_s: float


@dataclass(frozen=True, slots=True)
class Metrics:
    """Rows of one step; each (name, step) comes once in a run that is not interrupted."""

    rows: tuple[MetricRow, ...]


@dataclass(frozen=True, slots=True)
class CaptureFailed:
    """The step can't be a CUDA graph. The trial trains on without, slower and to the same bits.

    torch releases before the middle of 2026 leave their allocator damaged, so the process should train no other trial.
    """

    step: int
    reason: str


@dataclass(frozen=True, slots=True)
class Saving:
    """A checkpoint is on its way, which a slow disk or network may draw out. Saved or SaveFailed comes next."""

    step: int


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint is on the disk. It stands for every row that came before this event."""

    checkpoint: CheckpointRef


@dataclass(frozen=True, slots=True)
class SaveFailed:
    """A checkpoint could not be written; those before it are whole, and training goes on."""

    step: int
    reason: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """Training was asked to stop, and did, after `step` steps. The last event."""

    step: int


@dataclass(frozen=True, slots=True)
class Finished:
    """The budget is used up, or the loss diverged. The last event; no checkpoint where it could not be saved."""

    result: TrialResult
    checkpoint: CheckpointRef | None


Event = Rejected | Started | Progress | Metrics | CaptureFailed | Saving | Saved | SaveFailed | Stopped | Finished
