"""A child whose trials are chains of digests: each link depends on all before it, so that a wrong resume shows.

Run as `python chained_child.py BEHAVIOUR STATE_FOLDER`. It saves and resumes as real training does.
"""

import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from cifarsweep.checkpoints.folder import Folder
from cifarsweep.checkpoints.location import open_folder
from cifarsweep.errors import CheckpointError, CheckpointUnseen
from cifarsweep.spec.types import CheckpointRef, MetricRow, Outcome, TrialResult
from cifarsweep.training import events
from cifarsweep.worker.child.main import RequestReader, serve, take_stdout
from cifarsweep.worker.child.protocol import Ready, Train

STEPS, SAVE_EVERY = 12, 4
#: What a checkpoint weighs at least, in bytes.
WEIGHT = 65_536
#: Trials that are given back at one time, so that nobody of the same worker takes one again.
TOGETHER = 3


def link(chain: str, seed: int, step: int) -> str:
    """The chain, one step further."""
    return hashlib.sha256(f"{chain} {seed} {step}".encode()).hexdigest()


def value(chain: str) -> float:
    """The metric of a step."""
    return int(chain[:8], 16) / 2**32


def whole(seed: int) -> list[str]:
    """The chain after each step of a trial that nobody disturbs."""
    chains = [""]
    for step in range(1, STEPS + 1):
        chains.append(link(chains[-1], seed, step))
    return chains[1:]


def resume(folder: Folder, refs: tuple[CheckpointRef, ...]) -> Iterator[events.Rejected | tuple[int, str]]:
    """What was rejected, and then where to begin."""
    for ref in refs:
        try:
            state = json.loads(folder.read(ref))
            yield state["step"], state["chain"]
            return
        except CheckpointError as error:
            yield events.Rejected(ref.path, str(error), isinstance(error, CheckpointUnseen))
    yield 0, ""


def save(folder: Folder, step: int, chain: str) -> events.Saved | events.SaveFailed:
    try:
        return events.Saved(folder.write(step, json.dumps({"step": step, "chain": chain}).ljust(WEIGHT).encode()))
    except OSError as error:
        return events.SaveFailed(step, f"not written to {folder}: {error}")


def first_time(state: Path, request: Train) -> bool:
    try:
        (state / request.label.replace("/", "-")).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def fill(ballast: Path) -> None:
    """Leave no room on the disk."""
    with ballast.open("wb", buffering=0) as file:
        for size in (65_536, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


def wait_a_little(step: int) -> Iterator[events.Event]:
    time.sleep(0.05)
    yield events.Progress(step, 0.0, None, None, 0.0)


def seen(behaviour: str, request: Train, step: int, state: Path) -> Iterator[events.Event]:
    """Wait until the database points to the checkpoint that is the last or the one before when the trial raises."""
    mark = state / f"{request.label.replace('/', '-')} pointed to {step}"
    while behaviour == "raise" and step < 10 and not mark.exists():
        yield from wait_a_little(step)


def misbehave(behaviour: str, request: Train, step: int, state: Path) -> Iterator[events.Event]:
    """Between two checkpoints, mostly, and once a trial."""
    if behaviour == "slow-save" and step == SAVE_EVERY:
        yield events.Saving(step)
        time.sleep(4.0)
    elif behaviour == "raise" and step == 10 and first_time(state, request):
        raise ValueError("boom")
    elif behaviour == "give-back" and step == 10 and first_time(state, request):
        while len(list(state.glob("demo-*"))) < TOGETHER:
            yield from wait_a_little(step)
        yield events.Stopped(step - 1)
    elif behaviour == "fill" and step == 5:
        fill(Path(request.folder).parents[1] / "ballast")
    elif behaviour == "fill" and step == 9:
        while (Path(request.folder).parents[1] / "ballast").exists():
            yield from wait_a_little(step)


def trainer(behaviour: str, state: Path) -> Callable[[Train, Callable[[], bool]], Iterator[events.Event]]:
    def train(request: Train, should_stop: Callable[[], bool]) -> Iterator[events.Event]:
        folder, saved = open_folder(request.folder), None
        for found in resume(folder, request.resume):
            if isinstance(found, events.Rejected):
                yield found
            else:
                start, chain = found
        yield events.Started(start, STEPS, 10, 20)
        for step in range(start + 1, STEPS + 1):
            for event in misbehave(behaviour, request, step, state):
                yield event
                if isinstance(event, events.Stopped):
                    return
            chain = link(chain, request.seed, step)
            yield events.Metrics((MetricRow("val/accuracy", step, value(chain)),))
            if step % SAVE_EVERY == 0:
                yield events.Saving(step)
                saved = save(folder, step, chain)
                yield saved
                yield from seen(behaviour, request, step, state)
                time.sleep(0.1)  # most pointers are in the database when the next thing happens
        checkpoint = saved.checkpoint if isinstance(saved, events.Saved) else None
        yield events.Finished(TrialResult(Outcome.FINISHED, STEPS, {"val/accuracy": value(chain)}, chain), checkpoint)

    return train


if __name__ == "__main__":
    replies = take_stdout()
    work = trainer(sys.argv[1], Path(sys.argv[2]))
    serve(work, Ready("no device", {"fake": "1"}), RequestReader(sys.stdin.buffer), replies)
