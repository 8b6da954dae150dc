"""The base of all records of a study, and the numbers that they hold."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(gt=0, lt=1)]
Probability = Annotated[float, Field(ge=0, lt=1)]
#: Limit of steps and epochs; a larger number is a typing error.
MOST_STEPS = 1_000_000_000
Count = Annotated[int, Field(gt=0, le=MOST_STEPS)]
CountOrZero = Annotated[int, Field(ge=0, le=MOST_STEPS)]
Channels = Annotated[int, Field(gt=0, le=65_536)]
BatchSize = Annotated[int, Field(gt=0, le=1_000_000)]


class Frozen(BaseModel):
    """A record that refuses unknown keys, silent conversions, nan and infinity."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        validate_default=True,
        use_attribute_docstrings=True,
        serialize_by_alias=True,
    )
