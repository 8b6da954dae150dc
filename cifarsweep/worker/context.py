"""What a worker was asked to do, and what all its slots share."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cifarsweep.store import Store
from cifarsweep.store.records import Lease, Want
from cifarsweep.store.timing import Timing
from cifarsweep.worker.checkpoint_cleanup import Artifacts
from cifarsweep.worker.crash_loop import Suspicion
from cifarsweep.worker.display import Display
from cifarsweep.worker.eligibility import Trainable
from cifarsweep.worker.outage import Patience
from cifarsweep.worker.search import Judge
from cifarsweep.worker.telemetry import Telemetry


@dataclass(frozen=True, slots=True)
class Plan:
    """What a worker was asked to do. `artifacts` is a folder or a URL; `studies` empty means all that it can train."""

    command: Sequence[str]
    artifacts: Path | str
    slots: int = 1
    studies: tuple[str, ...] = ()
    wait: bool = False
    max_trials: int | None = None
    save_every_s: float = 60.0
    #: How long a child without work is kept: one holds 600 MB and, on a GPU, as much again there.
    keep_idle_s: float = 60.0
    timing: Timing = field(default_factory=Timing.from_env)


@dataclass(frozen=True, slots=True)
class Shared:
    """What the slots of one worker have in common."""

    plan: Plan
    store: Store
    display: Display
    patience: Patience
    suspicion: Suspicion
    artifacts: Artifacts
    telemetry: Telemetry
    #: what the slot of that number wants next; None where it has to ask again
    want: Callable[[int], Want | None]
    #: who decides about the early end of a trial
    judge: Callable[[Lease], Judge]
    #: what is known of the images on this machine
    data: Trainable
    clock: Callable[[], float] = time.monotonic
