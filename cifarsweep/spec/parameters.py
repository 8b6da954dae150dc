"""Names and values that a parameter of a program may have in a study file."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from pydantic import TypeAdapter, ValidationError

from cifarsweep.errors import SpecError
from cifarsweep.spec.program import SEED, ParameterName
from cifarsweep.spec.shown import shown

_LONGEST_TEXT = 1000
#: Whole numbers beyond it are not exact in every program.
_MOST = 2**53
_NAME = TypeAdapter[str](ParameterName)


def check_names(names: Iterable[str], where: str) -> None:
    """Raise SpecError for a name that no parameter can have."""
    for name in names:
        if name == SEED:
            raise SpecError(f"{where}: seed is no parameter: every trial has its own, from the seeds of the study")
        try:
            _NAME.validate_python(name)
        except ValidationError:
            raise SpecError(
                f"{where}: {name[:64]!r} can't name a parameter: use at most 64 letters, digits, dots, dashes and "
                "underscores, and begin with a letter or an underscore"
            ) from None


def plain_value(where: str, value: Any) -> Any:
    """Return a value that a command can be given. Raises SpecError for any other."""
    if isinstance(value, bool) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, int) and abs(value) <= _MOST:
        return value
    if isinstance(value, str) and len(value) <= _LONGEST_TEXT and value.isprintable():
        return value
    raise SpecError(
        f"{where}: must be a finite number, true, false or a text of one line, as a parameter has one value, not "
        f"{shown(value, 60)}"
    )
