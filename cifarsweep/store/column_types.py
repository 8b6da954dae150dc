"""Types of columns that both databases share: a value in an SQLite file that is of no type comes as it is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Boolean, DateTime, Dialect, TypeDecorator


class UtcDateTime(TypeDecorator[datetime]):
    """Moments for people, in UTC. SQLite forgets the zone; this puts it back.

    An SQLite file may hold any value: what is no moment comes as it is, and `rows` reports it.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any] | None:
        return _lenient(super().result_processor(dialect, coltype))

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Flag(Boolean):
    """True or false; another value in an SQLite file comes as it is."""

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any] | None:
        return _as_flag if dialect.name == "sqlite" else None


def _as_flag(value: Any) -> Any:
    return bool(value) if type(value) is int and value in (0, 1) else value


def _lenient(read: Callable[[Any], Any] | None) -> Callable[[Any], Any] | None:
    def process(value: Any) -> Any:
        try:
            return read(value) if read else value
        except (ValueError, TypeError, OverflowError, AttributeError):
            return value

    return process


def storable(text: str) -> str:
    """The text without what a database refuses: PostgreSQL knows no NUL, and half a surrogate pair is no UTF-8."""
    return text.encode(errors="replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
