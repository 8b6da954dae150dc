"""Says of effects of factors that a noisy cell makes false claims more frequent, and how many seeds mend that."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from cifarsweep.analysis.effect_records import NoisyCell
from cifarsweep.stats.error_rate import MOST_TIMES, interaction_error_rate
from cifarsweep.stats.factorial import FTest, OwnSpreads

#: Numbers of seeds that are tried.
_SEEDS = (3, 4, 5, 6, 8, 10, 12, 16, 20, 30)


def noisy_cell(tests: Sequence[FTest], cells: Mapping[str, tuple[float, int]], level: float) -> NoisyCell | None:
    """Return the noisiest cell where false claims are materially more frequent than the level; `cells` with variances.

    None where cells have one spread. The claims of all tests together count, as after Holm's first step.
    """
    own = [test.own for test in tests if test.own is not None]
    chance = _chance(own, 1.0, level, len(tests))
    if chance <= level * MOST_TIMES:
        return None
    name = max(cells, key=lambda cell: cells[cell][0] / cells[cell][1])
    variance, seeds = cells[name]
    others = [one for cell, (one, _) in cells.items() if cell != name]
    wanted = (n for n in _SEEDS if n > seeds)
    needed = next((n for n in wanted if _chance(own, n / seeds, level, len(tests)) <= level * MOST_TIMES), None)
    return NoisyCell(name, seeds, math.sqrt(variance * len(others) / sum(others)), chance, needed)


def _chance(own: Sequence[OwnSpreads], times: float, level: float, count: int) -> float:
    """The chance of any false claim with so many times the seeds; degrees of freedom of a mean grow with its seeds."""
    if not own:
        return 0.0
    grown = [OwnSpreads(one.variances / times, one.df * times + (times - 1)) for one in own] if times != 1 else own
    share = level / count
    return level + sum(max(interaction_error_rate(one, share) - share, 0.0) for one in grown)
