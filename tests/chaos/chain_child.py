"""A child that trains nothing and forgives nothing: its state is a hash chain, so whoever resumes wrongly shows it.

Every row and the final digest follow from the settings, the seed and every step before. Checkpoints go through the
product's own folder. Run by a victim (victim.py), which says in the environment how long a step takes and what goes
wrong in which trial.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import sabotage

from cifarsweep.checkpoints.folder import CheckpointFolder
from cifarsweep.errors import CheckpointError, CheckpointUnseen
from cifarsweep.spec.metrics import VAL_ACCURACY
from cifarsweep.spec.types import CheckpointRef, MetricRow, Outcome, TrialResult
from cifarsweep.training import events
from cifarsweep.worker.child.main import RequestReader, serve, take_stdout
from cifarsweep.worker.child.protocol import Ready, Train

STEPS, SAVE_EVERY = 12, 2
#: The step at which a trial that misbehaves does so: there are two checkpoints, and rows beyond them.
BAD_STEP = 6
_PADDING = bytes(range(256)) * 16
_ODD = (math.nan, math.inf, -math.inf, -0.0)

State = tuple[int, bytes]


def beginning(settings: dict[str, Any], seed: int) -> State:
    return 0, hashlib.sha256(f"{json.dumps(settings, sort_keys=True)} {seed}".encode()).digest()


def advanced(state: State) -> State:
    step, digest = state
    return step + 1, hashlib.sha256(digest + step.to_bytes(8)).digest()


def rows(state: State) -> tuple[MetricRow, ...]:
    step, digest = state
    loss, accuracy = (int.from_bytes(digest[at : at + 6]) / 2**48 for at in (0, 6))
    values = {"train/loss": loss, VAL_ACCURACY: accuracy, "odd": _ODD[digest[12] % 4]}
    return tuple(MetricRow(name, step, value) for name, value in values.items())


def result(state: State) -> TrialResult:
    final = {row.name: row.value for row in rows(state)}
    return TrialResult(Outcome.FINISHED, state[0], final, state[1].hex())


def payload(state: State) -> bytes:
    return state[0].to_bytes(8) + state[1] + _PADDING


def restored(request: Train, folder: CheckpointFolder) -> Iterator[events.Rejected | State]:
    """What was not accepted, and last of all the state to go on from."""
    for ref in request.resume:
        try:
            data = folder.read(ref)
        except CheckpointError as error:
            yield events.Rejected(ref.path, str(error), unseen=isinstance(error, CheckpointUnseen))
        else:
            yield int.from_bytes(data[:8]), data[8:40]
            return
    yield beginning(request.settings, request.seed)


def saved(folder: CheckpointFolder, state: State) -> events.Saved | events.SaveFailed:
    try:
        return events.Saved(folder.write(state[0], payload(state)))
    except OSError as error:
        return events.SaveFailed(state[0], str(error))


def train(request: Train, should_stop: Callable[[], bool]) -> Iterator[events.Event]:
    folder = CheckpointFolder(Path(request.folder))
    step_s = float(os.environ.get("CHAOS_STEP_S", "0"))
    plan: dict[str, str] = json.loads(os.environ.get("CHAOS_MISBEHAVE", "{}"))
    for found in restored(request, folder):
        if isinstance(found, events.Rejected):
            yield found
        else:
            state = found
    yield events.Started(state[0], STEPS, 10, 20)
    last: CheckpointRef | None = None
    while state[0] < STEPS:
        if should_stop():
            yield saved(folder, state)
            yield events.Stopped(state[0])
            return
        state = advanced(state)
        if state[0] == BAD_STEP:
            misbehave(plan.get(str(request.seed), plan.get("all", "")), request)
        time.sleep(step_s)
        yield events.Metrics(rows(state))
        if state[0] % SAVE_EVERY == 0:
            outcome = saved(folder, state)
            yield outcome
            last = outcome.checkpoint if isinstance(outcome, events.Saved) else last
    yield events.Finished(result(state), last)


def misbehave(how: str, request: Train) -> None:
    if how.endswith("-once"):
        if not sabotage.once(Path(request.folder) / "misbehaved"):
            return
        how = how.removesuffix("-once")
    match how:
        case "segfault":
            ctypes.string_at(0)
        case "exit":
            os._exit(7)
        case "hang":
            time.sleep(3600)
        case "memory":
            bytearray(1 << 50)
        case "oom-killed":
            os.kill(os.getpid(), 9)
        case "garbage":
            os.write(int(os.environ["CHAOS_REPLIES"]), b"\x00\xff{Bus error (core dumped)\n")
            time.sleep(3600)
        case "raise":
            time.sleep(0.3)  # so that the last checkpoint does not share its way to the worker with the failure
            raise ValueError("boom: this trial can't train")


if __name__ == "__main__":
    replies = take_stdout()
    os.environ["CHAOS_REPLIES"] = str(replies.fileno())
    mailbox = RequestReader(sys.stdin.buffer)
    sabotage.install_in_child()
    serve(train, Ready("no device", {"chain": "1"}), mailbox, replies)
