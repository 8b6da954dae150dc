"""Judges each hypothesis of a study: supported, refuted or undecided, and how sure that is.

A `Verdict` holds every number that a sentence about it needs; `report.verdict_text` puts it into words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from cifarsweep.analysis.confounds import UnlikeTimes, asks_for_devices, unlike_times
from cifarsweep.analysis.families import key_of_test
from cifarsweep.analysis.few_seeds import FewSeeds, Test, few_seeds
from cifarsweep.analysis.floors import guessing_floor
from cifarsweep.analysis.new_images import of_hypothesis
from cifarsweep.analysis.outcomes import FallenOut, compared_by_seed, fallen_out
from cifarsweep.analysis.records import ReportStudy
from cifarsweep.analysis.reuse import Copies, copies
from cifarsweep.analysis.samples import (
    DoneTrials,
    Look,
    Side,
    cells_of,
    chance_of,
    done_trials,
    last_values,
    level_of,
    look_at,
    pending_seeds,
    seed_means,
    sides,
    times_to,
    without_value,
)
from cifarsweep.analysis.side_results import SideResult, shown_estimate, side_results
from cifarsweep.spec.hypothesis import AtChance, Hypothesis
from cifarsweep.spec.metrics import ELAPSED, is_loss
from cifarsweep.spec.types import FINAL_STATES
from cifarsweep.stats import Interval
from cifarsweep.stats import evidence as tests
from cifarsweep.stats.estimate import Method
from cifarsweep.stats.evidence import Evidence
from cifarsweep.stats.hits import NewImages
from cifarsweep.stats.multiplicity import Decision, Judgement, judge, level_after
from cifarsweep.stats.power import seeds_needed, seeds_range

#: Why a hypothesis can't be tested.
Obstacle = Literal["no counterparts", "not finite", "no values", "classes unknown", "no shared seeds", "none trained"]


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
    """Of the estimate, 95 %, not corrected for the other hypotheses; None with fewer seeds than a verdict takes."""
    new_images: NewImages | None
    """The same for new images too, of a difference of accuracies of two sides; None if a run did not keep its hits."""
    decisive: Interval | None
    """Corrected for all tests and looks: the claim is supported if all of it lies where the claim holds, refuted if
    none of it does. Of a `best`, of the level that comes nearest. None where nothing is tested."""
    effect: float | None
    """Of a difference, in standard deviations, with Hedges' correction."""
    method: Method | None
    floored: bool
    """Whether seeds lie closer together than the measurement can tell, so that its own noise counts as their spread."""
    p: float
    """Of this hypothesis alone: one-sided where it holds or does not, doubled where both sides can be wrong."""
    corrected: float
    """The p corrected for all tests of the study and all planned looks: 0.05 or less is a verdict."""
    tested: int
    """The number of tests of the study: hypotheses that are one test count once."""
    looks: int
    """The number of planned looks at the data; 1 if the study was never extended."""
    level: float
    """The level of this look, for all hypotheses together: 5 % or its share of it."""
    seeds: int
    """The number of seeds of the cell with the fewest."""
    more_seeds: int | None
    """About how many more it takes for a verdict with 80 % chance, beside those that are queued; 0 if these suffice.
    None if it is decided, or takes more than 200."""
    more_seeds_range: tuple[int, int | None] | None
    """The same at both ends of the 80 % interval of the spread; None for more than 200, at its end or at both."""
    cells: tuple[str, ...]
    open_trials: int
    """Trials of these cells that are not final."""
    preliminary: bool
    """Whether no look is complete: the numbers are those so far, and every p is 1."""
    not_finite: int
    """Done trials whose value is not finite; 0 for `faster`."""
    fell_out: Mapping[str, FallenOut]
    """The cells of which runs fell out, by name. The numbers are of the runs that trained, but for `at_chance`."""
    chance: float | None
    """The accuracy of a guess, for `at_chance`; None if the number of classes is unknown."""
    unlike_times: UnlikeTimes | None
    """How the times of a `faster` were measured differently, if they were."""
    copies: Copies | None = None
    """Trials that are compared though they are one training, if there are any."""
    few_seeds: FewSeeds | None = None
    """The noisy cell of few seeds that makes false verdicts materially more frequent, if there is one."""


