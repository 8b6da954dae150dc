"""Checks tables that come from a file against the records, and says what is wrong in sentences."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TypeVar

from pydantic import ValidationError

from cifarsweep.errors import SpecError
from cifarsweep.spec.complaint import explain, nearest
from cifarsweep.spec.overrides import Table
from cifarsweep.spec.settings import Frozen, nest, setting_keys

M = TypeVar("M", bound=Frozen)


def validated(model: type[M], contents: Table, where: str) -> M:
    """The table as a record. Raises SpecError with a sentence for every mistake."""
    # Through JSON, because that is where pydantic's strict mode takes a list for a tuple.
    try:
        text = json.dumps(contents, default=_as_json)
    except (TypeError, ValueError) as error:
        raise SpecError(f"{where}: {error}") from None
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        raise SpecError(explain(error, model, where)) from None


def _as_json(value: object) -> object:
    if isinstance(value, Frozen):
        return value.model_dump(mode="json")
    raise TypeError(f"{value} is a {type(value).__name__}; settings are numbers, texts, true, false and lists of them")


def check_keys(keys: Iterable[str], where: str) -> None:
    """Raise SpecError, with the nearest name, for a key that no setting has."""
    known = setting_keys()
    for key in keys:
        if key not in known:
            table = key.rsplit(".", 1)[0] + "."
            here = [name for name in known if name.startswith(table)] or known
            raise SpecError(f"{where}: {key[:200]}: unknown key.{nearest(key, known)} Allowed here: {', '.join(here)}.")


def nested(flat: Table, where: str) -> Table:
    """Dotted keys as tables. Raises SpecError where one is a table and a value at once."""
    try:
        return nest(flat)
    except ValueError as error:
        raise SpecError(f"{where}: settings: {error}") from None
