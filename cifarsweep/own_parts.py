"""Keyword arguments of own parts against the signatures of their classes and functions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from cifarsweep.own_code import OwnCodeError
from cifarsweep.spec.own import OwnPart
from cifarsweep.spec.validation import nearest

_KEYWORDS = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def checked_arguments(
    part: Callable[..., Any], settings: OwnPart, table: str, known: Mapping[str, Any], positional: int = 0
) -> dict[str, Any]:
    """Return the keyword arguments of a part: those of the settings, and of `known` those that it has.

    The first `positional` parameters are given without names. Raises OwnCodeError for an argument that it does not
    have, for one that is ours to give, and for one that it needs and nobody gives.
    """
    try:
        parameters = list(inspect.signature(part).parameters.values())
    except (ValueError, TypeError):
        raise OwnCodeError(f"{table}.name: {settings.name} can't be called") from None
    accepted = {each.name: each for each in parameters[positional:] if each.kind in _KEYWORDS}
    anything = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters)
    given = settings.arguments
    for name in given:
        if name in known:
            raise OwnCodeError(f"{table}.{name}: is no setting: {settings.name} gets it from the images or from us")
        if name not in accepted and not anything:
            allowed = ", ".join(each for each in accepted if each not in known) or "none"
            raise OwnCodeError(
                f"{table}.{name}: {settings.name} has no such argument.{nearest(name, accepted)} It has: {allowed}."
            )
    ours = {name: value for name, value in known.items() if name in accepted}
    missing = [
        each.name for each in accepted.values() if each.default is each.empty and each.name not in {**given, **ours}
    ]
    if missing:
        raise OwnCodeError(f"{table}.{missing[0]}: is missing: {settings.name} has no default for it")
    return {**given, **ours}
