"""Puts effects of factors into words: how far levels lie apart, and which effects depend on one another.

Computes nothing: `analysis.effects` holds every number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from cifarsweep.analysis.effect_records import Effects, Interaction, MainEffect, NoisyCell
from cifarsweep.formatting import estimate_text, labelled, metric_in_text, p_text, plural
from cifarsweep.spec.levels import level_text, shown_keys
from cifarsweep.spec.metrics import is_loss
from cifarsweep.spec.study import Study
from cifarsweep.stats.error_rate import MOST_TIMES

if TYPE_CHECKING:
    from cifarsweep.analysis.study import StudyAnalysis

#: More cells than this are counted instead of named.
_NAMED = 4
#: Names of factors, by dotted key.
Names = Mapping[str, str]


def factor_names(study: Study) -> Names:
    """A short name of each factor."""
    return shown_keys(study.factors)


@labelled
def effect_lines(analysis: StudyAnalysis) -> list[str]:
    """A sentence for each factor, then on what their effects depend; none for a study without crossed factors."""
    found, names = analysis.effects, factor_names(analysis.study)
    if found is None:
        return []
    return [
        *(main_sentence(main, found, names) for main in found.factors),
        *dependence_sentences(found, names),
        *effect_notes(found, names),
        *filter(None, [interval_text(found)]),
    ]


def main_sentence(main: MainEffect, found: Effects, names: Names) -> str:
    """How far the two levels lie apart that are furthest, and whether the noise explains it."""
    furthest, name = main.furthest, names[main.factor]
    over = "Over the others so far" if found.preliminary else "Over the others"
    if furthest.value == 0:
        return f"{over}, all levels of {name} have the same mean."
    gap = estimate_text(furthest.value, furthest.interval, found.metric, difference=True)
    # What is better comes first.
    first, second, where = (
        (furthest.low, furthest.high, "below") if is_loss(found.metric) else (furthest.high, furthest.low, "above")
    )
    if not (furthest.larger or found.preliminary or found.spread is None):
        within = f"{over}, the levels of {name} differ by no more than the noise explains"
        return f"{within}: {name} {level_text(first)} is {gap} {where} {level_text(second)}."
    depends = [names[other] for other in _depends_on(main.factor, found)]
    more = f"; how much depends on {_listed(depends)}" if depends else ""
    return f"{over}, {name} {level_text(first)} is {gap} {where} {level_text(second)}{more}."


def dependence_sentences(found: Effects, names: Names) -> Iterator[str]:
    """Every interaction that is larger than the noise, surest first, then that the others are not."""
    tested = [pair for pair in found.interactions if pair.corrected is not None]
    larger = sorted((pair for pair in tested if pair.larger), key=lambda pair: pair.test.p if pair.test else 1.0)
    for pair in larger:
        yield dependence_sentence(pair, found, names)
    if len(tested) > len(larger):
        least = min(pair.corrected for pair in tested if pair.corrected is not None and not pair.larger)
        other = "No other effect" if larger else "No effect"
        p = _corrected(p_text(least), len(tested), "smallest ")
        yield f"{other} depends on another factor more than the noise explains ({p})."


def dependence_sentence(pair: Interaction, found: Effects, names: Names) -> str:
    """`The effect of lr depends on skip more than the noise explains: with ...`; for a pair with a corrected p."""
    assert pair.corrected is not None
    p = _corrected(p_text(pair.corrected), sum(one.corrected is not None for one in found.interactions))
    depends = "depends on" if pair.larger else "does not depend on"
    lead = f"The effect of {names[pair.rows]} {depends} {names[pair.columns]} more than the noise explains"
    change = pair.change
    if not pair.larger or change is None:
        return f"{lead} ({p})."
    there, here = (
        f"{estimate_text(abs(gap), None, found.metric, difference=True)} {'above' if gap > 0 else 'below'}"
        for gap in (change.difference_there, change.difference_here)
    )
    column = names[pair.columns]
    return (
        f"{lead}: with {column} {level_text(change.there)}, {names[pair.rows]} {level_text(change.high)} is {there} "
        f"{level_text(change.low)}; with {column} {level_text(change.here)}, {here} ({p})."
    )


def effect_notes(found: Effects, names: Names) -> Iterator[str]:
    """What can't be told, and why."""
    if found.preliminary and found.open_trials:
        are = "is" if found.open_trials == 1 else "are"
        yield f"{plural(found.open_trials, 'trial')} {are} not finished, so nothing is tested yet."
    elif found.preliminary:
        yield "The first look that is planned is not complete, so nothing is tested yet."
    if found.spread is None:
        why = "Every cell has one seed" if found.seeds[1] == 1 else "All seeds of a cell are alike"
        yield f"{why}, so the noise is unknown, and no difference can be told from it."
    elif found.spread.floored:
        yield "Seeds lie closer together than the measurement can tell, so that its own noise counts as their spread."
    if found.noisy:
        yield _noisy_text(found.noisy, found.level)
    if found.untrained:
        which = "; ".join(found.untrained) if len(found.untrained) <= _NAMED else plural(len(found.untrained), "cell")
        yield f"No run of {which} trained; means count the {metric_in_text(found.metric)} that these ended with."
    if found.apart:
        one = "its levels" if len(found.apart) == 1 else "levels of each"
        yield f"Not averaged: {_listed([names[key] for key in found.apart])}, as {one} have no cells otherwise alike."
    left_out = {main.factor: main.left_out for main in found.factors if main.left_out}
    if left_out:
        counts = ", ".join(f"{count} for {names[key]}" for key, count in left_out.items())
        yield f"Cells without a counterpart at every level are left out: {counts}."


def _noisy_text(noisy: NoisyCell, level: float) -> str:
    mended = (
        f"; with {noisy.needed} seeds a cell it would be below {100 * MOST_TIMES * level:.2g} %" if noisy.needed else ""
    )
    return (
        f"Careful: {noisy.cell} has {plural(noisy.seeds, 'seed')} and {noisy.ratio:.2g} times the spread of the other "
        f"cells: with spreads as they were measured, the chance that a dependence is claimed that is not there is "
        f"about {100 * noisy.chance:.2g} %, not {100 * level:.3g} %{mended}."
    )


def interval_text(found: Effects) -> str:
    """What stands behind ±; empty where the noise is unknown."""
    if found.spread is None:
        return ""
    sd = estimate_text(found.spread.sd, None, found.metric, difference=True)
    chance = f"{100 * (1 - found.level):.3g}"
    unlike = (
        f" Cells differ in it more than they do by chance in one study of five (Bartlett's test, "
        f"{p_text(found.spread.alike)}), so each counts with its own."
        if found.spread.unlike and found.spread.alike is not None
        else ""
    )
    return (
        f"± is half of an interval that holds for any two levels of any factor at once, with {chance} % chance; the "
        f"noise is that of seeds within cells (standard deviation {sd}, {found.spread.df} degrees of freedom).{unlike}"
    )


def noise_text(found: Effects) -> str:
    """What the interval of a mean is held against."""
    own = found.spread is not None and found.spread.unlike
    return f"by the noise of {'its own cells' if own else 'all cells that trained'}"


def _depends_on(factor: str, found: Effects) -> list[str]:
    """The factors that the effect of this one depends on, more than the noise explains."""
    pairs = [(pair.rows, pair.columns) for pair in found.interactions if pair.larger]
    return [other for pair in pairs if factor in pair for other in pair if other != factor]


def _corrected(p: str, tests: int, which: str = "") -> str:
    return f"{which}{p} corrected for {tests} pairs" if tests > 1 else p


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
