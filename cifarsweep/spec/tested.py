"""Which trials have results of their best weights, and on a test set that does not validate."""

from __future__ import annotations

from cifarsweep.spec.metrics import (
    BEST_ACCURACY,
    BEST_STEP,
    BEST_TEST_ACCURACY,
    BEST_TEST_LOSS,
    TEST_ACCURACY,
    TEST_LOSS,
)
from cifarsweep.spec.settings import Settings

_OF_BEST = {BEST_TEST_ACCURACY: "best/accuracy", BEST_TEST_LOSS: "val/loss"}
_INSTEAD = {TEST_ACCURACY: "val/accuracy", TEST_LOSS: "val/loss", **_OF_BEST}


def never_measured(metric: str, settings: Settings, cell: str) -> str | None:
    """Say why the trials of a cell never have a result of these; None if they do, or it is another metric."""
    if metric in _INSTEAD and settings.validation.split == "test":
        return (
            f"metric: {cell!r} has no {metric}, for its validation images are the test set: write {_INSTEAD[metric]}, "
            'or set validation = { split = "holdout" }'
        )
    best = metric in _OF_BEST or (metric in (BEST_ACCURACY, BEST_STEP) and not settings.early_stop.patience)
    if best and not settings.keep_best:
        return f"metric: {cell!r} has no {metric}, for it keeps no best weights: set keep_best = true"
    return None
