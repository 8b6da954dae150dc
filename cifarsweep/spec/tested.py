"""Which trials have results of their best weights, and on a test set that does not validate."""

from __future__ import annotations

from cifarsweep.spec.metrics import (
    BEST_ACCURACY,
    BEST_STEP,
    BEST_TEST_ACCURACY,
    BEST_TEST_LOSS,
    TEST_ACCURACY,
    TEST_LOSS,
    VAL_CALIBRATION,
    VAL_TOP5,
)
from cifarsweep.spec.settings import Settings

_OF_BEST = {BEST_TEST_ACCURACY: "best/accuracy", BEST_TEST_LOSS: "val/loss"}
_INSTEAD = {TEST_ACCURACY: "val/accuracy", TEST_LOSS: "val/loss", **_OF_BEST}

#: What is measured where a setting of `metrics` asks for it.
_OPTIONS = {VAL_TOP5: "top5", VAL_CALIBRATION: "ece"}


def never_measured(metric: str, settings: Settings, cell: str) -> str | None:
    """Say why the trials of a cell never have a result of these; None if they do, or it is another metric."""
    if metric in _INSTEAD and settings.validation.split == "test":
        return (
            f"metric: {cell!r} has no {metric}, for its validation images are the test set: write {_INSTEAD[metric]}, "
            'or set validation = { split = "holdout" }'
        )
    if metric in _OPTIONS and not getattr(settings.metrics, _OPTIONS[metric]):
        return f"metric: {cell!r} has no {metric}: set metrics = {{ {_OPTIONS[metric]} = true }}"
    best = metric in _OF_BEST or (metric in (BEST_ACCURACY, BEST_STEP) and not settings.early_stop.patience)
    if best and not settings.keep_best:
        return f"metric: {cell!r} has no {metric}, for it keeps no best weights: set keep_best = true"
    return None
