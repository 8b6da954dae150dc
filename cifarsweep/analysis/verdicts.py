"""Judges each hypothesis of a study: supported, refuted or undecided, and how sure that is.

A `Verdict` holds every number that a sentence about it needs; `report.verdict_text` puts it into words.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from cifarsweep.analysis.confounds import UnlikeTimes, unlike_times
from cifarsweep.analysis.records import ReportStudy
from cifarsweep.analysis.samples import (
    DoneTrials,
    Side,
    cells_of,
    chance_of,
    comparable,
    done_trials,
    last_values,
    log_times,
    pending_seeds,
    side_trials,
    sides,
    times_to,
    trials_at_look,
    without_value,
)
from cifarsweep.spec.hypothesis import Hypothesis
from cifarsweep.spec.metrics import ELAPSED, is_loss
from cifarsweep.spec.types import FINAL_STATES
from cifarsweep.stats import Interval, Summary, summary
from cifarsweep.stats import evidence as tests
from cifarsweep.stats.estimate import FEWEST_SEEDS, Method, difference
from cifarsweep.stats.evidence import Evidence, Reached
from cifarsweep.stats.multiplicity import Decision, Judgement, judge, level_after, level_at, planning_level
from cifarsweep.stats.power import seeds_needed

#: Why a hypothesis can't be tested.
Obstacle = Literal["no counterparts", "not finite", "no values", "classes unknown", "no shared seeds"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SideResult:
    """One side of a comparison, at the seeds that are tested."""

    label: str
    cells: tuple[str, ...]
    value: Summary | None = None
    """Of the last values; None if no seed has one, and for `faster`."""
    seeds: int = 0
    reached: int = 0
    """Seeds that reached the target of `faster`."""
    diverged: int = 0
    trials: int = 0
    """Done trials of the seeds for which all cells of the side are done; `diverged` of them diverged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The decision on one hypothesis, with all numbers behind it."""

    hypothesis: Hypothesis
    decision: Decision
    obstacle: Obstacle | None
    """Why it can't be tested; None if it can."""
    sides: tuple[SideResult, ...]
    """In the order of the hypothesis; of `best` the level and the one that comes nearest."""
    levels: int
    """The number of sides that are compared."""
    matched: bool
    """Whether the sides differ in nothing but what the hypothesis names."""
    estimate: float | None
    """In units of the metric: a difference (of `best`, to the level that comes nearest), a mean, or the rise per level
    of `trend`; for `faster` the ratio of times. None without results, or if not every seed reached the target."""
    interval: Interval | None
    """Of the estimate, 95 %, not corrected for the other hypotheses."""
    effect: float | None
    """Of a difference, in standard deviations: d_z of pairs, d of Welch's test, both with Hedges' correction."""
    method: Method | None
    alike: bool
    """Whether all seeds are alike: without any spread, a sign test decides."""
    by_order: bool
    """Whether a sign test of which side came first decides, because some seeds did not reach the target."""
    order_known: bool
    """Whether any pair of seeds tells which side came first."""
    p: float
    """Two-sided, of this hypothesis alone."""
    corrected: float
    """The p corrected for all hypotheses of the study and all planned looks: 0.05 or less is a verdict."""
    tested: int
    """The number of hypotheses of the study."""
    looks: int
    """The number of planned looks at the data; 1 if the study was never extended."""
    level: float
    """The level of this look, for all hypotheses together: 5 % or its share of it."""
    seeds: int
    """The number of seeds tested; pairs, if seeds are paired."""
    more_seeds: int | None
    """About how many more it takes for a verdict with 80 % chance, beside those that are queued; 0 if these suffice.
    None if it is decided, or takes more than 200."""
    cells: tuple[str, ...]
    open_trials: int
    """Trials of these cells that are not final."""
    preliminary: bool
    """Whether no look is complete: the numbers are those so far, and every p is 1."""
    not_finite: int
    """Done trials whose value is not finite; 0 for `faster`."""
    chance: float | None
    """The accuracy of a guess, for `at_chance`; None if the number of classes is unknown."""
    time_ratio: float | None
    """Training time of a over that of b; None unless both were measured alike and surely differ."""
    unlike_times: UnlikeTimes | None
    """How the times of a `faster` were measured differently, if they were."""

    @property
    def signs(self) -> bool:
        return self.alike or self.by_order


