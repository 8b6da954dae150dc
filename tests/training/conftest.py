import itertools
from dataclasses import replace

import pytest
from stripes import Bench, make_split

from cifarsweep.checkpoints.folder import CheckpointFolder
from cifarsweep.models import cost, resnet
from cifarsweep.training import loop


@pytest.fixture
def bench(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "PROGRESS_EVERY_S", 1e9)  # else a slow machine would see events that a fast one does not
    numbers = itertools.count()
    return Bench(lambda: CheckpointFolder(tmp_path / f"trial-{next(numbers)}"), make_split())


@pytest.fixture
def narrow(bench, monkeypatch):
    """Residual nets of a few channels, 20 images in steps of 8, 8 and 4, and a validation of one batch."""
    monkeypatch.setattr(resnet, "WIDTHS", (4, 4, 4, 4))
    monkeypatch.setattr(resnet, "STEM_WIDTH", 4)
    few = {name: getattr(bench.split, name)[:20] for name in ("train_images", "train_labels")}
    few |= {name: getattr(bench.split, name)[:6] for name in ("val_images", "val_labels")}
    bench.split = replace(bench.split, **few)
    cost.cache_clear()
    yield bench
    cost.cache_clear()
