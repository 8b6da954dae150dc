"""The levels of a study as Optuna's parameters and distributions. Optuna is passed in, to import it late.

Optuna compares distributions within a study: floats and ints may widen later, the choices of a category may not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cifarsweep.spec.levels import level_text
from cifarsweep.spec.search_space import Choices, Range
from cifarsweep.spec.study import Study
from cifarsweep.spec.types import Value


@dataclass(frozen=True, slots=True)
class Parameters:
    """Every varied setting with its levels, in the order of the study."""

    levels: Mapping[str, tuple[Value, ...]]
    ranges: Mapping[str, Range] = field(default_factory=dict)
    """Settings that a search varies between two ends, which are its levels."""

    @classmethod
    def of(cls, study: Study) -> Parameters:
        """Gather the levels that the cells have, or the space of a search."""
        if study.search is not None:
            space = study.search.space
            ranges = {key: each for key, each in space.items() if not isinstance(each, Choices)}
            return cls({key: each.ends for key, each in space.items()}, ranges)
        levels: dict[str, dict[str, Value]] = {}
        for cell in study.cells:
            for key, value in cell.levels.items():
                levels.setdefault(key, {}).setdefault(repr(value), value)
        return cls({key: tuple(values.values()) for key, values in levels.items()})

    def signature(self) -> str:
        """The properties that Optuna keeps fixed within a study: names, kinds, choices."""
        shape: dict[str, Any] = {}
        for key, values in self._items():
            shape[key] = _kind(values) if _kind(values) != "choice" else _choices(values)
            if key in self.ranges:
                shape[key] = self.ranges[key].model_dump()
        return json.dumps(shape)

    def distributions(self, optuna: Any) -> dict[str, Any]:
        """A distribution for every parameter, as wide as its levels."""
        return {
            key: self.ranges[key].distribution(optuna.distributions)
            if key in self.ranges
            else _distribution(optuna.distributions, values)
            for key, values in self._items()
        }

    def encode(self, levels: Mapping[str, Value]) -> dict[str, Any]:
        """The levels of a cell as Optuna stores them."""
        return {key: _encode(_kind(self.levels[key]), value) for key, value in levels.items()}

    def _items(self) -> list[tuple[str, tuple[Value, ...]]]:
        return list(self.levels.items())


def _kind(values: tuple[Value, ...]) -> str:
    types = {type(value) for value in values}
    if types == {bool}:
        return "switch"
    if types == {int}:
        return "int"
    return "float" if types <= {int, float} else "choice"


def _encode(kind: str, value: Value) -> bool | int | float | str | None:
    if kind != "choice":
        assert isinstance(value, int | float)
        return value
    # Optuna knows no lists, and takes True and 1 for the same choice.
    return value if value is None or isinstance(value, str) else level_text(value)


def _choices(values: tuple[Value, ...]) -> list[Any]:
    return list(dict.fromkeys(_encode("choice", value) for value in values))


def _distribution(distributions: Any, values: tuple[Any, ...]) -> Any:
    kind = _kind(values)
    if kind == "switch":
        return distributions.CategoricalDistribution([False, True])
    if kind == "int":
        return distributions.IntDistribution(min(values), max(values))
    if kind == "float":
        return distributions.FloatDistribution(float(min(values)), float(max(values)))
    return distributions.CategoricalDistribution(_choices(values))