@dataclass(frozen=True, slots=True)
class _Case:
    """One hypothesis with the trials that it is tested on."""

    hypothesis: Hypothesis
    compared: Sequence[Side]
    done: DoneTrials
    waits: bool
    """Whether no look is complete, so that there can be no verdict."""
    evidence: Evidence | None

    @property
    def cells(self) -> tuple[str, ...]:
        return cells_of(self.compared)

    @property
    def seeds(self) -> int:
        return self.evidence.estimate.n if self.evidence else 0


def verdicts(report: ReportStudy) -> list[Verdict]:
    """A verdict on each hypothesis of the study, in its order, corrected for all of them together.

    The chance of any false verdict is at most 5 %, over all looks that were planned in time. Values of different seeds
    are taken as independent and, unless all are alike, about normal. Diverged trials count at chance accuracy. If no
    look is complete, the numbers are those of the trials that are done, and there is no verdict.
    """
    cases = [_case(hypothesis, done_trials(report, hypothesis), report) for hypothesis in report.study.hypotheses]
    tested = [None if case.waits else case.evidence for case in cases]
    judged = judge(tested, [level_at(report.plans, evidence.estimate.n if evidence else 0) for evidence in tested])
    return [_verdict(case, judgement, judged, report) for case, judgement in zip(cases, judged, strict=True)]


def _case(hypothesis: Hypothesis, done: DoneTrials, report: ReportStudy) -> _Case:
    compared = sides(hypothesis, report.study)
    at_look = trials_at_look(cells_of(compared), done, report)
    shown = done if at_look is None else at_look
    return _Case(hypothesis, compared, shown, at_look is None, _evidence(hypothesis, compared, shown, report))


def _evidence(
    hypothesis: Hypothesis, compared: Sequence[Side], done: DoneTrials, report: ReportStudy
) -> Evidence | None:
    """Test the hypothesis; None if there is nothing to test it on. The one table of all kinds."""
    if hypothesis.kind == "faster":
        return tests.sooner(*(times_to(side, done, report, hypothesis) for side in compared))
    if without_value(compared, done, hypothesis.metric):
        return None
    values = [last_values(side, done, hypothesis.metric) for side in compared]
    # Less of a loss is better.
    sign = -1 if is_loss(hypothesis.metric) else 1
    match hypothesis.kind:
        case "greater":
            return tests.greater(values[0], values[1], hypothesis.margin)
        case "not_worse":
            return tests.not_worse(values[0], values[1], hypothesis.margin, sign)
        case "equivalent":
            return tests.equivalent(values[0], values[1], hypothesis.margin)
        case "at_chance":
            chance = chance_of(compared[0], report)
            return tests.near(values[0], chance, hypothesis.margin) if chance is not None else None
        case "reaches":
            return tests.reaches(values[0], hypothesis.target - sign * hypothesis.margin, sign)
        case "best":
            return tests.best(values[0], values[1:], sign) if compared[0].matched else None
        case "trend":
            rising = 1 if hypothesis.direction == "rising" else -1
            return tests.trend(values, rising) if compared[0].matched else None


def _obstacle(case: _Case, chance: float | None, not_finite: int) -> Obstacle | None:
    hypothesis = case.hypothesis
    if case.evidence is not None:
        return None
    if hypothesis.kind in ("best", "trend") and not case.compared[0].matched:
        return "no counterparts"
    if not_finite:
        return "not finite"
    if any(not last_values(side, case.done, hypothesis.metric) for side in case.compared):
        return "no values"
    return "classes unknown" if hypothesis.kind == "at_chance" and chance is None else "no shared seeds"


def _verdict(case: _Case, judgement: Judgement, judged: Sequence[Judgement], report: ReportStudy) -> Verdict:
    hypothesis, evidence = case.hypothesis, case.evidence
    race = hypothesis.kind == "faster"
    estimate, interval = _shown(evidence, ratio=race)
    level = level_at(report.plans, case.seeds)
    chance = chance_of(case.compared[0], report) if hypothesis.kind == "at_chance" else None
    not_finite = 0 if race else without_value(case.compared, case.done, hypothesis.metric)
    return Verdict(
        hypothesis=hypothesis,
        decision=judgement.decision,
        obstacle=_obstacle(case, chance, not_finite),
        sides=_side_results(case, report),
        levels=len(case.compared),
        matched=case.compared[0].matched,
        estimate=estimate,
        interval=interval,
        effect=evidence.estimate.effect if evidence and not race else None,
        method=evidence.estimate.method if evidence else None,
        alike=evidence is not None and evidence.estimate.alike,
        by_order=evidence is not None and not evidence.statements,
        order_known=evidence is not None and min(evidence.support, evidence.refute) < 1,
        p=judgement.p,
        corrected=judgement.corrected,
        tested=len(report.study.hypotheses),
        looks=max(1, len(report.looks)),
        level=level,
        seeds=case.seeds,
        more_seeds=_more_seeds(case, judged, report, level) if judgement.decision == "undecided" else None,
        cells=case.cells,
        open_trials=sum(trial.cell in case.cells and trial.state not in FINAL_STATES for trial in report.trials),
        preliminary=case.waits,
        not_finite=not_finite,
        chance=chance,
        time_ratio=_time_ratio(case),
        unlike_times=_unlike_times(case, report),
    )


