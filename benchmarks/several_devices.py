"""Images a second of trials on several devices: ours beside plain DDP, in turns, each in processes of its own.

Ours is a worker's own training child, so that checkpoints, events and all it does are counted. The rate by the clock
depends on what else the machine does; images per CPU second of all processes together hardly do.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

#: Steps before a rate counts, and how long it is measured in seconds.
WARM_STEPS, MEASURED_S = 3, 8.0


@dataclass(frozen=True)
class Rate:
    """Images a second of all devices together, and for each CPU second of all processes."""

    by_clock: float
    by_cpu: float


def measured(pid: int, steps: Iterator[int], images: int, seconds: float = MEASURED_S) -> Rate:
    """Return the rate of a process and all that came from it. `steps` yields the steps that are done, as they are."""
    first: tuple[int, float, float] | None = None
    for step in steps:
        now = step, time.monotonic(), cpu_seconds(pid)
        if first is None and step >= WARM_STEPS:
            first = now
        elif first is not None and now[1] - first[1] >= seconds:
            done, clock, cpu = (after - before for before, after in zip(first, now, strict=True))
            return Rate(images * done / clock, images * done / max(cpu, 1e-9))
    raise RuntimeError("the training ended before it was measured; its words are above")


def cpu_seconds(pid: int) -> float:
    """Return what a process and its descendants have taken of the processors."""
    whole = psutil.Process(pid)
    times = [each.cpu_times() for each in (whole, *whole.children(recursive=True))]
    return sum(each.user + each.system for each in times)


@contextmanager
def our_steps(devices: int, settings: dict[str, Any], where: str, root: Path) -> Iterator[tuple[int, Iterator[int]]]:
    """Train in a child of a worker, on `cpu` or the GPUs named."""
    from cifarsweep.training.events import Progress
    from cifarsweep.worker.child import protocol
    from cifarsweep.worker.child.process import ChildProcess, child_command

    child = ChildProcess(child_command(where))

    def steps() -> Iterator[int]:
        for reply in child.replies():
            if isinstance(reply, protocol.Failed | protocol.DeviceUnavailable | protocol.DataRefused):
                raise RuntimeError(str(reply))
            if isinstance(reply, Progress):
                yield reply.step

    try:
        its = settings | {"devices": devices}
        child.send(protocol.Train("bench/0", its, 0, str(root / "checkpoints"), (), 1e9))
        yield child.pid, steps()
    finally:
        child.kill()


@contextmanager
def plain_steps(devices: int, settings: dict[str, Any], where: str, root: Path) -> Iterator[tuple[int, Iterator[int]]]:
    """Train as torch's tutorial does, on the first GPUs where torch sees some."""
    command = [sys.executable, str(Path(__file__).with_name("plain_ddp.py")), str(devices), json.dumps(settings)]
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if where == "cpu" else {}
    with subprocess.Popen(
        [*command, str(root)], stdout=subprocess.PIPE, text=True, start_new_session=True, env=os.environ | hidden
    ) as process:
        assert process.stdout is not None
        try:
            yield process.pid, map(int, process.stdout)
        finally:
            os.killpg(process.pid, signal.SIGKILL)


SIDES: dict[str, Callable[..., Any]] = {"ours": our_steps, "plain DDP": plain_steps}


def rates(
    settings: dict[str, Any], numbers: Sequence[int], where: str, root: Path, turns: int, brief: bool = False
) -> dict[tuple[str, int], list[Rate]]:
    """Return the rates of both sides on each number of devices, a turn of each after the other.

    Digits are made in `root`, where both sides find them. `brief` measures next to nothing, to see whether it runs.
    """
    from cifarsweep.data.dataset import load

    os.environ["CIFARSWEEP_DATA"] = str(root)
    load("digits", root)
    found: dict[tuple[str, int], list[Rate]] = {}
    for _ in range(turns):
        for devices in numbers:
            for name, side in SIDES.items():
                with side(devices, settings, where, root) as (pid, steps):
                    rate = measured(pid, steps, settings["batch_size"], 0.0 if brief else MEASURED_S)
                found.setdefault((name, devices), []).append(rate)
    return found


def compare(settings: dict[str, Any], numbers: Sequence[int], where: str, root: Path, turns: int) -> Iterator[str]:
    """Yield the median rates of both sides on each number of devices, and ours as a multiple of the other's."""
    found = rates(settings, numbers, where, root, turns)
    for devices in numbers:
        ours, plain = found["ours", devices], found["plain DDP", devices]
        clock, cpu = (
            sorted(getattr(one, way) / getattr(two, way) for one, two in zip(ours, plain, strict=True))
            for way in ("by_clock", "by_cpu")
        )
        yield f"{devices} device{'s' * (devices > 1)}: {_text(ours, devices)}"
        yield f"  plain DDP: {_text(plain, devices)}"
        yield (
            f"  ours is {statistics.median(clock):.2f}x by the clock ({clock[0]:.2f} to {clock[-1]:.2f} in {turns} "
            f"turns), {statistics.median(cpu):.2f}x by CPU time"
        )


def _text(rates: Sequence[Rate], devices: int) -> str:
    clock, cpu = (statistics.median(getattr(each, way) for each in rates) for way in ("by_clock", "by_cpu"))
    return f"{clock:,.1f} images/s, {clock / devices:,.1f} for each device; {cpu:,.1f} per CPU second of all processes"
