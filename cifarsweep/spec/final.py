"""What counts as the final value of a trial."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import Field

from cifarsweep.spec.settings import Frozen, Settings

#: How many of the last evaluations make the final value of a constant rate, and the part of all that they may be.
_LAST, _PART = 5, 4


class Final(Frozen):
    """The final value of a trial's validation accuracy and loss."""

    mean_of: Annotated[int, Field(ge=1, le=10_000)] = 1
    """The mean of so many last evaluations, or of all where there are fewer; 1 is the last one alone."""


def default_final(cells: Iterable[Settings]) -> Final:
    """Return the default for a study: the mean of the last 5 evaluations where the rate of every cell is constant.

    The last value alone has two to four times the variance there, as nothing calms the weights down in the end. It is
    at most the last quarter of the evaluations, since earlier ones are of a net that learns still; and it is the last
    one alone where settings do not tell how many there will be.
    """
    counts = [_evaluations(one) if one.schedule.name == "constant" and not one.schedule.phases else 0 for one in cells]
    return Final(mean_of=max(min((_LAST, *(count // _PART for count in counts))), 1))


def _evaluations(settings: Settings) -> int:
    """How many evaluations a run has, as far as its settings tell; 0 where they do not."""
    if settings.eval_every is None:
        return int(settings.epochs or 0)
    return (settings.steps or 0) // settings.eval_every
