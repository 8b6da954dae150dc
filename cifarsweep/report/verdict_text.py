"""Verdicts in words: the means that were compared, what follows, how sure that is, or how many seeds are missing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from cifarsweep.analysis.confounds import unlike_times
from cifarsweep.analysis.records import ReportStudy
from cifarsweep.analysis.samples import (
    Done,
    Side,
    chance_of,
    last_values,
    tested,
    tested_values,
    times_to,
    trials_by_seed,
    without_value,
)
from cifarsweep.analysis.verdict import Verdict
from cifarsweep.formatting import (
    margin_text,
    mean_text,
    metric_label,
    plural,
    share_text,
    signed_text,
    target_text,
    value_text,
)
from cifarsweep.spec.hypothesis import Faster, Hypothesis, Reaches
from cifarsweep.spec.metrics import VAL_ACCURACY, is_loss
from cifarsweep.stats import Interval, summary
from cifarsweep.stats.estimate import FEWEST_SEEDS, difference
from cifarsweep.stats.evidence import Evidence, Reached
from cifarsweep.stats.multiplicity import ERROR_RATE
from cifarsweep.stats.power import MOST_SEEDS, POWER

_NO_MORE = "no more seeds than those waiting"
_POWER = f"{100 * POWER:.0f} %"
_AXES = {"steps": "steps", "epoch": "epochs", "elapsed_s": "training time"}


def detail(verdict: Verdict, found: Evidence | None, compared: Sequence[Side], done: Done, report: ReportStudy) -> str:
    """What stands behind the claim: numbers, the finding, its certainty."""
    if found is None:
        return f"{_why_not(verdict.hypothesis, compared, done, report)}."
    parts = [_numbers(verdict, found, compared, done, report), _finding(verdict, found, compared, report)]
    parts.append(unlike_text(verdict.hypothesis, compared))
    parts += [share] if (share := _share_of_time(verdict.hypothesis, compared, done)) else []
    text = f"{', '.join(part for part in parts if part)} ({'; '.join(_certainty(verdict, found))})."
    rest = [_waiting(verdict)] if verdict.preliminary else []
    rest += [_missing(verdict, found)] if verdict.decision == "undecided" else []
    return " ".join([text, *rest])


def _why_not(hypothesis: Hypothesis, compared: Sequence[Side], done: Done, report: ReportStudy) -> str:
    """Why there is nothing to test it on."""
    if hypothesis.kind in ("best", "trend") and (unlike := unlike_text(hypothesis, compared)):
        return unlike
    lost = without_value(compared, done, hypothesis.metric) if hypothesis.kind != "faster" else 0
    if lost:
        return f"{plural(lost, 'trial')} ended with a {metric_label(hypothesis.metric).lower()} that is not finite"
    if any(not last_values(side, done, hypothesis.metric) for side in compared):
        return f"not every cell that it needs is done with a {metric_label(hypothesis.metric).lower()}"
    if hypothesis.kind == "at_chance" and chance_of(compared[0], report) is None:
        return "how many classes the images have is not known on this machine"
    return "the cells that it compares have no seed in common"


def _numbers(verdict: Verdict, found: Evidence, compared: Sequence[Side], done: Done, report: ReportStudy) -> str:
    """The means of what is compared, each with half of its 95 % interval."""
    hypothesis = verdict.hypothesis
    if hypothesis.kind == "faster":
        target = target_text(hypothesis.target, hypothesis.metric)
        if hypothesis.metric != VAL_ACCURACY:
            target = f"{metric_label(hypothesis.metric).lower()} {target}"
        if verdict.estimate is None:
            return f"{target} was reached by {_reached(*_times(hypothesis, compared, done, report))}"
        of = "of" if verdict.estimate < 1 else "times"
        return f"{target} after {share_text(verdict.estimate)} {of} the {_AXES[hypothesis.by]}"
    shown = [compared[0], compared[1 + found.weakest]] if hypothesis.kind == "best" else compared
    texts = []
    for side, values in zip(shown, tested_values(shown, done, hypothesis.metric), strict=True):
        text = mean_text(summary(list(values.values())), hypothesis.metric) if values else "nothing"
        texts.append(f"{text} at {side.label}" if hypothesis.kind in ("best", "trend") else text)
    if hypothesis.metric != VAL_ACCURACY:
        texts[0] = f"{metric_label(hypothesis.metric).lower()} {texts[0]}"
    if hypothesis.kind == "at_chance" and (diverged := _diverged(compared[0], done)):
        texts.append(diverged)
    return (", " if hypothesis.kind in ("trend", "at_chance") else " against ").join(texts)


def _diverged(side: Side, done: Done) -> str:
    """`3 of 3 diverged`, or nothing where none did."""
    trials = [trial for group in trials_by_seed(side, done).values() for trial in group]
    count = sum(trial.diverged for trial in trials)
    return f"{count} of {len(trials)} diverged" if count else ""


def _times(hypothesis: Faster, compared: Sequence[Side], done: Done, report: ReportStudy) -> list[list[Reached]]:
    return [list(side.values()) for side in tested(*(times_to(side, done, report, hypothesis) for side in compared))]


def _reached(a: Sequence[Reached], b: Sequence[Reached]) -> str:
    """`6 of 6 seeds against 0 of 6`."""
    there, others = (sum(one.reached for one in side) for side in (a, b))
    return f"{there} of {plural(len(a), 'seed')} against {others} of {len(b)}"


def unlike_text(hypothesis: Hypothesis, compared: Sequence[Side]) -> str:
    """What is unfair about a comparison of cells that have no counterpart; empty where they have."""
    if compared[0].alike:
        return ""
    if hypothesis.kind == "best" or hypothesis.kind == "trend":
        return f"no cells of the levels differ in {hypothesis.factor} alone, so that there is nothing fair to compare"
    a, b = (
        f"the mean of {plural(len(side.cells), what)}" if len(side.cells) > 1 else f"one {what}"
        for side, what in zip(compared, ("cell", "other"), strict=True)
    )
    return f"{a} against {b}, which differ in more than the claim names"


def _finding(verdict: Verdict, found: Evidence, compared: Sequence[Side], report: ReportStudy) -> str:
    if verdict.decision == "undecided":
        return ""
    return _findings(verdict.hypothesis, found, compared, report)[verdict.decision == "refuted"]


def _findings(
    hypothesis: Hypothesis, found: Evidence, compared: Sequence[Side], report: ReportStudy
) -> tuple[str, str]:
    """What is said of a claim that is supported, and of one that is refuted."""
    margin = margin_text(getattr(hypothesis, "margin", 0.0), hypothesis.metric)
    match hypothesis.kind:
        case "greater" if hypothesis.margin:
            return f"above by more than {margin}", f"not above by more than {margin}"
        case "greater":
            return "above", "below"
        case "not_worse":
            return f"not worse by more than {margin}", f"worse by more than {margin}"
        case "equivalent":
            return f"equivalent within {margin}", f"more than {margin} apart"
        case "at_chance":
            guess = f"a guess, {value_text(chance_of(compared[0], report) or 0.0, hypothesis.metric)}"
            return f"within {margin} of {guess}", f"more than {margin} away from {guess}"
        case "reaches":
            goal = _goal_text(hypothesis)
            return f"which reaches {goal}", f"which does not reach {goal}"
        case "faster":
            return "sooner", "later"
        case "best":
            top, behind = ("lowest", "above") if is_loss(hypothesis.metric) else ("highest", "below")
            return f"the {top} of {len(compared)} levels", f"{behind} {compared[1 + found.weakest].label}"
        case "trend":
            other = {"rising": "falling", "falling": "rising"}[hypothesis.direction]
            return f"on average {hypothesis.direction} along these levels", f"on average {other} along these levels"


def _goal_text(hypothesis: Reaches) -> str:
    """What is to be reached: the target, or `85.0 %, which is 90.0 % less 5 points`."""
    target = target_text(hypothesis.target, hypothesis.metric)
    if not hypothesis.margin:
        return target
    sign, word = (1, "plus") if is_loss(hypothesis.metric) else (-1, "less")
    goal = target_text(hypothesis.target + sign * hypothesis.margin, hypothesis.metric)
    return f"{goal}, which is {target} {word} {margin_text(hypothesis.margin, hypothesis.metric)}"


def _share_of_time(hypothesis: Hypothesis, compared: Sequence[Side], done: Done) -> str:
    """`in 0.31 of the time`, where both sides were measured alike and it is surely another; empty elsewhere."""
    if hypothesis.kind not in ("greater", "not_worse", "equivalent"):
        return ""
    trials = [one for side in compared for group in trials_by_seed(side, done).values() for one in group]
    estimate = difference(*(_log_times(side, done) for side in compared))
    if estimate is None or estimate.n < FEWEST_SEEDS or unlike_times(trials):
        return ""
    interval, ratio = estimate.interval(), math.exp(estimate.value)
    # Of times without any spread nobody has to doubt the order; they are made up, or counted in whole seconds.
    surely = interval is None or interval.low > 0 or interval.high < 0
    if not surely or 0.95 < ratio < 1.05:
        return ""
    return f"in {share_text(ratio)} {'of' if ratio < 1 else 'times'} the time"


def _log_times(side: Side, done: Done) -> dict[int, float]:
    """The logarithm of the training time, by seed: the mean over the cells.

    Trials that diverged or were pruned ended early, so that their times are of something else.
    """
    found = {}
    for seed, trials in trials_by_seed(side, done).items():
        times = [one.elapsed_s for one in trials if one.elapsed_s and one.trained]
        if len(times) == len(trials):
            found[seed] = sum(map(math.log, times)) / len(times)
    return found


def _certainty(verdict: Verdict, found: Evidence) -> Iterator[str]:
    """The estimate with its interval, the corrected p, the seeds."""
    alike = found.estimate.alike and verdict.seeds >= FEWEST_SEEDS
    if verdict.estimate is not None and (verdict.interval is not None or alike):
        yield from _estimate(verdict, verdict.estimate, verdict.interval)
    tests = verdict.seeds >= FEWEST_SEEDS and not verdict.preliminary
    if tests and not found.statements:
        yield "a sign test of which came first"
    elif alike:
        decides = ", so a sign test decides" if tests else ""
        yield f"all {plural(verdict.seeds, 'pair' if verdict.method == 'paired' else 'seed')} alike{decides}"
    # Where nothing is tested the p is 1 by rule, which beside an interval would read as measured.
    if tests:
        yield _corrected(verdict)
    elif 1 < verdict.seeds < FEWEST_SEEDS:
        yield f"no test with fewer than {FEWEST_SEEDS} seeds"
    pairs = "paired " if verdict.method == "paired" else ""
    yield plural(verdict.seeds, f"{pairs}seed")
    if verdict.open_trials and not verdict.preliminary:
        yield f"{plural(verdict.open_trials, 'trial')} of the next look not finished"


def _corrected(verdict: Verdict) -> str:
    """`p = 0.016 corrected for 3 hypotheses and 2 looks`."""
    p = "p < 0.001" if verdict.corrected < 0.001 else f"p = {verdict.corrected:.2g}"
    family = [f"{verdict.tested} hypotheses"] if verdict.tested > 1 else []
    family += [f"{verdict.looks} looks"] if verdict.level < ERROR_RATE else []
    return f"{p} corrected for {' and '.join(family)}" if family else p


def _estimate(verdict: Verdict, value: float, interval: Interval | None) -> Iterator[str]:
    """The estimate, where it is none of the means, with its interval, where there is a spread."""
    metric, half = verdict.hypothesis.metric, interval.half if interval else 0.0
    ends = (interval.low, interval.high) if interval else ()
    match verdict.hypothesis.kind:
        case "faster":
            parts, texts = [f"ratio {share_text(value)}"], [share_text(end) for end in ends]
        case "at_chance" | "reaches":
            parts, texts = [], [value_text(end, metric, half) for end in ends]
        case kind:
            name = "rise per level" if kind == "trend" else "difference"
            parts = [f"{name} {signed_text(value, half, metric)}"]
            texts = [signed_text(end, half, metric, unit=False) for end in ends]
    if parts := [*parts, *([f"95 % interval {' to '.join(texts)}"] if texts else [])]:
        yield ", ".join(parts)


def _waiting(verdict: Verdict) -> str:
    if not verdict.open_trials:
        return "Preliminary: no verdict before the first look that is planned."
    are = "is" if verdict.open_trials == 1 else "are"
    return f"Preliminary: no verdict before all of its trials are finished, and {verdict.open_trials} {are} not."


def _missing(verdict: Verdict, found: Evidence) -> str:
    """How many more seeds an undecided hypothesis takes."""
    if verdict.seeds < 2:
        return f"One seed is never enough: at least {FEWEST_SEEDS}."
    if not found.statements and found.support == found.refute == 1:
        return "No seed tells which side is first; more of them help only where some reach the target."
    if verdict.more_seeds is None:
        return f"If the truth is as found so far, it takes more than {MOST_SEEDS} seeds."
    more = f"about {plural(verdict.more_seeds, 'more seed')}" if verdict.more_seeds else _NO_MORE
    return f"If the truth is as found so far, it takes {more} to decide it with {_POWER} chance."
