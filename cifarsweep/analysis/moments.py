"""What a trial had at a moment of its training."""

from __future__ import annotations

import numpy as np

from cifarsweep.analysis.records import Series
from cifarsweep.spec.moments import At

#: Evaluations at most this many steps after a moment still count: an epoch need not end at a whole step.
ROUNDING = 0.5
#: The rounding of a count of epochs.
_EPOCH_ROUNDING = 1e-6


def step_of(at: At, epochs: Series | None) -> float | None:
    """The step of a moment; None if the trial ended before it or did not record its epochs."""
    if at.step is not None:
        return at.step
    if epochs is None or not epochs[0].size:
        return None
    steps, done = epochs
    epoch = at.epoch or 0.0
    # No epoch is done at step 0, where nothing is recorded.
    return float(np.interp(epoch, [0.0, *done], [0.0, *steps])) if epoch <= done[-1] + _EPOCH_ROUNDING else None


def covers(series: Series, step: float) -> bool:
    """Whether the series has values up to the step, and before it."""
    steps = series[0]
    return bool(steps.size and steps[0] - ROUNDING <= step <= steps[-1] + ROUNDING)
