"""Parsers for the columns of our tables: values are checked when they are read."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache, lru_cache
from math import isfinite
from typing import Any, TypeVar

from pydantic import ValidationError
from sqlalchemy import BigInteger, Boolean, Column, Double, Integer, LargeBinary, Table

from cifarsweep.spec.metrics import VAL_ACCURACY
from cifarsweep.spec.program import Parameters
from cifarsweep.spec.settings import Settings
from cifarsweep.spec.study import Study, dangling
from cifarsweep.spec.types import NAME_PATTERN, AttemptEnd, MetricRow, Outcome, StopRequest, TrialState, Value
from cifarsweep.spec.validation import unknown
from cifarsweep.store.column_types import UtcDateTime
from cifarsweep.version import __version__

#: Returns what a column holds, as the records have it. Raises BadValue.
Parser = Callable[[Any], Any]

R = TypeVar("R")
#: The settings of an imported cell, in JSON: they are unknown.
UNKNOWN = "null"
#: How the JSON of parameters begins, and that of no settings does.
PARAMETERS = '{"parameters":'
#: The numbers that JSON and SQLite lack, by the texts that stand for them.
SPECIAL = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf, "-0": -0.0}
#: The largest value of each kind of column; 2^53 is exact in every program.
_MOST, _MOST_BIG = 2**31 - 1, 2**53
#: Longer than any training, in seconds.
_LONGEST_S = 1e11
_SHOWN = 60
#: The longest JSON of a study of which many are cached: about 200 cells.
_SMALL = 200_000
_YEARS = range(1970, 9999)
ADVICE = "put it right, or restore a backup"


class BadValue(ValueError):
    """A column holds a value that we never write. The message begins with the column."""


def quoted(value: object) -> str:
    """A foreign value, quoted and shortened for a message."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


@cache
def parsers(table: Table) -> tuple[tuple[str, Parser], ...]:
    """The names of a table's columns, in order, with their parsers."""
    return tuple((column.name, _nullable(column, _parser(column))) for column in table.columns)


def _nullable(column: Column[Any], parse: Parser) -> Parser:
    def checked(value: Any) -> Any:
        if value is not None:
            return parse(value)
        if not column.nullable:
            raise BadValue("is empty")
        return None

    return checked


def _parser(column: Column[Any]) -> Parser:
    """The parser of a column, by its name or else its type."""
    special = _SPECIAL_COLUMNS.get(f"{column.table.name}.{column.name}")
    if special is not None:
        return special
    kinds: Iterable[tuple[type, Parser]] = (
        (Boolean, _flag),
        (BigInteger, _whole(0, _MOST_BIG)),
        (Integer, _whole(0, _MOST)),
        (Double, _number(-math.inf, math.inf)),
        (UtcDateTime, _moment),
        (LargeBinary, _bytes),
    )
    return next((parse for kind, parse in kinds if isinstance(column.type, kind)), text)


def _bad(value: object, expected: str) -> BadValue:
    return BadValue(f"is {quoted(value)}; it must be {expected}: {ADVICE}")


def _flag(value: Any) -> bool:
    if not isinstance(value, bool) and not (type(value) is int and value in (0, 1)):  # as SQLite has them
        raise _bad(value, "0 or 1")
    return bool(value)


def _whole(low: int, high: int) -> Parser:
    def parse(value: Any) -> int:
        if type(value) is not int or not low <= value <= high:
            raise _bad(value, f"a whole number from {low} to {high}")
        return value

    return parse


def _number(low: float, high: float) -> Parser:
    def parse(value: Any) -> float:
        if type(value) not in (int, float) or not math.isfinite(value) or not low <= value <= high:
            raise _bad(value, "a finite number" + (f" from {low:g} to {high:g}" if math.isfinite(low) else ""))
        return float(value)

    return parse


def _moment(value: Any) -> datetime:
    if not isinstance(value, datetime) or value.year not in _YEARS:
        raise _bad(value, "a moment, as in 2026-01-31 12:00:00.000000")
    return value


