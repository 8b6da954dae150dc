"""A problem that trains in a blink: stripes in four directions, and how to run and compare trials of it."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from cifarsweep.checkpoints.folder import CheckpointFolder
from cifarsweep.data.dataset import Split
from cifarsweep.spec.metrics import TIMING_METRICS
from cifarsweep.spec.settings import Augment, ConvNet, Optimizer, Settings
from cifarsweep.training.events import Event, Finished, Metrics
from cifarsweep.training.loop import Run, train

CLASSES = 4


def stripes(count, seed):
    """Noisy images (count, 3, 32, 32) uint8 whose stripes' direction is the label."""
    generator = torch.Generator().manual_seed(seed)
    rows, columns = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    patterns = torch.stack([rows % 4 < 2, columns % 4 < 2, (rows + columns) % 4 < 2, torch.zeros(32, 32, dtype=bool)])
    labels = torch.arange(count) % CLASSES
    noise = torch.randint(0, 100, (count, 3, 32, 32), generator=generator)
    images = (noise + 150 * patterns[labels].unsqueeze(1)).to(torch.uint8)
    return images.to(memory_format=torch.channels_last), labels


def make_split():
    half = torch.full((3,), 0.5)
    return Split(*stripes(92, seed=1), *stripes(40, seed=2), half, half / 2)


TINY = Settings(
    dataset="stripes",
    model=ConvNet(widths=(4, 8), convs_per_stage=1, dropout=0.2),
    optimizer=Optimizer(lr=1e-2),
    augment=Augment(crop=2),
    batch_size=16,
    epochs=2,
    log_every=4,
)


@dataclass
class Bench:
    """Makes runs of tiny trials in a folder of their own."""

    folder: Callable[[], CheckpointFolder]
    split: Split
    _whole: dict[Settings, list[Event]] = field(default_factory=dict)

    def run(self, settings=TINY, seed=0, **options):
        options.setdefault("folder", self.folder())
        options.setdefault("save_every_s", 1e9)
        return Run(settings=settings, seed=seed, split=self.split, classes=CLASSES, **options)

    def events(self, *arguments, **options):
        return list(train(self.run(*arguments, **options)))

    def undisturbed(self, settings):
        """The events of a trial to compare with; trained once in a test, however many examples that has."""
        if settings not in self._whole:
            self._whole[settings] = self.events(settings)
        return self._whole[settings]


def rows(events):
    """Every metric row as {(name, step): value}; a second row of one kind is a failure."""
    found = [row for event in events if isinstance(event, Metrics) for row in event.rows]
    table = {(row.name, row.step): row.value for row in found}
    assert len(table) == len(found)
    return table


def bits(events):
    """What must not change: all rows but the timing ones, to the last bit."""
    return {key: value.hex() for key, value in rows(events).items() if key[0] not in TIMING_METRICS}


def finished(events):
    assert isinstance(events[-1], Finished)
    return events[-1]


def stop_after(calls):
    """Asked whether to stop, say no so many times."""
    asked = itertools.count()
    return lambda: next(asked) >= calls
