"""The events of a training run. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from cifarsweep.spec.types import CheckpointRef, MetricRow, TrialResult


@dataclass(frozen=True, slots=True)
class Rejected:
    """A checkpoint was not accepted. An older one is tried next, then that of another trial, and step 0 after the last.

    `not_found` tells an absent checkpoint from a damaged one.
    """

    path: str
    reason: str
    not_found: bool


@dataclass(frozen=True, slots=True)
class Started:
    """Training goes on from `start_step`: all that was recorded beyond it will come again.

    `flops_per_image` is of the forward pass, a multiply-add counted as two. `val_images` counts the images that
    accuracy is measured on, `largest_class` those of the class that has most of them. `branch_step` is `start_step` if
    the trial begins from a checkpoint of another trial: the rows before that step are the other one's. Of a program of
    the user's own only the first step is known.
    """

    start_step: int
    total_steps: int | None = None
    params: int | None = None
    flops_per_image: int | None = None
    val_images: int | None = None
    largest_class: int | None = None
    branch_step: int | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress, about once a second. Loss and accuracy are of training, None before the first step.

    A program of the user's own may count no epochs.
    """

    step: int
    epoch: float | None
    loss: float | None
    accuracy: float | None
    images_per_s: float


@dataclass(frozen=True, slots=True)
class Metrics:
    """Rows of one step; each (name, step) comes once in a run that is not interrupted."""

    rows: tuple[MetricRow, ...]


@dataclass(frozen=True, slots=True)
class CaptureFailed:
    """The step can't be a CUDA graph. The trial goes on without one, slower and to the same bits.

    torch releases before the middle of 2026 leave their allocator damaged, so the process should train no other trial.
    """

    step: int
    reason: str


@dataclass(frozen=True, slots=True)
class Saving:
    """A checkpoint is being written, which may take long. Saved, BranchSaved or SaveFailed comes next."""

    step: int


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint is on the disk. It covers every row that came before this event."""

    checkpoint: CheckpointRef


@dataclass(frozen=True, slots=True)
class BranchSaved:
    """A checkpoint from which other trials may begin is on the disk. It covers the rows of all steps before its own."""

    checkpoint: CheckpointRef


@dataclass(frozen=True, slots=True)
class SaveFailed:
    """A checkpoint could not be written. Earlier ones are whole, and training goes on."""

    step: int
    reason: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """Training stopped on request after `step` steps. The last event."""

    step: int


@dataclass(frozen=True, slots=True)
class Finished:
    """The budget is used up, or the loss diverged. The last event. `checkpoint` is None if it could not be saved."""

    result: TrialResult
    checkpoint: CheckpointRef | None


Event = (
    Rejected
    | Started
    | Progress
    | Metrics
    | CaptureFailed
    | Saving
    | Saved
    | BranchSaved
    | SaveFailed
    | Stopped
    | Finished
)
