"""A child for searches: its accuracy is a function of the learning rate and the step, best at 0.01, and costs nothing.

Run as `python searched_child.py BEHAVIOUR STATE_FOLDER`, with the behaviours of `fake_child`.
"""

import math
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fake_child import STEPS, misbehave

from cifarsweep.checkpoints.location import open_folder
from cifarsweep.spec.types import MetricRow, Outcome, TrialResult
from cifarsweep.training import events
from cifarsweep.worker.child.main import RequestReader, serve, take_stdout
from cifarsweep.worker.child.protocol import Ready, Train


def accuracy(settings: dict[str, Any], step: int) -> float:
    """Rises with every step, the higher the nearer the rate is to 0.01."""
    off = abs(math.log10(settings["optimizer"]["lr"]) + 2)
    return step / STEPS / (1 + off)


def trainer(behaviour: str, state: Path) -> Callable[[Train, Callable[[], bool]], Iterator[events.Event]]:
    def train(request: Train, should_stop: Callable[[], bool]) -> Iterator[events.Event]:
        folder = open_folder(request.folder)
        start = request.resume[0].step if request.resume else 0
        yield events.Started(start, STEPS, 10, 20)
        for step in range(start + 1, STEPS + 1):
            if should_stop():
                yield events.Saved(folder.write(step, b"too late"))
                yield events.Stopped(step - 1)
                return
            misbehave(behaviour, request, step, state)
            yield events.Metrics((MetricRow("val/accuracy", step, accuracy(request.settings, step)),))
            if step % 2 == 0:
                reference = folder.write(step, str(step).encode())
                yield events.Saved(reference)
        final = {"val/accuracy": accuracy(request.settings, STEPS)}
        yield events.Finished(TrialResult(Outcome.FINISHED, STEPS, final, "weights"), reference)

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