def _bytes(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise _bad(value, "bytes")
    return value


def text(value: Any) -> str:
    """A text. Raises BadValue for anything else, and for one that is no UTF-8."""
    if not isinstance(value, str):
        raise _bad(value, "a text")
    try:
        value.isascii() or value.encode()
    except UnicodeEncodeError:
        raise _bad(value, "a text in UTF-8") from None
    return value


def _name(value: Any) -> str:
    if not isinstance(value, str) or not NAME_PATTERN.fullmatch(value):
        raise _bad(value, "a name of at most 64 letters, digits, dots, dashes and underscores")
    return value


def _one_of(words: Iterable[str]) -> Parser:
    known = {str(word): word for word in words}

    def parse(value: Any) -> str:
        if value not in known:
            raise _bad(value, f"one of {', '.join(known)}")
        return known[value]

    return parse


def _table(value: Any) -> dict[str, Any]:
    try:
        found = json.loads(value)
    except (ValueError, TypeError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise _bad(value, "a JSON object")
    return found


def final(value: Any) -> dict[str, float]:
    """The last metrics; what JSON has no number for is stored as a text. Raises BadValue."""
    return {name: _final_value(name, number) for name, number in _table(value).items()}


def _final_value(name: str, value: object) -> float:
    if isinstance(value, str) and value in SPECIAL:
        return SPECIAL[value]
    try:
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    except OverflowError:
        pass
    raise BadValue(
        f"has {quoted(value)} for {quoted(name)}; it must be a number, or one of {', '.join(SPECIAL)}: {ADVICE}"
    )


def kind_of(value: float) -> str | None:
    """The name of a number that some database would change: SQLite turns NaN into NULL and -0 into 0."""
    if value and isfinite(value):
        return None
    if value:
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    return "-0" if math.copysign(1.0, value) < 0 else None


def result_columns(final: Mapping[str, float], metric: str = VAL_ACCURACY) -> tuple[float | None, str]:
    """`cs_trial.value`, that of the study's metric, and `cs_trial.final` of the last metrics."""
    value = final.get(metric)
    texts = json.dumps({name: kind_of(number) or number for name, number in final.items()})
    return value if value is not None and kind_of(value) is None else None, texts


def split_value(value: float) -> tuple[float | None, str | None]:
    """A metric as its two columns: a number, or the kind that stands for one."""
    kind = kind_of(value)
    return None if kind else value, kind


def metric_tuples(trial_id: int, series: Mapping[str, Sequence[MetricRow]]) -> list[tuple[Any, ...]]:
    """The rows of some series as their table has them."""
    return [
        (trial_id, name, row.step, row.value, None)
        if row.value and isfinite(row.value)
        else (trial_id, name, row.step, *split_value(row.value))
        for name, rows in series.items()
        for row in rows
    ]


def levels(value: Any) -> dict[str, Value]:
    """Levels as a study has them: JSON's lists become tuples again. Raises BadValue."""
    found = {key: tuple(level) if isinstance(level, list) else level for key, level in _table(value).items()}
    for key, level in found.items():
        for item in level if isinstance(level, tuple) else (level,):
            if not (item is None or isinstance(item, str | int | float)) or not _is_finite(item):
                raise BadValue(
                    f"has {quoted(level)} for {quoted(key)}; it must be a value or a list of values: {ADVICE}"
                )
    return found


def _is_finite(value: object) -> bool:
    try:
        return not isinstance(value, int | float) or math.isfinite(value)
    except OverflowError:
        return False


def _versions(value: Any) -> str:
    """Check versions and leave them as text: they are parsed when merged with the worker's."""
    if not all(isinstance(each, str) for each in _table(value).values()):
        raise _bad(value, "a JSON object of texts")
    return text(value)


@lru_cache(maxsize=4096)
def settings(value: Any) -> Settings | Parameters | None:
    """The settings of a cell, or the parameters of one of a program; None if it was imported.

    Raises BadValue, which tells those of a newer version from those that are damaged.
    """
    if value == UNKNOWN:
        return None
    if isinstance(value, str) and value.startswith(PARAMETERS):
        return _record(value, Parameters.model_validate_json)
    return _record(value, Settings.model_validate_json)


def spec(value: Any) -> Study:
    """A whole study. Raises BadValue as `settings` does, or where it speaks of cells and factors that it lacks."""
    small = isinstance(value, str) and len(value) < _SMALL
    return _few(value) if small else _one(value)


def _spec(value: Any) -> Study:
    found = _record(value, Study.from_canonical)
    if problem := dangling(found):
        raise BadValue(f"can't be right: {problem}: {ADVICE}")
    return found


#: Every view of a study reads it again; large studies would fill the memory.
_few, _one = lru_cache(maxsize=128)(_spec), lru_cache(maxsize=1)(_spec)


def _record(value: Any, parse: Callable[[str], R]) -> R:
    if not isinstance(value, str):
        raise _bad(value, "a text")
    try:
        return parse(value)
    except ValidationError as error:
        if strange := unknown(error):
            raise BadValue(
                f"has {strange}, which this version, {__version__}, does not know: a newer cifarsweep made it; update "
                "this one to use it"
            ) from None
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise BadValue(f"can't be read: {f'{where}: ' if where else ''}{first['msg']}: {ADVICE}") from None
    except (ValueError, RecursionError) as error:
        raise BadValue(f"can't be read: {error}: {ADVICE}") from None


_SPECIAL_COLUMNS: Mapping[str, Parser] = {
    "cs_study.name": _name,
    "cs_study.spec": spec,
    "cs_study.wish": _one_of(StopRequest),
    "cs_study.rank": _whole(-_MOST, _MOST),
    "cs_cell.levels": levels,
    "cs_cell.settings": settings,
    "cs_trial.state": _one_of(TrialState),
    "cs_trial.rank": _whole(-_MOST, _MOST),
    "cs_trial.wish": _one_of(StopRequest),
    "cs_trial.outcome": _one_of(Outcome),
    "cs_trial.elapsed_s": _number(0, _LONGEST_S),
    "cs_trial.reused_s": _number(0, _LONGEST_S),
    "cs_trial.final": final,
    "cs_look.seeds": _whole(1, _MOST),
    "cs_look.plan": _whole(1, _MOST),
    "cs_attempt.versions": _versions,
    "cs_attempt.ending": _one_of(AttemptEnd),
    "cs_worker.versions": _versions,
    "cs_metric.kind": _one_of(SPECIAL),
}