@dataclass(frozen=True, slots=True)
class _Case:
    """One hypothesis with the trials that it is tested on."""

    hypothesis: Hypothesis
    compared: Sequence[Side]
    done: DoneTrials
    """The trials that stand for their cells; see `compared_runs`."""
    fell_out: Mapping[str, FallenOut]
    """By cell, of all trials."""
    look: Look | None
    """None if no look is complete, so that there can be no verdict."""
    level: float
    """Of this look, or of the next one."""
    evidence: Evidence | None

    @property
    def cells(self) -> tuple[str, ...]:
        return cells_of(self.compared)

    @property
    def seeds(self) -> int:
        return self.evidence.estimate.n if self.evidence else 0


def verdicts(report: ReportStudy) -> list[Verdict]:
    """A verdict on each hypothesis of the study, in its order, corrected for all of them together.

    The chance of any false verdict is at most 5 %, over all looks that were planned in time. Runs are taken as
    independent, and values of a cell as about normal. Runs that fell out are counted, and the others compared. If no
    look is complete, the numbers are those of the trials that are done, and there is no verdict.
    """
    cases = [_case(hypothesis, done_trials(report, hypothesis), report) for hypothesis in report.study.hypotheses]
    kinds = [key_of_test(case.hypothesis, case.compared) for case in cases]
    evidence = [case.evidence if case.look else None for case in cases]
    judged = judge(evidence, [case.level for case in cases], kinds)
    tested = len(set(kinds))
    found = [_verdict(case, judgement, tested, report) for case, judgement in zip(cases, judged, strict=True)]
    each = zip(kinds, evidence, cases, strict=True)
    few = few_seeds([Test(key, one, case.level, case.compared) for key, one, case in each], report)
    return [replace(verdict, few_seeds=one) for verdict, one in zip(found, few, strict=True)]


def _case(hypothesis: Hypothesis, done: DoneTrials, report: ReportStudy) -> _Case:
    compared = sides(hypothesis, report.study)
    look = look_at(cells_of(compared), done, report)
    shown = look.trials if look else done
    fell_out = {cell: fallen_out(shown.get(cell, {}).values()) for cell in cells_of(compared)}
    # Whether a cell trains is what `at_chance` asks.
    counted = shown if hypothesis.kind == "at_chance" else compared_by_seed(shown)
    evidence = None if _none_trained(compared, fell_out) else _evidence(hypothesis, compared, counted, report)
    return _Case(hypothesis, compared, counted, fell_out, look, level_of(look, report), evidence)


def _none_trained(compared: Sequence[Side], fell_out: Mapping[str, FallenOut]) -> bool:
    """Whether there is nothing to compare, since no run of any side trained."""
    return len(compared) > 1 and all(found.every for found in fell_out.values())


def _evidence(
    hypothesis: Hypothesis, compared: Sequence[Side], done: DoneTrials, report: ReportStudy
) -> Evidence | None:
    """Test the hypothesis; None if there is nothing to test it on. The one table of all kinds."""
    if hypothesis.kind == "faster":
        return tests.sooner(*(times_to(side, done, report, hypothesis) for side in compared))
    if without_value(compared, done, hypothesis.metric):
        return None
    values = [last_values(side, done, hypothesis, report) for side in compared]
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
            return _at_chance(hypothesis, compared[0], done, report)
        case "reaches":
            one = seed_means(compared[0], done, hypothesis, report)
            return tests.reaches([one], hypothesis.target - sign * hypothesis.margin, sign)
        case "best":
            return tests.best(values[0], values[1:], sign) if compared[0].matched else None
        case "trend":
            rising = 1 if hypothesis.direction == "rising" else -1
            return tests.trend(values, rising) if compared[0].matched else None


def _at_chance(hypothesis: AtChance, side: Side, done: DoneTrials, report: ReportStudy) -> Evidence | None:
    chance = chance_of(side, report)
    if chance is None:
        return None
    one = seed_means(side, done, hypothesis, report)
    floors = [guessing_floor(done.get(cell, {}).values(), chance) for cell in side.cells]
    guessing = sum(floors) / len(floors) ** 2
    return tests.near([replace(one, floor=max(one.floor, guessing))], chance, hypothesis.margin)


