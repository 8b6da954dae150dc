"""Numbers that others reported, kept in a study beside what it finds itself."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import Field, PositiveInt, model_validator

from cifarsweep.spec.hypothesis import Text
from cifarsweep.spec.moments import At
from cifarsweep.spec.settings import Frozen

_MEAN_OF_LAST = re.compile(r"mean of the last ([1-9][0-9]{0,5})")


class Reported(Frozen):
    """One number of a report, and the cell that is to reproduce it."""

    cell: Annotated[str, Field(min_length=1, max_length=300)]
    """The name of a cell."""
    metric: Annotated[str, Field(min_length=1, max_length=64)]
    value: float
    """In units of the metric: an accuracy is a share."""
    at: At | None = None
    """None for the end of training."""
    runs: PositiveInt = 1
    """The number of runs of which the value is the mean."""
    of: str = "last"
    """The evaluations that it sums up: "last", "best", or "mean of the last N", all up to `at`."""
    source: Text | None = None
    """The page, table or log that has it."""
    setting: Text | None = None
    """The settings of the report, in its words."""
    tolerance: Annotated[float, Field(gt=0)] | None = None
    """A prediction interval no wider than this is narrow enough to call the number in line."""

    @model_validator(mode="after")
    def _of_is_known(self) -> Self:
        if self.of not in ("last", "best") and not _MEAN_OF_LAST.fullmatch(self.of):
            raise ValueError(f'of: {self.of[:40]!r} is unknown; write "last", "best" or "mean of the last 10"')
        return self

    @property
    def mean_of(self) -> int | None:
        """How many of the last evaluations it is the mean of; None for the last or the best one."""
        found = _MEAN_OF_LAST.fullmatch(self.of)
        return int(found[1]) if found else None

    @property
    def needs_curve(self) -> bool:
        """Whether the last value of a trial does not tell what was found."""
        return self.at is not None or self.of != "last"
