"""Says what is known of a difference for new images too."""

from __future__ import annotations

from cifarsweep.formatting import signed_text
from cifarsweep.spec.metrics import VAL_ACCURACY
from cifarsweep.stats.hits import NewImages


def new_images_text(found: NewImages) -> str:
    """`for new images too the 95 % interval is -0.3 to 1.3, and more seeds don't shrink it to less than ...`."""
    half = found.interval.half
    low, high = (signed_text(end, half, VAL_ACCURACY, unit=False) for end in (found.interval.low, found.interval.high))
    text = f"for new images too the 95 % interval is {low} to {high}"
    limit, nothing = (signed_text(end, half, VAL_ACCURACY, unit=False) for end in (found.limit, 0.0))
    if not found.wider or limit == nothing:  # no half of an interval is less than 0.0
        return text
    return f"{text}, and more seeds don't shrink it to less than ±{limit} points"
