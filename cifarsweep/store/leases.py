"""Leases: how long they live, and the clocks that they go by.

Clocks decide which worker seems alive, never which one may write: the fence does that.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Self

from sqlalchemy import FromClause, String, and_, bindparam, false, func
from sqlalchemy.sql.elements import ColumnElement

from cifarsweep.errors import StoreError
from cifarsweep.store.schema import trial

#: Longer waits and leases than this many seconds are invalid.
LONGEST_S = 1e9
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@cache
def machine_clock() -> str:
    """The name of this machine's clock: its boot, where the kernel counts one, else `wall`."""
    if hasattr(time, "CLOCK_BOOTTIME") and _BOOT_ID.is_file():
        return _BOOT_ID.read_text().strip()
    return "wall"


def machine_now() -> float:
    """Seconds on `machine_clock()`: they count sleep as well, and only `wall` can be set."""
    if machine_clock() == "wall":
        return time.time()
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def clock_term() -> ColumnElement[str]:
    """The name of the clock as a term of a prepared statement."""
    return bindparam("p_clock", type_=String())


def has_expired(now: ColumnElement[float], of: FromClause = trial) -> ColumnElement[bool]:
    """The lease has expired, or its time is invalid or of another boot."""
    kept = and_(of.c.clock == clock_term(), of.c.lease_until.between(now, now + LONGEST_S))
    return ~func.coalesce(kept, false())


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds. A holder renews its lease every `beat_s`; after `lease_s` without that another worker may take over."""

    lease_s: float = 60.0
    beat_s: float = 10.0

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Self:
        """Read $CIFARSWEEP_LEASE and $CIFARSWEEP_BEAT. Raises StoreError where they make no sense together."""
        env = os.environ if env is None else env
        lease = _seconds(env, "CIFARSWEEP_LEASE", cls().lease_s, least=1.0)
        beat = _seconds(env, "CIFARSWEEP_BEAT", min(cls().beat_s, lease / 6))
        if beat > lease / 2:
            raise StoreError(
                f"$CIFARSWEEP_BEAT is {beat:g} s and the lease {lease:g} s: a lease must last two beats or more, "
                "or every short delay would cost it"
            )
        return cls(lease, beat)

    def backoff_s(self, earlier: int) -> float:
        """Wait before a trial that failed is tried again: a sixth of the lease (10 s), doubled for each earlier one."""
        return float(self.lease_s / 6 * 2 ** min(earlier, 10))


def _seconds(env: Mapping[str, str], name: str, default: float, *, least: float = 0.001) -> float:
    text = env.get(name)
    if not text:
        return default
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not least <= seconds < 86_400:
        raise StoreError(f"${name}: {text!r} is not a number of seconds between {least:g} and 86400, a day")
    return seconds
