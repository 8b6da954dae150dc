"""The bars of a worker, as a terminal of some width shows them."""

import io
import re
from collections.abc import Mapping

import pytest
from rich.console import Console

from cifarsweep.spec.settings import Settings
from cifarsweep.spec.types import MetricRow, Outcome, TrialResult
from cifarsweep.store.records import Lease
from cifarsweep.training.events import Metrics, Progress, Started
from cifarsweep.worker.display import Bars

CELL = "batch_size=48, norm=batch, lr=0.00906265, weight_decay=0.000751774"
ROWS: Mapping[str, float] = {"train/loss": 1.398, "val/accuracy": 0.306, "images_per_s": 543.0}
LEASE = Lease(1, "find", "s", 7, CELL, 0, Settings(dataset="digits", epochs=1), 1, 0, (), 60.0)


def under_way(screen: io.StringIO, width: int) -> Bars:
    """A bar of a trial at its step 100 of 400."""
    bars = Bars(Console(file=screen, force_terminal=True, width=width, color_system=None))
    bars.begin(0, LEASE)
    bars.started(0, Started(start_step=0, total_steps=400))
    bars.metrics(0, Metrics(tuple(MetricRow(name, 100, value) for name, value in ROWS.items())))
    bars.progress(0, Progress(step=100, epoch=1.0, loss=None, accuracy=None, images_per_s=543.0))
    return bars


@pytest.mark.parametrize(
    "width, begin, values",
    [
        (80, "find/7 ", "epoch 1.0"),
        (120, "find/7 batch_size=48, ", "epoch 1.0 loss 1.398, "),
        (200, CELL, "543 images/s"),
    ],
)
def test_texts_give_way_to_the_bar_and_the_times(width: int, begin: str, values: str) -> None:
    screen = io.StringIO()

    with under_way(screen, width):
        pass

    (line,) = [line for line in screen.getvalue().splitlines() if "left" in line][-1:]
    assert begin in line and values in line and re.search(r" \d:\d\d:\d\d left \S+$", line.rstrip())
    assert line.count("━") >= 4  # a quarter of the bar; without colours the rest of it is empty


def test_no_bar_stays_of_a_trial_that_has_ended() -> None:
    screen = io.StringIO()

    with under_way(screen, 80) as bars:
        bars.end(0, LEASE, "finished", TrialResult(Outcome.FINISHED, 400, {"val/accuracy": 0.9}, ""))
        shown = len(screen.getvalue())
        bars.end(0, LEASE, "given back")  # of a slot without a bar

    assert "left" not in screen.getvalue()[shown:]