def _side_results(case: _Case, report: ReportStudy) -> tuple[SideResult, ...]:
    hypothesis, compared = case.hypothesis, case.compared
    if hypothesis.kind == "faster":
        times = comparable(*(times_to(side, case.done, report, hypothesis) for side in compared))
        return tuple(_race_result(side, list(found.values())) for side, found in zip(compared, times, strict=True))
    if hypothesis.kind == "best" and case.evidence is not None:
        compared = [compared[0], compared[1 + case.evidence.weakest]]
    values = comparable(*(last_values(side, case.done, hypothesis.metric) for side in compared))
    pairs = zip(compared, values, strict=True)
    return tuple(_side_result(side, list(found.values()), case.done) for side, found in pairs)


def _race_result(side: Side, times: Sequence[Reached]) -> SideResult:
    reached = sum(time.reached for time in times)
    return SideResult(label=side.label, cells=side.cells, seeds=len(times), reached=reached)


def _side_result(side: Side, values: Sequence[float], done: DoneTrials) -> SideResult:
    trials = side_trials(side, done)
    return SideResult(
        label=side.label,
        cells=side.cells,
        value=summary(values) if values else None,
        seeds=len(values),
        trials=len(trials),
        diverged=sum(trial.diverged for trial in trials),
    )


def _shown(evidence: Evidence | None, *, ratio: bool) -> tuple[float | None, Interval | None]:
    """The estimate and its interval; a `ratio` of times only if every seed reached the target."""
    if evidence is None:
        return None, None
    value, interval = evidence.estimate.value, evidence.estimate.interval()
    if not ratio:
        return value, interval
    if not evidence.exact:
        return None, None
    if interval is None:
        return math.exp(value), None
    # Few seeds that differ widely would overflow.
    return math.exp(value), Interval(*(math.exp(min(max(end, -700.0), 700.0)) for end in (interval.low, interval.high)))


def _more_seeds(case: _Case, judged: Sequence[Judgement], report: ReportStudy, level: float) -> int | None:
    """Seeds to add beside those that are queued, at the level of the look that they are for."""
    if case.evidence is None:
        return None
    pending = pending_seeds(case.compared, report)
    have = case.evidence.fewest + pending
    # Open trials belong to a look that was not taken yet.
    enough = seeds_needed(case.evidence, planning_level(judged, level)) if pending else None
    if enough is not None and enough <= have:
        return 0
    needed = seeds_needed(case.evidence, planning_level(judged, level_after(report.plans, have)))
    return None if needed is None else max(needed - have, 1)


def _time_ratio(case: _Case) -> float | None:
    if case.evidence is None or case.hypothesis.kind not in ("greater", "not_worse", "equivalent"):
        return None
    estimate = difference(*(log_times(side, case.done) for side in case.compared))
    trials = [trial for side in case.compared for trial in side_trials(side, case.done)]
    if estimate is None or estimate.n < FEWEST_SEEDS or unlike_times(trials):
        return None
    interval, ratio = estimate.interval(), math.exp(estimate.value)
    # Times without any spread are synthetic, or whole seconds: their order is not in doubt.
    surely = interval is None or interval.low > 0 or interval.high < 0
    return ratio if surely and not 0.95 < ratio < 1.05 else None


def _unlike_times(case: _Case, report: ReportStudy) -> UnlikeTimes | None:
    if case.hypothesis.kind != "faster" or case.hypothesis.by != ELAPSED or not case.seeds:
        return None
    return unlike_times([trial for trial in report.trials if trial.done and trial.cell in case.cells])
