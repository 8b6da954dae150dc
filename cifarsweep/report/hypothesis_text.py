"""Puts hypotheses into words: what would have to hold, and what was found. Each kind has a class of its own."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from cifarsweep.analysis.side_results import SideResult
from cifarsweep.analysis.verdicts import Verdict
from cifarsweep.formatting import (
    margin_text,
    mean_text,
    metric_in_text,
    metric_label,
    moment_text,
    plural,
    ratio_text,
    signed_text,
    target_text,
    value_text,
)
from cifarsweep.spec.hypothesis import (
    AtChance,
    Best,
    Equivalent,
    Faster,
    Greater,
    Hypothesis,
    NotWorse,
    Reaches,
    Trend,
    moment_of,
)
from cifarsweep.spec.levels import level_text
from cifarsweep.spec.metrics import VAL_ACCURACY, is_loss, is_share
from cifarsweep.stats import Interval

H = TypeVar("H", bound=Hypothesis)
L = TypeVar("L", bound=Best | Trend)

_AXES = {"steps": "steps", "epoch": "epochs", "elapsed_s": "training time"}


@dataclass(frozen=True, slots=True)
class Region:
    """Where an estimate supports the claim, in units of the estimate."""

    low: float
    high: float
    mark: float
    """The value that a reader looks for."""
    name: str = "no difference"
    """What that value is called."""
    log: bool = False
    """Whether the estimate is a ratio, to be drawn on a logarithmic scale."""


class KindText(ABC, Generic[H]):
    """The words for one kind of hypothesis; those of this base are for a difference between two sides."""

    def __init__(self, hypothesis: H) -> None:
        self.hypothesis = hypothesis
        at = moment_of(hypothesis)
        self.at = f"at {moment_text(at)}" if at else ""
        self.label = f"{metric_label(hypothesis.metric)} {self.at}".rstrip()
        self.metric = f"{metric_in_text(hypothesis.metric)} {self.at}".rstrip()
        self.less = is_loss(hypothesis.metric)
        self.worse = "above" if self.less else "below"
        self.margin = margin_text(getattr(hypothesis, "margin", 0.0), hypothesis.metric)

    @abstractmethod
    def condition(self) -> str:
        """What must hold, as the rest of a sentence that begins with "Holds if"."""

    @abstractmethod
    def findings(self, verdict: Verdict) -> tuple[str, str]:
        """The finding if the claim is supported, and if it is refuted."""

    @abstractmethod
    def region(self) -> Region | None:
        """Where the estimate has to lie; None if that depends on the data set."""

    def numbers(self, verdict: Verdict) -> str:
        """What is compared: means, each with half of its 95 % interval."""
        return " against ".join(self.means(verdict))

    def means(self, verdict: Verdict) -> list[str]:
        """The means of the sides; the first names the moment, and the metric unless it is validation accuracy."""
        first, *others = [self.mean(side) for side in verdict.sides]
        if self.hypothesis.metric != VAL_ACCURACY:
            first = f"{metric_in_text(self.hypothesis.metric)} {first}"
        return [f"{self.at}, {first}" if self.at else first, *others]

    def mean(self, side: SideResult) -> str:
        return mean_text(side.value, self.hypothesis.metric) if side.value else "nothing"

    def estimate(self, value: float, half: float) -> str:
        """The estimate; empty if it is one of the means."""
        return f"difference {signed_text(value, half, self.hypothesis.metric)}"

    def end(self, value: float, half: float) -> str:
        """An end of the estimate's interval."""
        return signed_text(value, half, self.hypothesis.metric, unit=False)

    def ends(self, interval: Interval, half: float) -> str:
        """Both ends of the estimate's interval."""
        return f"{self.end(interval.low, half)} to {self.end(interval.high, half)}"

    def unmatched(self, verdict: Verdict) -> str:
        """What is unfair about comparing cells that have no counterparts."""
        a, b = (
            f"the mean of {plural(len(side.cells), what)}" if len(side.cells) > 1 else f"one {what}"
            for side, what in zip(verdict.sides, ("cell", "other"), strict=True)
        )
        return f"{a} against {b}, which differ in more than the claim names"

    def better(self, end: float, mark: float, name: str = "no difference") -> Region:
        """Everything better than `end`: below it for a loss."""
        return Region(-math.inf, end, mark, name) if self.less else Region(end, math.inf, mark, name)


