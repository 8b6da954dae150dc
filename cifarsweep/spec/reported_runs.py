"""Runs of an imported study that stand, as curves of others, for cells of a study."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from cifarsweep.spec.settings import Frozen
from cifarsweep.spec.types import NAME_PATTERN

Name = Annotated[str, Field(min_length=1, max_length=300, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]


def _listed(given: object) -> object:
    # What a validator returns is no longer JSON, in which strict mode would accept a list for a tuple.
    return (given,) if isinstance(given, str) else tuple(given) if isinstance(given, list) else given


class ReportedRuns(Frozen):
    """The study that holds the runs, and which of them stand for which cell. Nothing of them is in a result."""

    study: Annotated[str, Field(pattern=f"^{NAME_PATTERN.pattern}$")]
    """A study of the same database, by its name."""
    runs: Annotated[
        dict[Name, Annotated[tuple[Name, ...], Field(min_length=1), BeforeValidator(_listed)]], Field(min_length=1)
    ]
    """Runs by cell of this study; a run is called by the name of its cell in the other."""
    by: Literal["step", "epoch"] | None = None
    """Which moments of a run and of its cell belong together; None for steps, and epochs where steps are unlike."""
    tolerance: Annotated[float, Field(gt=0)] | None = None
    """As of a reported number, for the accuracies of the runs."""

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        for cell, names in self.runs.items():
            if len(set(names)) < len(names):
                raise ValueError(f"runs: {cell!r} names a run twice; name each once")
        return self
