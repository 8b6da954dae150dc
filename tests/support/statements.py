"""SQL that is made once for all databases of a kind, as in a program that opens one of them for long.

SQLAlchemy and `store/prepared.py` keep what they made for one engine, and tests open a new one each.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from sqlalchemy import Dialect
from sqlalchemy.util import LRUCache


def kind(dialect: Dialect) -> Hashable:
    """What is equal for dialects that make the same SQL of a statement, and take the same values."""
    return type(dialect), dialect.server_version_info, dialect.paramstyle, dialect.default_schema_name


class SharedStatements:
    """The compiled statements of all engines, in the place of one cache for each."""

    def __init__(self) -> None:
        self._kept: LRUCache[Any, Any] = LRUCache(2000)

    def get(self, key: tuple[Any, ...]) -> Any:
        """Return what was compiled, if anything was."""
        return self._kept.get((kind(key[0]), *key[1:]))

    def __setitem__(self, key: tuple[Any, ...], compiled: Any) -> None:
        self._kept[kind(key[0]), *key[1:]] = compiled


def prepared_once(make: Callable[..., Any]) -> Callable[..., Any]:
    """Return `_prepared` of `store/prepared.py` that makes a statement once for all databases of a kind."""
    kept: dict[Hashable, Any] = {}

    def prepared(statement: Any, dialect: Dialect, names: tuple[str, ...]) -> Any:
        key = statement, kind(dialect), names
        if key not in kept:
            kept[key] = make(statement, dialect, names)
        return kept[key]

    return prepared