class _Greater(KindText[Greater]):
    def condition(self) -> str:
        by = f" by more than {self.margin}" if self.hypothesis.margin else ""
        return f"the mean {self.metric} of a is above that of b{by}"

    def findings(self, verdict: Verdict) -> tuple[str, str]:
        if not self.hypothesis.margin:
            return "above", "below"
        return f"above by more than {self.margin}", f"not above by more than {self.margin}"

    def region(self) -> Region:
        return Region(self.hypothesis.margin, math.inf, 0.0)


class _NotWorse(KindText[NotWorse]):
    def condition(self) -> str:
        return f"the mean {self.metric} of a is at most {self.margin} {self.worse} that of b"

    def findings(self, verdict: Verdict) -> tuple[str, str]:
        return f"not worse by more than {self.margin}", f"worse by more than {self.margin}"

    def region(self) -> Region:
        return self.better(self.hypothesis.margin if self.less else -self.hypothesis.margin, 0.0)


class _Equivalent(KindText[Equivalent]):
    def condition(self) -> str:
        return f"the mean {self.metric} of a and that of b differ by less than {self.margin} either way"

    def findings(self, verdict: Verdict) -> tuple[str, str]:
        return f"equivalent within {self.margin}", f"more than {self.margin} apart"

    def region(self) -> Region:
        return Region(-self.hypothesis.margin, self.hypothesis.margin, 0.0)


class _OneSide(KindText[H]):
    """For a mean that is compared with a number; the estimate is that mean."""

    def estimate(self, value: float, half: float) -> str:
        return ""

    def end(self, value: float, half: float) -> str:
        least, most = (0.0, 1.0) if is_share(self.hypothesis.metric) else (-math.inf, math.inf)
        return value_text(min(max(value, least), most), self.hypothesis.metric, half)


class _AtChance(_OneSide[AtChance]):
    def condition(self) -> str:
        return f"the mean {self.metric} of a is within {self.margin} of guessing"

    def findings(self, verdict: Verdict) -> tuple[str, str]:
        guess = f"a guess, {value_text(verdict.chance or 0.0, self.hypothesis.metric)}"
        return f"within {self.margin} of {guess}", f"more than {self.margin} away from {guess}"

    def region(self) -> None:
        return None


class _Reaches(_OneSide[Reaches]):
    def condition(self) -> str:
        slack = f" or at most {self.margin} {self.worse} it" if self.hypothesis.margin else ""
        bound = "at most" if self.less else "at least"
        return f"the mean {self.metric} of a is {bound} {self._target(self.hypothesis.target)}{slack}"

    def findings(self, verdict: Verdict) -> tuple[str, str]:
        goal = self._target(self.hypothesis.target)
        if self.hypothesis.margin:
            goal = f"{self._target(self._goal())}, which is {goal} {'plus' if self.less else 'less'} {self.margin}"
        return f"which reaches {goal}", f"which does not reach {goal}"

    def region(self) -> Region:
        return self.better(self._goal(), self.hypothesis.target, self._target(self.hypothesis.target))

    def _goal(self) -> float:
        return self.hypothesis.target + (self.hypothesis.margin if self.less else -self.hypothesis.margin)

    def _target(self, value: float) -> str:
        return target_text(value, self.hypothesis.metric)


