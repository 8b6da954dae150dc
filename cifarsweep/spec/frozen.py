"""The base of all records of a study, and the numbers that they hold."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, SerializationInfo, SerializerFunctionWrapHandler, model_serializer

Fraction = Annotated[float, Field(gt=0, lt=1)]
Probability = Annotated[float, Field(ge=0, lt=1)]
#: Limit of steps and epochs; a larger number is a typing error.
MOST_STEPS = 1_000_000_000
Count = Annotated[int, Field(gt=0, le=MOST_STEPS)]
CountOrZero = Annotated[int, Field(ge=0, le=MOST_STEPS)]
Channels = Annotated[int, Field(gt=0, le=65_536)]
BatchSize = Annotated[int, Field(gt=0, le=1_000_000)]

#: Give this as the context of `model_dump` to have every field, also `Frozen.later` ones with their defaults.
EVERY_FIELD = {"every": "field"}


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

    #: Fields that earlier versions did not have. They are left out where they have their default, so that studies and
    #: cells of earlier versions keep their digests.
    later: ClassVar[frozenset[str]] = frozenset()

    @model_serializer(mode="wrap")
    def _leave_out_later_defaults(
        self, handler: SerializerFunctionWrapHandler, info: SerializationInfo
    ) -> dict[str, Any]:
        contents: dict[str, Any] = handler(self)
        if info.context is not EVERY_FIELD:
            for name in self.later:
                if getattr(self, name) == type(self).model_fields[name].default:
                    contents.pop(name, None)
        return contents
