"""What the rows of a page's tables sort by: numbers by their value, cells by their levels."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from cifarsweep.spec.levels import level_text
from cifarsweep.spec.types import Value

#: A number within a text, such as the depth in `resnet18`.
_NUMBER = re.compile(r"(\d+(?:\.\d+)?)")


def sort_value(value: float | None) -> str:
    """A number for `data-value`, with the digits that order it; empty if it is missing, which sorts last."""
    return "" if value is None or math.isnan(value) else f"{value:.12g}".replace("inf", "Infinity")


def setting_value(value: Value) -> str:
    """The same of a setting, whose text sorts where it is no number."""
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return sort_value(float(value)) if plain else "" if value is None else level_text(value)  # type: ignore[arg-type]


def cell_ranks(cells: Mapping[str, Mapping[str, Value]]) -> dict[str, int]:
    """The place of each cell when they are sorted by their levels, the first factor first; levels by name of the cell.

    Numbers come before texts and sort by value; cells without levels in common sort by their names.
    """
    keys = list(dict.fromkeys(key for levels in cells.values() for key in levels))
    ordered = sorted(cells, key=lambda name: [*(_place(cells[name], key) for key in keys), (3, 0.0, _natural(name))])
    return {name: place for place, name in enumerate(ordered)}


def _place(levels: Mapping[str, Value], key: str) -> tuple[int, float, list[tuple[int, float, str]]]:
    if key not in levels:
        return (2, 0.0, [])
    level = levels[key]
    if isinstance(level, int | float):
        return (0, float(level), [])
    return (1, 0.0, _natural(level_text(level)))


def _natural(text: str) -> list[tuple[int, float, str]]:
    """A text as words and numbers, so that `net 9` comes before `net 10`."""
    parts = (part for part in _NUMBER.split(text.casefold()) if part)
    return [(0, float(part), "") if _NUMBER.fullmatch(part) else (1, 0.0, part) for part in parts]