class _Faster(KindText[Faster]):
    def condition(self) -> str:
        axis, target = _AXES[self.hypothesis.by], target_text(self.hypothesis.target, self.hypothesis.metric)
        return f"a reaches a {self.metric} of {target} before b, counted in {axis}. Below: last values"

    def findings(self, verdict: Verdict) -> tuple[str, str]:
        return "sooner", "later"

    def region(self) -> Region:
        return Region(0.0, 1.0, 1.0, "as fast", log=True)

    def numbers(self, verdict: Verdict) -> str:
        target = target_text(self.hypothesis.target, self.hypothesis.metric)
        if self.hypothesis.metric != VAL_ACCURACY:
            target = f"{self.metric} {target}"
        if verdict.estimate is None:
            a, b = verdict.sides
            return f"{target} was reached by {a.reached} of {plural(a.seeds, 'seed')} against {b.reached} of {b.seeds}"
        of = "of" if verdict.estimate < 1 else "times"
        return f"{target} after {ratio_text(verdict.estimate)} {of} the {_AXES[self.hypothesis.by]}"

    def estimate(self, value: float, half: float) -> str:
        return f"ratio {ratio_text(value)}"

    def end(self, value: float, half: float) -> str:
        return ratio_text(value)


class _Levels(KindText[L]):
    """For levels of a factor, which are named beside their means."""

    def mean(self, side: SideResult) -> str:
        return f"{super().mean(side)} at {side.label}"

    def unmatched(self, verdict: Verdict) -> str:
        factor = self.hypothesis.factor
        return f"no cells of the levels differ in {factor} alone, so that there is nothing fair to compare"


class _Best(_Levels[Best]):
    def condition(self) -> str:
        level, top = level_text(self.hypothesis.level), "lowest" if self.less else "highest"
        return f"{self.hypothesis.factor} = {level} has the {top} mean {self.metric} of all its levels"

    def findings(self, verdict: Verdict) -> tuple[str, str]:
        top = "lowest" if self.less else "highest"
        return f"the {top} of {verdict.levels} levels", f"{self.worse} {verdict.sides[-1].label}"

    def region(self) -> Region:
        return self.better(0.0, 0.0)


class _Trend(_Levels[Trend]):
    def condition(self) -> str:
        direction, factor = self.hypothesis.direction, self.hypothesis.factor
        return f"the mean {self.metric} is {direction} on average along the levels of {factor} as listed"

    def findings(self, verdict: Verdict) -> tuple[str, str]:
        other = {"rising": "falling", "falling": "rising"}[self.hypothesis.direction]
        return f"on average {self.hypothesis.direction} along these levels", f"on average {other} along these levels"

    def region(self) -> Region:
        rising = self.hypothesis.direction == "rising"
        return Region(0.0, math.inf, 0.0, "level") if rising else Region(-math.inf, 0.0, 0.0, "level")

    def numbers(self, verdict: Verdict) -> str:
        return ", ".join(self.means(verdict))

    def estimate(self, value: float, half: float) -> str:
        moves = "falls" if value < 0 else "rises"
        return f"{moves} by {signed_text(abs(value), half, self.hypothesis.metric)} per level"

    def ends(self, interval: Interval, half: float) -> str:
        low, high = (self.end(abs(end), half) for end in (interval.low, interval.high))
        if interval.low < 0 < interval.high:
            return f"from a fall by {low} to a rise by {high}"
        return f"{low} to {high}" if interval.low >= 0 else f"{high} to {low}"


_CLASSES: Mapping[str, type[KindText[Any]]] = {
    "greater": _Greater,
    "not_worse": _NotWorse,
    "equivalent": _Equivalent,
    "at_chance": _AtChance,
    "reaches": _Reaches,
    "faster": _Faster,
    "best": _Best,
    "trend": _Trend,
}


def kind_text(hypothesis: Hypothesis) -> KindText[Any]:
    """The words for this hypothesis."""
    return _CLASSES[hypothesis.kind](hypothesis)


def hypothesis_text(hypothesis: Hypothesis) -> str:
    """What has to hold for the hypothesis to be true, as a sentence."""
    return f"Holds if {kind_text(hypothesis).condition()}."
