"""A worker that something will happen to: the real command line, in a process that was prepared from outside."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sabotage
from sqlalchemy import update

from cifarsweep.cli import main
from cifarsweep.errors import LeaseLost
from cifarsweep.spec.types import TrialState
from cifarsweep.store import leases
from cifarsweep.store.queue import fence
from cifarsweep.store.schema import trial
from cifarsweep.worker.child import process

_CHILD = Path(__file__).with_name("chain_child.py")


@dataclass(frozen=True)
class Order:
    """What a worker is to do, and what is to happen to it.

    `skew_s`: its clocks are wrong by that. `host`: the machine for which it takes this one.
    """

    arguments: tuple[str, ...]
    log: str
    env: Mapping[str, str] = field(default_factory=dict)
    real: bool = False
    sabotage: sabotage.Sabotage | None = None
    skew_s: float = 0.0
    fenced: bool = True
    host: str = ""


def obey(order: Order) -> None:
    """Run `cifarsweep` with the arguments; the exit code of this process is that of the command."""
    with open(order.log, "ab") as log:
        for stream in (1, 2):
            os.dup2(log.fileno(), stream)
    os.environ.pop("PYTHONPATH", None)  # that of the fork server
    os.environ.update(order.env)
    _prepare(order)
    sys.argv = ["cifarsweep", *order.arguments]
    main()


def _prepare(order: Order) -> None:
    if order.host:
        socket.gethostname = lambda: order.host
    if not order.real:
        process.child_command = lambda device, **how: [sys.executable, str(_CHILD)]
    if order.sabotage is not None and order.sabotage.point in (*sabotage.CHILD_POINTS, *sabotage.BRANCH_POINTS):
        plan = order.sabotage
        os.environ["CHAOS_SABOTAGE"] = f"{plan.point}|{plan.marker}|{plan.act}|{plan.nth}"
    elif order.sabotage is not None:
        sabotage.install_in_worker(order.sabotage)
    if order.skew_s:
        _skew(order.skew_s)
    if not order.fenced:
        _let_everybody_pass()


def _skew(seconds: float) -> None:
    """Set the clock that leases go by, and that people read, wrong by so much."""
    now, wall = leases.machine_now, time.time
    leases.machine_now = lambda: now() + seconds
    time.time = lambda: wall() + seconds


def _let_everybody_pass() -> None:
    """A guard that renews the holder's lease but stops nobody, with rows written so that repetitions do no harm."""
    guard = fence.guard

    def unfenced(conn: Any, lease: Any, progress: Any, *, finishing: bool = False) -> fence.GuardResult:
        with contextlib.suppress(LeaseLost):
            return guard(conn, lease, progress, finishing=finishing)
        if finishing:
            mine = trial.c.trial_id == lease.trial_id
            conn.execute(update(trial).where(mine).values(state=TrialState.DONE.value))
        return fence.GuardResult(already_committed=True, stop_request=None)

    fence.guard = unfenced
