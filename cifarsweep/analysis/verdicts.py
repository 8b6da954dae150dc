"""What the trials of a study say of each hypothesis: supported, refuted or undecided, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from cifarsweep.analysis.confounds import timing_warning
from cifarsweep.analysis.looks import at_look
from cifarsweep.analysis.records import ReportStudy
from cifarsweep.analysis.samples import (
    Done,
    Side,
    chance_of,
    done_trials,
    last_values,
    seeds_to_come,
    sides,
    times_to,
    without_value,
)
from cifarsweep.analysis.verdict import Verdict
from cifarsweep.report.verdict_text import detail
from cifarsweep.spec.hypothesis import Hypothesis
from cifarsweep.spec.metrics import is_loss
from cifarsweep.spec.study import Study
from cifarsweep.spec.types import FINAL_STATES
from cifarsweep.stats import Interval
from cifarsweep.stats.estimate import BySeed
from cifarsweep.stats.evidence import Evidence, best, equivalent, greater, near, not_worse, reaches, sooner, trend
from cifarsweep.stats.multiplicity import Judgement, judge, level_after, level_at, planning_level
from cifarsweep.stats.power import seeds_needed


def verdicts(report: ReportStudy) -> list[Verdict]:
    """A verdict on each hypothesis of the study, in its order, corrected for all of them together.

    The chance that a study has any false verdict is at most 5 %, for all looks that were planned in time. Values of
    different seeds are taken as independent and, unless all are alike, about normal; trials that diverged count at
    chance accuracy. Where no look is complete the numbers are those of the trials that are done, without a verdict.
    """
    done = done_trials(report)
    tests = [(hypothesis, sides(hypothesis, report.study)) for hypothesis in report.study.hypotheses]
    looks = [at_look(_cells(compared), done, report) for _, compared in tests]
    waiting = [look is None for look in looks]
    shown = [done if look is None else look for look in looks]
    found = [evidence(*test, look, report) for test, look in zip(tests, shown, strict=True)]
    tested = [None if waits else one for waits, one in zip(waiting, found, strict=True)]
    judged = judge(tested, [level_at(report.plans, one.estimate.n if one else 0) for one in tested])
    made = []
    for test, look, waits, one, judgement in zip(tests, shown, waiting, found, judged, strict=True):
        bare = _verdict(report, test, one, judgement, preliminary=waits)
        bare = replace(bare, more_seeds=_more_seeds(bare, one, test[1], judged, report))
        words = detail(bare, one, test[1], look, report)
        made.append(replace(bare, detail=words, warning=timing_warning(bare, report) or ""))
    return made


def metrics_needed(study: Study) -> list[str]:
    """The curves without which the hypotheses of the study can't be tested."""
    races = [hypothesis for hypothesis in study.hypotheses if hypothesis.kind == "faster"]
    return sorted({name for race in races for name in (race.metric, race.by) if name != "steps"})


def evidence(hypothesis: Hypothesis, compared: Sequence[Side], done: Done, report: ReportStudy) -> Evidence | None:
    """What speaks for the hypothesis and what against it; None where there is nothing to test it on."""
    if hypothesis.kind == "faster":
        a, b = (times_to(side, done, report, hypothesis) for side in compared)
        return sooner(a, b)
    if hypothesis.kind in ("best", "trend") and not compared[0].alike:
        return None
    if without_value(compared, done, hypothesis.metric):
        return None
    values = [last_values(side, done, hypothesis.metric) for side in compared]
    return _tested(hypothesis, values, chance_of(compared[0], report))


def _tested(hypothesis: Hypothesis, values: Sequence[BySeed], chance: float | None) -> Evidence | None:
    """Of every kind but `faster`, on the values of its sides by seed."""
    # Of a loss, less is better.
    sign = -1 if is_loss(hypothesis.metric) else 1
    match hypothesis.kind:
        case "greater":
            return greater(values[0], values[1], hypothesis.margin)
        case "not_worse":
            return not_worse(values[0], values[1], hypothesis.margin, sign)
        case "equivalent":
            return equivalent(values[0], values[1], hypothesis.margin)
        case "at_chance":
            return near(values[0], chance, hypothesis.margin) if chance is not None else None
        case "reaches":
            return reaches(values[0], hypothesis.target - sign * hypothesis.margin, sign)
        case "best":
            return best(values[0], values[1:], sign)
        case "trend":
            return trend(values, 1 if hypothesis.direction == "rising" else -1)
        case "faster":
            raise AssertionError("times are not values")


def _verdict(
    report: ReportStudy,
    test: tuple[Hypothesis, list[Side]],
    found: Evidence | None,
    judged: Judgement,
    *,
    preliminary: bool,
) -> Verdict:
    hypothesis, compared = test
    estimate, interval = _shown(hypothesis, found)
    cells = _cells(compared)
    return Verdict(
        hypothesis=hypothesis,
        decision=judged.decision,
        estimate=estimate,
        interval=interval,
        effect=found.estimate.effect if found and hypothesis.kind != "faster" else None,
        method=found.estimate.method if found else None,
        signs=found is not None and found.signs,
        p=judged.p,
        corrected=judged.corrected,
        tested=len(report.study.hypotheses),
        looks=max(1, len(report.looks)),
        level=level_at(report.plans, found.estimate.n if found else 0),
        seeds=found.estimate.n if found else 0,
        more_seeds=None,
        cells=cells,
        open_trials=sum(trial.cell in cells and trial.state not in FINAL_STATES for trial in report.trials),
        preliminary=preliminary,
        detail="",
        warning="",
    )


def _cells(compared: Sequence[Side]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for side in compared for name in side.cells))


def _more_seeds(
    verdict: Verdict, found: Evidence | None, compared: Sequence[Side], judged: Sequence[Judgement], report: ReportStudy
) -> int | None:
    """Seeds to add beside those that wait already, at the level of the look that will find them."""
    if found is None or verdict.decision != "undecided":
        return None
    coming = seeds_to_come(compared, report)
    # What is open belongs to the look that is still to be taken.
    enough = seeds_needed(found, planning_level(judged, verdict.level)) if coming else None
    if enough is not None and enough <= found.fewest + coming:
        return 0
    needed = seeds_needed(found, planning_level(judged, level_after(report.plans, found.fewest + coming)))
    return None if needed is None else max(needed - found.fewest - coming, 1)


def _shown(hypothesis: Hypothesis, found: Evidence | None) -> tuple[float | None, Interval | None]:
    """The estimate and its interval; ratios for times, which are known only if every seed was there."""
    if found is None:
        return None, None
    value, interval = found.estimate.value, found.estimate.interval()
    if hypothesis.kind != "faster":
        return value, interval
    if not found.exact:
        return None, None
    if interval is None:
        return math.exp(value), None
    # Few seeds that differ widely give ends that no float holds.
    return math.exp(value), Interval(*(math.exp(min(max(end, -700.0), 700.0)) for end in (interval.low, interval.high)))
