"""Says how often verdicts are false where a noisy cell has few seeds, and what mends it."""

from __future__ import annotations

from cifarsweep.analysis.few_seeds import FewSeeds, PlannedFewSeeds
from cifarsweep.formatting import plural
from cifarsweep.stats.error_rate import MOST_TIMES


def few_seeds_text(few: FewSeeds) -> str:
    """The chance of a false verdict, the cell, the seeds that mend it, and the command that adds them."""
    return (
        "Careful: with spreads as they were measured, the chance of a false verdict in this study is about "
        f"{_percent(few.chance)}, not {_percent(few.promised)}, as {few.cell} has {_beside(few.seeds, few.most)} and "
        f"{few.ratio:.2g} times the spread of what it is compared with{_mended(few)}."
    )


def planned_few_seeds_text(few: PlannedFewSeeds, study: str) -> str:
    """The same before anything is measured, for `create` and `extend`."""
    mended = f"; `cifarsweep extend {study} --seeds {few.needed}` keeps it below {_percent(few.limit)}"
    return (
        f"{_planned_case(few)}, the chance of a false verdict is up to {_percent(few.chance)}, "
        f"not {_percent(few.promised)}{mended if few.needed else ''}"
    )


def _planned_case(few: PlannedFewSeeds) -> str:
    if few.most == few.fewest:
        return f"{plural(few.fewest, 'seed')} a cell: if cells are far noisier than those they are compared with"
    return f"{few.cell} has {_beside(few.fewest, few.most)}: if it is noisier than what it is compared with"


def _beside(seeds: int, most: int) -> str:
    return f"{plural(seeds, 'seed')} beside {most}" if most > seeds else plural(seeds, "seed")


def _mended(few: FewSeeds) -> str:
    if few.needed is None:
        return ""
    mended = f"; with {few.needed} seeds of it that would be below {_percent(few.promised * MOST_TIMES)}"
    if few.lost:
        again = "the one that has no result" if few.lost == 1 else f"the {few.lost} that have no result"
        return f"{mended} (`cifarsweep retry {few.study}` trains {again} again)"
    if few.trials is None:
        return mended
    return f"{mended} (`cifarsweep extend {few.study} --seeds {few.trials}` adds them to all cells, for one more look)"


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"
