"""Who a worker is, what it was asked to do, and what all its slots share."""

from __future__ import annotations

import os
import platform
import secrets
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cifarsweep.spec.types import DATA_VERSION
from cifarsweep.store import Store
from cifarsweep.store.leases import Timing
from cifarsweep.store.records import ClaimRequest, Lease
from cifarsweep.version import __version__
from cifarsweep.worker.checkpoint_cleanup import CheckpointDirectory, KeepCheckpoints
from cifarsweep.worker.crash_loop import CrashLoopDetector
from cifarsweep.worker.display import Display
from cifarsweep.worker.eligibility import EligibleStudies
from cifarsweep.worker.notify import Notifier
from cifarsweep.worker.notify_targets import Target
from cifarsweep.worker.outage import OutageBackoff
from cifarsweep.worker.search import PruningDecider
from cifarsweep.worker.tally import Tally
from cifarsweep.worker.telemetry import Telemetry


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """What a worker is asked to do. `artifacts` is a folder or a URL; no `studies` means all that it can train."""

    command: Sequence[str]
    artifacts: Path | str
    slots: int = 1
    studies: tuple[str, ...] = ()
    wait: bool = False
    #: Ends while others train the last trials, which it would take over if they came back.
    while_queued: bool = False
    max_trials: int | None = None
    #: Whether the children run programs of users.
    runs_programs: bool = False
    #: Whether trials take over what others of the same identity have trained.
    reuse: bool = True
    save_every_s: float = 60.0
    #: How long an idle child is kept. It holds 600 MB of memory, and as much again on a GPU. Seconds.
    keep_idle_s: float = 60.0
    keep_checkpoints: KeepCheckpoints = "branches"
    #: Who is told when a study is over, a trial is given up, or this machine is bad.
    notify: Sequence[Target] = ()
    timing: Timing = field(default_factory=Timing.from_env)


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """What the slots of one worker share."""

    config: WorkerConfig
    store: Store
    display: Display
    backoff: OutageBackoff
    crash_loop: CrashLoopDetector
    checkpoints: CheckpointDirectory
    telemetry: Telemetry
    tally: Tally
    notifier: Notifier
    #: what the slot of that number wants next; None where it has to ask again
    claim_request: Callable[[int], ClaimRequest | None]
    #: who decides about the early end of a trial
    pruning_decider: Callable[[Lease], PruningDecider]
    #: what is known of the images on this machine
    eligible: EligibleStudies
    clock: Callable[[], float] = time.monotonic


def worker_id() -> str:
    """Return a name that no other worker has or had: host, process number and a few random digits."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"


def versions(child: Mapping[str, str], digests: Mapping[str, str]) -> dict[str, str]:
    """Return the versions that results depend on: ours, the system's, the child's, and the digests of images."""
    data = {DATA_VERSION + name: digest for name, digest in sorted(digests.items())}
    return {"cifarsweep": __version__, "system": f"{platform.system()} {platform.machine()}", **child, **data}
