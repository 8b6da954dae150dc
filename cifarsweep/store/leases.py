"""Clocks for leases. They decide who seems alive, never who may write: the fence does that."""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Double, String, bindparam, cast, func, select
from sqlalchemy.sql.elements import ColumnElement

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@cache
def machine_clock() -> str:
    """The name of this machine's clock: its boot, where the kernel counts one, else `wall`."""
    if hasattr(time, "CLOCK_BOOTTIME") and _BOOT_ID.is_file():
        return _BOOT_ID.read_text().strip()
    return "wall"


def machine_now() -> float:
    """Seconds on `machine_clock()`: they go on while the machine sleeps, and nobody can set them but for `wall`."""
    if machine_clock() == "wall":
        return time.time()
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def read_clock(conn: Connection) -> tuple[str, float]:
    """Name and seconds of the clock that the leases of this database go by.

    Call it inside the transaction: SQLite may have waited for its lock, and a moment from before that is stale.
    """
    if conn.dialect.name == "sqlite":
        return machine_clock(), machine_now()
    return "server", float(conn.execute(select(server_now())).scalar_one())


def server_now() -> ColumnElement[float]:
    """The server's own clock, in seconds since 1970; unlike now() it moves within a transaction."""
    return cast(func.extract("epoch", func.clock_timestamp()), Double)


def now_term(dialect: str) -> ColumnElement[float]:
    """The moment as a term of a prepared statement: PostgreSQL looks itself, which saves a round trip."""
    return bindparam("p_now", type_=Double()) if dialect == "sqlite" else server_now()


def clock_term() -> ColumnElement[str]:
    """The name of the clock as a term of a prepared statement."""
    return bindparam("p_clock", type_=String())


def clock_parameters(dialect: str) -> dict[str, Any]:
    """The values for `now_term` and `clock_term`; SQLite's are stale after a wait for its lock, so take them inside."""
    return {"p_clock": machine_clock(), "p_now": machine_now()} if dialect == "sqlite" else {"p_clock": "server"}
