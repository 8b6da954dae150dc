"""Moments of training, which hypotheses and reported numbers may name."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from cifarsweep.spec.settings import MOST_STEPS, Frozen, Settings


class At(Frozen):
    """A moment of training: an epoch or a step, both counted as what is done."""

    # A file gives one of them, and neither is written where it is not given.
    later: ClassVar[frozenset[str]] = frozenset({"epoch", "step"})

    epoch: Annotated[float, Field(gt=0, le=MOST_STEPS)] | None = None
    step: Annotated[int, Field(ge=1, le=MOST_STEPS)] | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.epoch is None) == (self.step is None):
            raise ValueError("epoch: give exactly one of epoch and step")
        return self


def beyond_budget(at: At, settings: Settings, cell: str) -> str | None:
    """Say that the cell ends before `at`; None if it does not, or counts its budget in the other unit."""
    for unit, count, budget in (("epoch", at.epoch, settings.epochs), ("step", at.step, settings.steps)):
        if count is not None and budget is not None and count > budget:
            return f"at: {unit} {count:.10g} is beyond the budget of {cell!r}, which ends at {unit} {budget:.10g}"
    return None
