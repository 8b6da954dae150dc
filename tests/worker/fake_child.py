"""A child whose trials cost nothing: values are a function of seed and step, checkpoints hold the step alone.

Run as `python fake_child.py BEHAVIOUR [STATE_FOLDER]`. The folder keeps what must happen only once.
"""

import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from cifarsweep.checkpoints.folder import CheckpointFolder
from cifarsweep.errors import DataUnusable
from cifarsweep.spec.types import CheckpointRef, MetricRow, Outcome, TrialResult
from cifarsweep.training import events
from cifarsweep.worker.child.main import RequestReader, serve, take_stdout
from cifarsweep.worker.child.protocol import Ready, Train

STEPS = 6
RAISES = {
    "oom": MemoryError("out of memory"),
    "images": DataUnusable("boom: these images can't be used"),
}


def value(seed: int, step: int) -> float:
    """The same float for the same seed and step, and no other."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{step}".encode()).digest()[:4]) / 2**32


def once(folder: Path, what: str) -> bool:
    """Whether this is the first time, on this machine, that `what` happens."""
    try:
        (folder / what).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def misbehave(behaviour: str, request: Train, step: int, state: Path) -> None:
    first = lambda: once(state, request.label.replace("/", "-"))  # noqa: E731
    if behaviour in ("slow", "slower"):
        time.sleep(0.1 if behaviour == "slow" else 0.5)
    elif behaviour == "die":
        os.abort()
    elif step != 3:
        return
    elif behaviour == "raise" or (behaviour == "raise-once" and first()):
        raise ValueError("boom: this trial can't train")
    elif behaviour in RAISES:
        raise RAISES[behaviour]
    elif behaviour == "crash" or (behaviour == "crash-once" and first()) or behaviour == f"crash {request.label}":
        print("last words of the child", file=sys.stderr, flush=True)
        os.abort()
    elif behaviour == "exit-once" and first():
        os._exit(7)
    elif behaviour == "hang-once" and first():
        time.sleep(600)
    elif behaviour == "garbage-once" and first():
        os.write(int(os.environ["REPLIES_FD"]), b"Bus error (core dumped)\n")
        time.sleep(600)


def held(state: Path, step: int, should_stop: Callable[[], bool]) -> Iterator[events.Event]:
    """Live, without getting on, for as long as a test has a file `hold` in the folder: what it waits for stays true."""
    while (state / "hold").exists() and not should_stop():
        time.sleep(0.05)
        yield events.Progress(step, 0.0, None, None, 0.0)


def trainer(behaviour: str, state: Path) -> Callable[[Train, Callable[[], bool]], Iterator[events.Event]]:
    def train(request: Train, should_stop: Callable[[], bool]) -> Iterator[events.Event]:
        folder = CheckpointFolder(Path(request.folder))
        start = request.resume[0].step if request.resume else 0
        (state / f"pid-of-{request.label.replace('/', '-')}").write_text(str(os.getpid()))
        yield events.Started(start, STEPS, 10, 20)
        reference: CheckpointRef | None = None
        for step in range(start + 1, STEPS + 1):
            if behaviour == "held" and step > 3:
                yield from held(state, step, should_stop)
            if should_stop():
                yield events.Stopped(step - 1)
                return
            misbehave(behaviour, request, step, state)
            if behaviour == "uncaptured-once" and once(state, "uncaptured"):
                yield events.CaptureFailed(step, "RuntimeError: operation not permitted when stream is capturing")
            yield events.Metrics((MetricRow("val/accuracy", step, value(request.seed, step)),))
            if step % 2 == 0:
                reference = folder.write(step, str(step).encode())
                yield events.Saved(reference)
        final = {"val/accuracy": value(request.seed, STEPS)}
        yield events.Finished(TrialResult(Outcome.FINISHED, STEPS, final, f"weights of {request.seed}"), reference)

    return train


if __name__ == "__main__":
    replies = take_stdout()
    os.environ["REPLIES_FD"] = str(replies.fileno())
    serve(
        trainer(sys.argv[1], Path(sys.argv[2])),
        Ready("no device", {"fake": "1"}),
        RequestReader(sys.stdin.buffer),
        replies,
    )
