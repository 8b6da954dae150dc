"""What tables to hand in are made of: numbers rounded by their intervals, and rows for papers and for programs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cifarsweep.stats import Interval

#: Decimals of a number whose interval is not known: of a per cent, and significant digits of all others.
_DECIMALS, _DIGITS = 1, 4
#: The most decimals of a number; a narrower interval is rounded to them.
_MOST_DECIMALS = 6


@dataclass(frozen=True, slots=True)
class Number:
    """A number of a table, in the unit of its column."""

    value: float
    decimals: int
    """Decimals of `value` and of `half`."""
    half: float | None = None
    """Half of the 95 % interval, for plus or minus; None without one."""

    @property
    def text(self) -> str:
        """The rounded value, with a point and a hyphen for a minus."""
        return f"{self.value:z.{self.decimals}f}"

    @property
    def uncertainty(self) -> int | None:
        """`half` in units of the last decimal, as in 92.31(45); None without an interval."""
        return None if self.half is None else round(self.half * 10**self.decimals)


@dataclass(frozen=True, slots=True)
class Ends:
    """Two numbers with a "to" between them, in the unit of their column."""

    low: Number
    high: Number


@dataclass(frozen=True, slots=True)
class Chance:
    """A p value."""

    value: float


@dataclass(frozen=True, slots=True)
class Count:
    """A whole number, or one that is shown with three digits and a power of ten where it is large."""

    value: float


Entry = str | Number | Ends | Chance | Count | None


@dataclass(frozen=True, slots=True)
class PaperTable:
    """One table, with what a paper shows and what a program reads."""

    study: str
    name: str
    """`results`, `verdicts`, `effects` or `interactions`."""
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]
    raw: tuple[Mapping[str, object], ...]
    """The same rows for CSV, by column, unrounded: shares in 0..1; None where nothing is known."""


def table_of(
    study: str, name: str, caption: str, columns: Mapping[str, Sequence[Entry]], raw: Sequence[Mapping[str, object]]
) -> PaperTable:
    """A table of columns by their headings."""
    rows = tuple(zip(*columns.values(), strict=True))
    return PaperTable(study, name, caption, tuple(columns), rows, tuple(raw))


def rounded(value: float, half: float | None, scale: float) -> Number:
    """A number in the unit of its column, which is `value` times `scale`, rounded to two digits of its interval."""
    return Number(scale * value, decimals_for(value, half, scale), None if half is None else scale * half)


def decimals_for(value: float, half: float | None, scale: float) -> int:
    """The decimals with which a value in the unit of its column has two digits of its interval."""
    if half and math.isfinite(half):
        return min(max(1 - math.floor(math.log10(scale * half)), 0), _MOST_DECIMALS)
    if scale != 1.0:
        return _DECIMALS
    return places_for(value, _DIGITS)


def places_for(value: float, digits: int) -> int:
    """The decimals with which a number has so many significant digits."""
    if not value or not math.isfinite(value):
        return 0
    return min(max(digits - 1 - math.floor(math.log10(abs(value))), 0), _MOST_DECIMALS)


def raw_ends(interval: Interval | None, prefix: str = "") -> dict[str, object]:
    """Both ends of an interval; None without one."""
    return {
        f"{prefix}low": interval.low if interval else None,
        f"{prefix}high": interval.high if interval else None,
    }
