"""What every `--json` prints: one object, or a list of objects, each of which says by which schema it is written."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import typer

#: The version of each kind of object. It rises where a key goes or means something else; a new key does not raise it.
SCHEMAS = {
    "comparison": 1,
    "data-set": 1,
    "database": 1,
    "finding": 1,
    "network": 1,
    "note": 1,
    "report": 1,
    "setting": 1,
    "shipped-study": 1,
    "status": 1,
    "trial": 1,
}


def print_json(kind: str, value: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> None:
    """Print an object of this kind, or a list of them, with `schema` as first key of each: `KIND/VERSION`.

    A list stays a list, so that who reads one of before the versions still can. Numbers that JSON lacks become texts
    (`nan`, `inf`), and what is no plain value its `str`.
    """
    schema = {"schema": f"{kind}/{SCHEMAS[kind]}"}
    whole = schema | dict(value) if isinstance(value, Mapping) else [schema | dict(one) for one in value]
    typer.echo(json.dumps(_plain(whole), indent=2, default=str, allow_nan=False))


def _plain(value: Any) -> Any:
    match value:
        case Mapping():
            return {key: _plain(part) for key, part in value.items()}
        case list() | tuple():
            return [_plain(part) for part in value]
        case float() if not math.isfinite(value):
            return str(value)
    return value
