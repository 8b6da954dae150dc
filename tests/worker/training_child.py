"""A real training child, driven by requests as a worker sends them, on the digits."""

import json
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import psutil
from support.waiting import wait_for

from cifarsweep.spec.metrics import TIMING_METRICS
from cifarsweep.spec.settings import Augment, ConvNet, Optimizer, Settings
from cifarsweep.training.events import Event, Finished, Metrics, Saved, Stopped
from cifarsweep.worker.child import protocol
from cifarsweep.worker.child.process import ChildProcess, child_command

#: 1,442 images in steps of 501, 501 and 440: no two or three devices have equal parts of each.
DIGITS = Settings(
    dataset="digits",
    model=ConvNet(widths=(4, 8), convs_per_stage=1, dropout=0.2),
    optimizer=Optimizer(lr=1e-2),
    augment=Augment(crop=1, flip=False),
    batch_size=501,
    epochs=2,
    log_every=1,
    devices=2,
)
_ENDS = (Finished, Stopped, protocol.Failed, protocol.DataRefused)


def change(**changes: object) -> Settings:
    return DIGITS.model_copy(update=changes)


class TrainingChild:
    """A child, and the folders of its trials."""

    def __init__(self, folder: Path, *code: str) -> None:
        self._folder, self._numbers = folder, count()
        self.process = ChildProcess(child_command("cpu", code=code))
        self._replies = self.process.replies()
        assert isinstance(next(self._replies), protocol.Ready)

    def others(self, number: int) -> list[psutil.Process]:
        """Its processes, once there are so many: those that it has told to end may do so later."""
        found: list[psutil.Process] = []

        def there() -> bool:
            nonlocal found
            found = psutil.Process(self.process.pid).children(recursive=True)
            return len(found) == number

        wait_for(there, what=lambda: str(found))
        return found

    def send(self, settings: Settings, seed: int = 0, **more: object) -> None:
        flat = json.loads(settings.model_dump_json())
        given = {"resume": (), "save_every_s": 1e9, "folder": str(self._folder / f"trial-{next(self._numbers)}")} | more
        self.process.send(protocol.Train("digits/0", flat, seed, **given))  # type: ignore[arg-type]

    def replies(self) -> Iterator[protocol.Reply]:
        """Yield the replies to one request, until its end or that of the child."""
        for reply in self._replies:
            yield reply
            if isinstance(reply, _ENDS):
                return

    def train(
        self, settings: Settings, on_reply: Callable[[protocol.Reply], object] = id, **more: object
    ) -> list[Event]:
        self.send(settings, **more)
        found = []
        for reply in self.replies():
            on_reply(reply)
            found.append(reply)
        return found

    def train_in_two_parts(self, settings: Settings, rows: int, **more: object) -> list[Event]:
        """Stop the trial once it has told so many rows, and let it go on from its checkpoint."""
        told = count(1)

        def stop(reply: protocol.Reply) -> None:
            if isinstance(reply, Metrics) and next(told) == rows:
                self.process.send(protocol.Stop())

        first = self.train(settings, stop, **more)
        assert isinstance(first[-1], Stopped) and first[-1].step > 0
        return first + self.train(settings, resume=(last_saved(first),), **more)


def last_saved(events: list[Event]) -> object:
    return [event.checkpoint for event in events if isinstance(event, Saved)][-1]


def bits(events: list[Event]) -> dict[object, object]:
    """The rows but for times, and the weights."""
    rows = [row for event in events if isinstance(event, Metrics) for row in event.rows]
    found: dict[object, object] = {
        (row.name, row.step): row.value.hex() for row in rows if row.name not in TIMING_METRICS
    }
    assert isinstance(events[-1], Finished), getattr(events[-1], "traceback", str(events[-1]))
    return found | {"weights": events[-1].result.weights_sha256}
