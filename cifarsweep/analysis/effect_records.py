"""What the factors of a study did, in numbers: means of levels and how they depend on one another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cifarsweep.spec.types import Value
from cifarsweep.stats import Interval
from cifarsweep.stats.factorial import FTest, Spread


@dataclass(frozen=True, slots=True)
class MarginalMean:
    """The mean of the means of some cells, each counting alike."""

    mean: float
    interval: Interval | None
    """95 %, by the pooled spread or those of its own cells (`Spread.unlike`), within the range of the metric; None
    where they are unknown."""
    cells: int
    seeds: int
    """Of these cells together."""


@dataclass(frozen=True, slots=True)
class LevelMean:
    """A level of a factor, over the others."""

    level: Value
    found: MarginalMean


@dataclass(frozen=True, slots=True)
class LevelDifference:
    """The two levels of a factor whose means lie furthest apart."""

    high: Value
    low: Value
    value: float
    """In units of the metric, at least 0."""
    interval: Interval | None
    """Simultaneous: the chance that it misses, or that of any two levels of any factor would, is at most the level of
    `Effects`. So a pair may be chosen after the fact."""
    larger: bool
    """Whether it is more than the noise explains; never while trials are open."""


@dataclass(frozen=True, slots=True)
class MainEffect:
    """The levels of a factor, each averaged over the same combinations of the other factors."""

    factor: str
    levels: tuple[LevelMean, ...]
    """In the order of the study; those without a cell that is done are left out."""
    furthest: LevelDifference
    left_out: int
    """Cells with a result that lack a counterpart at some level."""


@dataclass(frozen=True, slots=True)
class Change:
    """How the difference between two levels of the rows changes between two levels of the columns, the largest such."""

    high: Value
    low: Value
    there: Value
    """The level of the columns at which high is further above low."""
    here: Value
    difference_there: float
    """High minus low, in units of the metric."""
    difference_here: float

    @property
    def size(self) -> float:
        return self.difference_there - self.difference_here


@dataclass(frozen=True, slots=True)
class Interaction:
    """The means where two factors cross, and whether the effect of one depends on the other."""

    rows: str
    columns: str
    row_levels: tuple[Value, ...]
    column_levels: tuple[Value, ...]
    means: tuple[tuple[MarginalMean | None, ...], ...]
    """By row and column; None where there is no cell with a counterpart at all other places."""
    left_out: int
    """Cells with a result that lack such a counterpart."""
    alone: Mapping[str, Value]
    """What else varies, of the only cell that each place has; empty where places are averages, or nothing does."""
    change: Change | None
    test: FTest | None
    """None if the spread is unknown, or the places can't contradict a sum of two effects."""
    corrected: float | None = None
    """The p corrected by Holm for all pairs that are tested; None without a test, and while trials are open."""
    larger: bool = False
    """Whether it is larger than the noise: `corrected` is at most the level of `Effects`."""

    @property
    def averaged(self) -> bool:
        """Whether a place stands for more than one cell."""
        return any(found is not None and found.cells > 1 for row in self.means for found in row)


@dataclass(frozen=True, slots=True)
class NoisyCell:
    """The cell that makes false dependences of factors more frequent than the level says, with spreads as measured."""

    cell: str
    seeds: int
    ratio: float
    """Its spread over that of the other cells, the root of their mean variance."""
    chance: float
    """That a dependence is claimed which is not there, of any two factors."""
    needed: int | None
    """Seeds of each cell with which it is no longer told; None for very many."""


@dataclass(frozen=True, slots=True)
class Effects:
    """What the factors of a study did, at its last complete look."""

    metric: str
    factors: tuple[MainEffect, ...]
    """In the order of the study."""
    interactions: tuple[Interaction, ...]
    """Of all pairs of factors that cross, in the order of the study."""
    apart: tuple[str, ...]
    """Factors of two levels or more whose levels have no cells that are otherwise alike."""
    spread: Spread | None
    """Within cells; None if no cell has two seeds, or all seeds of a cell are alike."""
    seeds: tuple[int, int]
    """Of the cell with the fewest and of that with the most, without cells that have none."""
    level: float
    """The chance of a false claim on any pair of factors, and on any two levels of any factor: 5 % or, of a study with
    several looks, its share of it."""
    comparisons: int
    """Pairs of levels of all factors, which their intervals are simultaneous over."""
    open_trials: int
    """Not final yet. If no look is complete nothing is claimed, so that nobody stops when they like what they see."""
    preliminary: bool
    untrained: tuple[str, ...]
    """Cells none of whose runs trained; they count with what they ended with, and say nothing of the spread."""
    noisy: NoisyCell | None = None
    """None where claims are as rarely false as the level says."""