def _obstacle(case: _Case, chance: float | None, not_finite: int) -> Obstacle | None:
    hypothesis = case.hypothesis
    if case.evidence is not None:
        return None
    if hypothesis.kind in ("best", "trend") and not case.compared[0].matched:
        return "no counterparts"
    if _none_trained(case.compared, case.fell_out):
        return "none trained"
    if not_finite:
        return "not finite"
    if any(not _any_value(cell, case.done, hypothesis.metric) for cell in case.cells):
        return "no values"
    return "classes unknown" if hypothesis.kind == "at_chance" and chance is None else "no shared seeds"


def _any_value(cell: str, done: DoneTrials, metric: str) -> bool:
    return any(trial.last(metric) is not None for trial in done.get(cell, {}).values())


def _verdict(case: _Case, judgement: Judgement, tested: int, report: ReportStudy) -> Verdict:
    hypothesis, evidence = case.hypothesis, case.evidence
    race = hypothesis.kind == "faster"
    deciding = evidence.decisive(judgement.level) if evidence and case.look else None
    estimate, interval, decisive = shown_estimate(evidence, deciding, hypothesis)
    chance = chance_of(case.compared[0], report) if hypothesis.kind == "at_chance" else None
    not_finite = 0 if race else without_value(case.compared, case.done, hypothesis.metric)
    return Verdict(
        hypothesis=hypothesis,
        decision=judgement.decision,
        obstacle=_obstacle(case, chance, not_finite),
        sides=side_results(hypothesis, case.compared, case.done, evidence, report),
        levels=len(case.compared),
        matched=case.compared[0].matched,
        estimate=estimate,
        interval=interval,
        new_images=of_hypothesis(hypothesis, evidence, case.compared, case.done, report),
        decisive=decisive,
        effect=evidence.estimate.effect if evidence and not race else None,
        method=evidence.estimate.method if evidence else None,
        floored=evidence is not None and evidence.estimate.floored,
        p=judgement.p,
        corrected=judgement.corrected,
        tested=tested,
        looks=max(1, len(report.looks)),
        level=case.level,
        seeds=case.seeds,
        more_seeds=_more_seeds(case, judgement, report) if judgement.decision == "undecided" else None,
        more_seeds_range=_more_seeds_range(case, judgement, report) if judgement.decision == "undecided" else None,
        cells=case.cells,
        open_trials=sum(trial.cell in case.cells and trial.state not in FINAL_STATES for trial in report.trials),
        preliminary=case.look is None,
        not_finite=not_finite,
        fell_out={cell: found for cell, found in case.fell_out.items() if found.count},
        chance=chance,
        unlike_times=_unlike_times(case, report),
        copies=copies(hypothesis, case.compared, case.done, report) if case.seeds else None,
    )


def _more_seeds(case: _Case, judgement: Judgement, report: ReportStudy) -> int | None:
    """Seeds to add beside those that are queued, at the level of the look that they are for."""
    if case.evidence is None:
        return None
    pending = pending_seeds(case.compared, report)
    have = case.evidence.fewest + pending
    # Open trials belong to a look that was not taken yet.
    enough = seeds_needed(case.evidence, judgement.level) if pending else None
    if enough is not None and enough <= have:
        return 0
    needed = seeds_needed(case.evidence, judgement.level / case.level * level_after(report.plans, have))
    return None if needed is None else max(needed - have, 1)


def _more_seeds_range(case: _Case, judgement: Judgement, report: ReportStudy) -> tuple[int, int | None] | None:
    if case.evidence is None:
        return None
    have = case.evidence.fewest + pending_seeds(case.compared, report)
    ends = seeds_range(case.evidence, judgement.level / case.level * level_after(report.plans, have))
    low, high = (None if end is None else max(end - have, 1) for end in ends)
    return None if low is None else (low, high)


def _unlike_times(case: _Case, report: ReportStudy) -> UnlikeTimes | None:
    if case.hypothesis.kind != "faster" or case.hypothesis.by != ELAPSED or not case.seeds:
        return None
    trials = [trial for trial in report.trials if trial.done and trial.cell in case.cells]
    return unlike_times(trials, counted=not asks_for_devices(report.study))
