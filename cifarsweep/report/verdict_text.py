"""Puts verdicts into words: the means, the finding, how sure it is, or how many seeds are missing.

Computes nothing: a `Verdict` holds every number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from cifarsweep.analysis.results import NamedMean
from cifarsweep.analysis.verdicts import Verdict
from cifarsweep.formatting import mean_text, p_text, plural
from cifarsweep.report.few_seeds_text import few_seeds_text
from cifarsweep.report.hypothesis_text import hypothesis_text, kind_text
from cifarsweep.report.new_images_text import new_images_text
from cifarsweep.report.outcome_text import cells_fell_out_text
from cifarsweep.report.ruled_out import ruled_out
from cifarsweep.spec.hypothesis import moment_of
from cifarsweep.stats import Interval
from cifarsweep.stats.estimate import FEWEST_SEEDS
from cifarsweep.stats.multiplicity import ERROR_RATE
from cifarsweep.stats.power import MOST_SEEDS, POWER


def sentence(verdict: Verdict) -> str:
    """The claim with its numbers, as a complete sentence."""
    lead = "" if verdict.decision == "supported" else f"{verdict.decision.capitalize()}: "
    return f"{lead}{verdict.hypothesis.claim.rstrip('. ')}: {detail(verdict)}"


def sentence_and_warning(verdict: Verdict) -> str:
    """The sentence, followed by the warning, if there is one."""
    return f"{sentence(verdict)} {warning(verdict)}".rstrip()


def warning(verdict: Verdict) -> str:
    """Warnings: times that were measured differently, trials that were trained once, noisy cells of few seeds."""
    few = few_seeds_text(verdict.few_seeds) if verdict.few_seeds else ""
    return " ".join(filter(None, [_unlike_times(verdict), _copies(verdict), few]))


def _unlike_times(verdict: Verdict) -> str:
    unlike = verdict.unlike_times
    if unlike is None:
        return ""
    if unlike.slots is None:
        return f"Careful: these times were measured on different devices ({', '.join(unlike.devices)})."
    fewest, most = unlike.slots
    shared = f"different numbers of trials shared the device ({fewest:.1f} to {most:.1f})"
    return f"Careful: these times were measured while {shared}."


def _copies(verdict: Verdict) -> str:
    copies = verdict.copies
    if copies is None:
        return ""
    which = f"Careful: {copies.count} of the {copies.of} trials that are compared"
    if copies.times:
        have = "has" if copies.count == 1 else "have"
        return (
            f"{which} {have} steps from the same training as another one, and the times of these steps: they were "
            "measured once, and times that are alike for that reason are no evidence."
        )
    are = "is" if copies.count == 1 else "are"
    at = ", up to this moment," if moment_of(verdict.hypothesis) else ""
    return (
        f"{which} {are}{at} the same training as another one, taken over bit for bit: such values are equal by "
        "construction, which is no evidence."
    )


def detail(verdict: Verdict) -> str:
    """The numbers behind the claim, the finding, and how sure it is."""
    outcomes = cells_fell_out_text(verdict.fell_out)
    if verdict.obstacle is not None:
        return f"{'; '.join(filter(None, [outcomes, _obstacle_text(verdict)]))}."
    words = kind_text(verdict.hypothesis)
    parts = [words.numbers(verdict)]
    if verdict.decision != "undecided":
        parts.append(words.findings(verdict)[verdict.decision == "refuted"])
    if not verdict.matched:
        parts.append(words.unmatched(verdict))
    text = f"{_outcomes_first(verdict)}{', '.join(parts)} ({'; '.join(_certainty(verdict))})."
    rest = [_waiting(verdict)] if verdict.preliminary else []
    rest += [ruled_out(verdict), _missing(verdict)] if verdict.decision == "undecided" else []
    rest += [f"F{new_images_text(verdict.new_images)[1:]}."] if verdict.new_images else []
    return " ".join([text, *filter(None, rest)])


def _outcomes_first(verdict: Verdict) -> str:
    """How many runs fell out, before any number of those that trained; empty if none did."""
    if not verdict.fell_out:
        return ""
    some = verdict.hypothesis.kind != "at_chance" and any(not found.every for found in verdict.fell_out.values())
    return f"{cells_fell_out_text(verdict.fell_out)}; {'of the runs that trained, ' if some else ''}"


def hypothesis_view(verdict: Verdict, means: Sequence[NamedMean]) -> dict[str, Any]:
    """A hypothesis, how it is tested, and the means of the cells that it names, for a page."""
    hypothesis = verdict.hypothesis
    test = hypothesis_text(hypothesis)
    if not verdict.matched:
        test += f" Careful: {kind_text(hypothesis).unmatched(verdict)}."
    rows = []
    for named in means:
        missing = "no finite value" if named.done else "no trial is done"
        mean, n = (mean_text(named.value, hypothesis.metric), named.value.n) if named.value else (missing, 0)
        rows.append({"role": named.role, "cell": named.cell, "mean": mean, "n": n})
    return {"claim": hypothesis.claim, "test": test, "metric": kind_text(hypothesis).label, "rows": rows}


def _obstacle_text(verdict: Verdict) -> str:
    metric = kind_text(verdict.hypothesis).metric
    match verdict.obstacle:
        case "no counterparts":
            return kind_text(verdict.hypothesis).unmatched(verdict)
        case "not finite":
            had = "had" if moment_of(verdict.hypothesis) else "ended with"
            return f"{plural(verdict.not_finite, 'trial')} {had} a {metric} that is not finite"
        case "no values":
            return f"not every cell that it needs is done with a {metric}"
        case "none trained":
            return "no run of any cell trained, so that there is nothing to compare"
        case "classes unknown":
            return "what a guess would give on the images is not known here, or not the same in all of its cells"
    return "the cells that it compares have no seed in common"


def _certainty(verdict: Verdict) -> Iterator[str]:
    """The estimate with its interval, the corrected p, the seeds."""
    if verdict.estimate is not None and verdict.seeds > 1:
        yield from _estimate(verdict, verdict.estimate, verdict.interval)
    tests = verdict.seeds >= FEWEST_SEEDS and not verdict.preliminary
    if tests and verdict.floored:
        yield "seeds of a cell closer together than the measurement can tell"
    # Without a test the p is 1 by rule; beside an interval it would read as measured.
    if tests:
        yield _corrected(verdict)
    elif 1 < verdict.seeds < FEWEST_SEEDS:
        yield f"no test with fewer than {FEWEST_SEEDS} seeds"
    yield plural(verdict.seeds, "seed")
    if verdict.open_trials and not verdict.preliminary:
        yield f"{plural(verdict.open_trials, 'trial')} of the next look not finished"


def _estimate(verdict: Verdict, value: float, interval: Interval | None) -> Iterator[str]:
    """The estimate, unless it is one of the means, and its interval, which two seeds do not have."""
    words = kind_text(verdict.hypothesis)
    parts = [text] if (text := words.estimate(value, interval.half if interval else 1.0)) else []
    parts += [f"95 % interval {words.ends(interval, interval.half)}"] if interval else []
    if parts:
        yield ", ".join(parts)


def _corrected(verdict: Verdict) -> str:
    """`p = 0.016 corrected for 3 tests and 2 looks`; of what was refuted, the statement that was shown instead."""
    p = p_text(verdict.corrected)
    if verdict.decision == "refuted":
        p += f" of the test for \N{LEFT DOUBLE QUOTATION MARK}{_shown_instead(verdict)}\N{RIGHT DOUBLE QUOTATION MARK}"
        p += "," if verdict.tested > 1 or verdict.level < ERROR_RATE else ""
    family = [f"{verdict.tested} tests"] if verdict.tested > 1 else []
    family += [f"{verdict.looks} looks"] if verdict.level < ERROR_RATE else []
    return f"{p} corrected for {' and '.join(family)}" if family else p


def _shown_instead(verdict: Verdict) -> str:
    return kind_text(verdict.hypothesis).findings(verdict)[1].removeprefix("which ")


def _waiting(verdict: Verdict) -> str:
    if not verdict.open_trials:
        return "Preliminary: no verdict before the first look that is planned."
    are = "is" if verdict.open_trials == 1 else "are"
    return f"Preliminary: no verdict before all of its trials are finished, and {verdict.open_trials} {are} not."


def _missing(verdict: Verdict) -> str:
    """How many more seeds it takes to decide."""
    if verdict.seeds < 2:
        return f"One seed is never enough: at least {FEWEST_SEEDS}."
    if verdict.more_seeds is None:
        return f"If the truth is as found so far, it takes more than {MOST_SEEDS} seeds."
    low, high = verdict.more_seeds_range or (verdict.more_seeds, None)
    if not verdict.more_seeds:
        more = "no more seeds than those waiting"
    elif low == high:
        more = plural(low, "more seed")
    else:
        more = f"at least {plural(low, 'more seed')}" if high is None else f"{low} to {high} more seeds"
    return f"If the truth is as found so far, it takes {more} to decide it with {100 * POWER:.0f} % chance."
