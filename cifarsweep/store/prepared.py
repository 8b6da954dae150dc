"""Statements of which SQL and the order of parameters are made once, for those that every trial takes.

SQLAlchemy looks a statement up, checks its parameters and prepares for its rows at each execution, which takes longer
than SQLite needs to run it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, CursorResult, Dialect, Executable


def execute(conn: Connection, statement: Executable, values: Mapping[str, Any]) -> CursorResult[Any]:
    """Execute as `conn.execute` does; rows come as the driver has them, so flags of SQLite are 0 and 1.

    The statement must be one object for ever: what is made of it is kept.
    """
    prepared = _prepared(statement, conn.dialect, tuple(values))
    if prepared is None:
        return conn.execute(statement, values)
    return conn.exec_driver_sql(prepared.sql, prepared.parameters(values))


class _Prepared:
    def __init__(self, compiled: Any, dialect: Dialect, names: Collection[str]) -> None:
        converts = {
            name: convert
            for bind, name in compiled.bind_names.items()
            if (convert := bind.type.dialect_impl(dialect).bind_processor(dialect)) is not None
        }
        own = {name: value for name, value in compiled.params.items() if name not in names}
        self.sql = str(compiled)
        #: None where the driver takes names
        self._order: list[str] | None = compiled.positiontup
        #: those that the statement brings
        self._own = {name: converts[name](value) if name in converts else value for name, value in own.items()}
        self._converts = [(name, convert) for name, convert in converts.items() if name in names]

    def parameters(self, values: Mapping[str, Any]) -> Any:
        """The values as the driver takes them."""
        known = {**self._own, **values}
        for name, convert in self._converts:
            known[name] = convert(known[name])
        return known if self._order is None else tuple([known[name] for name in self._order])


@lru_cache(maxsize=256)
def _prepared(statement: Any, dialect: Dialect, names: tuple[str, ...]) -> _Prepared | None:
    """None for a statement whose SQL depends on values, as that of a list does."""
    compiled = statement.compile(dialect=dialect, column_keys=list(names))
    if compiled.post_compile_params or compiled.literal_execute_params:
        return None
    return _Prepared(compiled, dialect, names)
