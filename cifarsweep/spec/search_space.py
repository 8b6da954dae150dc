"""The space of a search study: ranges and choices instead of levels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Annotated, Any, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from cifarsweep.spec.levels import same_level
from cifarsweep.spec.settings import Frozen
from cifarsweep.spec.types import Value

#: Significant digits of a suggested float: few enough to copy into a study file, with the same bits.
DIGITS = 6


class Range(Frozen):
    """Numbers from `low` to `high`, both included: whole numbers if both ends are."""

    low: int | float
    high: int | float
    log: bool = False
    """Search the logarithm, for settings that act by factors."""
    step: PositiveInt | None = None
    """Whole ranges only: the distance of neighbours."""

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"high: must be greater than low, which is {self.low!r}, not {self.high!r}")
        if self.log and self.low <= 0:
            raise ValueError(f"low: must be greater than 0 where log = true, not {self.low!r}")
        if self.step is not None and (self.log or not self.whole):
            raise ValueError("step: is for ranges of whole numbers without log = true")
        if self.step is not None and (self.high - self.low) % self.step:
            raise ValueError(f"step: steps of {self.step} from {self.low!r} do not reach {self.high!r}")
        return self

    @property
    def whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def ends(self) -> tuple[Value, ...]:
        """The values that are checked against the settings when a study is created."""
        return (self.low, self.high)

    def all(self) -> range | None:
        """Return every value, lowest first; None if they can't be counted."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            return range(self.low, self.high + 1, self.step or 1)
        return None

    @property
    def count(self) -> int | None:
        """The number of values; None if they can't be counted."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            # Not len(range), which must fit into a machine word.
            return (self.high - self.low) // (self.step or 1) + 1
        return None

    def holds(self, value: Value) -> bool:
        """Whether the value is in the range."""
        return isinstance(value, int | float) and not isinstance(value, bool) and self.low <= value <= self.high

    def rounded(self, value: float) -> Value:
        """Return the value with few digits, inside the range."""
        if self.whole:
            return round(value)
        return float(min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high))

    def distribution(self, distributions: Any) -> Any:
        """Return the range as a distribution of Optuna, whose module `optuna.distributions` is passed in."""
        if self.whole:
            return distributions.IntDistribution(self.low, self.high, log=self.log, step=self.step or 1)
        return distributions.FloatDistribution(float(self.low), float(self.high), log=self.log)


class Choices(Frozen):
    """A few values without an order, as the levels of a factor."""

    choices: Annotated[tuple[Value, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if len({repr(choice) for choice in self.choices}) < len(self.choices):
            raise ValueError("choices: two of them are the same")
        return self

    @property
    def ends(self) -> tuple[Value, ...]:
        return self.choices

    def all(self) -> tuple[Value, ...]:
        return self.choices

    @property
    def count(self) -> int:
        return len(self.choices)

    def holds(self, value: Value) -> bool:
        """Whether the value is one of the choices."""
        return any(same_level(value, choice) for choice in self.choices)


Parameter = Range | Choices
Pruner = Literal["none", "median", "hyperband"]


class Search(Frozen):
    """The search of a study: its points are suggested one after the other, from the results of those before."""

    sampler: Literal["random", "tpe", "cmaes"] = "tpe"
    pruner: Pruner = "none"
    """Ends trials whose validation accuracy falls behind that of the others."""
    n_trials: Annotated[int, Field(ge=1, le=100_000)]
    seed: NonNegativeInt = 0
    """Seed of the sampler; the trials have their own."""
    space: Annotated[dict[str, Parameter], Field(min_length=1)]
    fixed: dict[str, Value] = {}
    """The settings that all points share, by dotted key; anything not named has its default."""

    @model_validator(mode="after")
    def _numbers_for_cmaes(self) -> Self:
        words = [key for key, parameter in self.space.items() if isinstance(parameter, Choices)]
        if self.sampler == "cmaes" and words:
            raise ValueError(f"sampler: cmaes knows no choices, and {words[0]} has them; use tpe or random")
        return self

    @property
    def size(self) -> int | None:
        """The number of points of the space; None if they can't be counted."""
        counts = [each.count for each in self.space.values()]
        known = [count for count in counts if count is not None]
        return math.prod(known) if len(known) == len(counts) else None

    @property
    def points(self) -> int:
        """The number of points to suggest, at most all."""
        return self.n_trials if self.size is None else min(self.n_trials, self.size)

    def holds(self, point: Mapping[str, Value]) -> bool:
        """Whether the point has a value of the space for each parameter."""
        return all(key in point and each.holds(point[key]) for key, each in self.space.items())

    def every_point(self) -> Iterator[dict[str, Value]]:
        """Yield all points of a space whose `size` is known."""
        values = [each.all() or () for each in self.space.values()]
        return (dict(zip(self.space, point, strict=True)) for point in product(*values))


@dataclass(frozen=True, slots=True)
class PointResult:
    """A suggested point and its result. `value` is the mean over the seeds that are done."""

    params: Mapping[str, Value]
    state: Literal["running", "complete", "pruned", "failed"]
    value: float | None = None
    step: int = 0
    """The last step of a pruned point."""


@dataclass(frozen=True, slots=True)
class Curve:
    """The validation accuracies of one trial, evaluation by evaluation."""

    values: tuple[float, ...]
    complete: bool = False
    """Whether it was trained to the end of its budget."""
