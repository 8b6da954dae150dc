import itertools

import pytest
from stripes import Bench, make_split

from cifarsweep.checkpoints.folder import CheckpointFolder
from cifarsweep.training import loop


@pytest.fixture
def bench(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "PROGRESS_EVERY_S", 1e9)  # else a slow machine would see events that a fast one does not
    numbers = itertools.count()
    return Bench(lambda: CheckpointFolder(tmp_path / f"trial-{next(numbers)}"), make_split())
