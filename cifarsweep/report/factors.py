"""The factors of a page: their levels as text, and which of them each cell has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cifarsweep.spec.levels import level_key, level_text, shown_keys
from cifarsweep.spec.study import Cell, Study
from cifarsweep.spec.types import Value


def page_factors(study: Study) -> dict[str, list[Value]]:
    """The factors in which the study's cells differ, by dotted key, each with the levels that the cells have.

    Levels come in the order of the study; those of arms alone come last.
    """
    found = {}
    for key, planned in study.factors.items():
        had = {level_key(cell.levels[key]): cell.levels[key] for cell in study.cells if key in cell.levels}
        order = {level_key(level): place for place, level in enumerate(planned)}
        levels = sorted(had, key=lambda level: order.get(level, len(order)))
        if len(levels) > 1:
            found[key] = [had[level] for level in levels]
    return found


def factor_payload(factors: dict[str, list[Value]]) -> list[dict[str, Any]]:
    """The factors ready for JSON: key, name, levels as text, and whether all of these are numbers."""
    names = shown_keys(factors)
    return [
        {
            "key": key,
            "name": names[key],
            "levels": [level_text(level) for level in levels],
            "numeric": all(isinstance(level, int | float) and not isinstance(level, bool) for level in levels),
        }
        for key, levels in factors.items()
    ]


def level_places(cell: Cell, factors: dict[str, list[Value]]) -> list[int | None]:
    """For each factor the place of the cell's level among its levels; None where an arm has no such setting."""
    return [_place(cell.levels[key], levels) if key in cell.levels else None for key, levels in factors.items()]


def _place(level: Value, levels: Sequence[Value]) -> int:
    return [level_key(each) for each in levels].index(level_key(level))
