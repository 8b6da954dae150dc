"""How often effects of factors are claimed that are not there, where cells differ in their spread and where not.

Studies whose factors do nothing, as `analysis.effects` examines them: a false claim is an interaction at 5 %, or two
levels of any factor whose simultaneous interval leaves 0 out. `pooled` holds them against one spread of all cells,
`chosen` against those of the cells where Bartlett's test is below `UNLIKE`.

    python benchmarks/effects.py --studies 4000
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from itertools import combinations

import numpy as np

from cifarsweep.stats.estimate import satterthwaite
from cifarsweep.stats.factorial import Spread, interaction, interval, pooled_spread, unlike_interaction
from cifarsweep.stats.summary import Floats, Interval

#: Rows, columns, seeds a cell.
DESIGNS = ((2, 2, 3), (2, 2, 5), (3, 4, 2), (3, 4, 3), (3, 4, 5), (3, 4, 10), (5, 5, 3))
LEVEL = 0.05


def spreads(world: str, rows: int, columns: int) -> Floats:
    """The standard deviation of each cell."""
    sd = np.ones((rows, columns))
    if world == "one cell x 5":
        sd[0, 0] = 5
    elif world == "one level x 5":
        sd[0] = 5
    elif world == "half x 3":
        sd[:, : columns // 2] = 3
    return sd


WORLDS = ("equal", "one cell x 5", "one level x 5", "half x 3")


def main() -> None:
    """Print a row for each world and design."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=4000)
    studies = parser.parse_args().studies
    print(f"false claims in {studies:,} studies, in %: interactions, levels; pooled, chosen; how often it was unlike")
    for world in WORLDS:
        for rows, columns, seeds in DESIGNS:
            rng = np.random.default_rng([rows, columns, seeds])
            sd = spreads(world, rows, columns)[..., None]
            found = [claims(rng.normal(0, 1, (rows, columns, seeds)) * sd) for _ in range(studies)]
            shares = " ".join(f"{100 * share:5.1f}" for share in np.mean(found, axis=0))
            print(f"{world:14} {rows} x {columns}, {seeds:2} seeds  {shares}")


def claims(values: Floats) -> tuple[bool, bool, bool, bool, bool]:
    """Of a study (rows, columns, seeds): false interaction, pooled and chosen; false levels, so too; whether unlike."""
    spread = pooled_spread([cell.tolist() for row in values for cell in row], [0.0] * values[..., 0].size)
    assert spread is not None
    together = Spread(spread.sd, spread.df)
    pooled = interacts(values, together), levels_differ(values, together)
    own = (interacts(values, spread), levels_differ(values, spread)) if spread.unlike else pooled
    return pooled[0], own[0], pooled[1], own[1], spread.unlike


def interacts(values: Floats, spread: Spread) -> bool:
    means, seeds = values.mean(axis=-1), values.shape[-1]
    if spread.unlike:
        variances = values.var(axis=-1, ddof=1) / seeds
        test = unlike_interaction(means, variances, np.full(means.shape, seeds - 1.0))
    else:
        test = interaction(means, np.full(means.shape, 1 / seeds), spread)
    return test is not None and test.p <= LEVEL


def levels_differ(values: Floats, spread: Spread) -> bool:
    """Whether any two levels of any factor do."""
    comparisons = sum(math.comb(levels, 2) for levels in values.shape[:2])
    return any(
        not one.low <= 0 <= one.high
        for axis in (values, values.swapaxes(0, 1))
        for one in gaps(axis, spread, LEVEL / comparisons)
    )


def gaps(values: Floats, spread: Spread, chance: float) -> Iterator[Interval]:
    """The intervals of all differences between two levels of the first axis."""
    _, others, seeds = values.shape
    means = values.mean(axis=(1, 2))
    parts = values.var(axis=-1, ddof=1) / seeds / others**2
    for one, other in combinations(range(len(values)), 2):
        error, df = spread.sd * math.sqrt(2 / seeds / others), float(spread.df)
        if spread.unlike:
            error, df = map(float, satterthwaite([*parts[one], *parts[other]], [seeds] * 2 * others))
        yield interval(float(means[one] - means[other]), error, df, chance)


if __name__ == "__main__":
    main()
