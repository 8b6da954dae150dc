"""The record of what is known of one hypothesis."""

from __future__ import annotations

from dataclasses import dataclass

from cifarsweep.spec.hypothesis import Hypothesis
from cifarsweep.stats import Interval
from cifarsweep.stats.estimate import Method
from cifarsweep.stats.multiplicity import Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the trials say of one hypothesis, and how sure that is."""

    hypothesis: Hypothesis
    decision: Decision
    estimate: float | None
    """In units of the metric: a difference (of `best`, to the level that comes nearest), a mean, or the rise per level
    of `trend`; of `faster` the ratio of times. None without results, and where not every seed reached the target."""
    interval: Interval | None
    """Of the estimate, 95 %, not corrected for the other hypotheses."""
    effect: float | None
    """Of a difference, in standard deviations: d_z of pairs, d of Welch's test, both with Hedges' correction."""
    method: Method | None
    """How the estimate was made."""
    signs: bool
    """Whether a sign test decides, and no t test: all seeds are alike, or some did not come to the target."""
    p: float
    """Of this hypothesis alone, both sides together."""
    corrected: float
    """Over the hypotheses of the study and the looks at the data that are planned: 0.05 or less is a verdict."""
    tested: int
    """Hypotheses of the study."""
    looks: int
    """Looks at the data that are planned; 1 where the study was never extended."""
    level: float
    """Of the look that these seeds are for: 5 % or its share of it, for all hypotheses together."""
    seeds: int
    """That the verdict rests on; pairs, where seeds are paired."""
    more_seeds: int | None
    """About how many more it takes for a verdict with 80 % chance, beside those that wait already; 0 where these will
    do. None where it is decided, or where it takes more than 200."""
    cells: tuple[str, ...]
    open_trials: int
    """Of these cells, not final yet."""
    preliminary: bool
    """Whether no look is complete: the numbers are those so far, nothing is tested, and every p is 1."""
    detail: str
    """The numbers in words."""
    warning: str
    """What to be careful about, in a sentence; empty where there is nothing."""

    @property
    def sentence(self) -> str:
        """The claim with its numbers, complete as it stands."""
        lead = "" if self.decision == "supported" else f"{self.decision.capitalize()}: "
        return f"{lead}{self.hypothesis.claim.rstrip('. ')}: {self.detail}"

    @property
    def lines(self) -> str:
        """The sentence, and after it the warning."""
        return f"{self.sentence} {self.warning}".rstrip()
