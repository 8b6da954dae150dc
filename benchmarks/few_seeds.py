"""Noisy cells of few seeds: how often verdicts and effects are false, and how often they say so.

First the chance of a false verdict of two cells, computed for the worst ratio of their spreads; then studies of which
every hypothesis compares such cells: in how many the note stands, which knows no more than the measured spreads. Last
the same of a dependence of two factors.

    python benchmarks/few_seeds.py [--studies 400]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import chain

import numpy as np
from effects import spreads

from cifarsweep.stats.error_rate import MOST_TIMES, error_rate, interaction_error_rate
from cifarsweep.stats.estimate import Sample
from cifarsweep.stats.evidence import Evidence, greater
from cifarsweep.stats.factorial import OwnSpreads, pooled_spread
from cifarsweep.stats.planning import expected

RATIOS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 11.0, 15.0, 25.0)
SEEDS = ((3, 3), (3, 4), (3, 5), (3, 8), (3, 12), (4, 4), (4, 8), (4, 12), (5, 5), (5, 12), (6, 12), (8, 12), (8, 20))
STUDIES = (((3, 3), 1.0), ((3, 3), 5.0), ((3, 12), 0.5), ((3, 12), 1.0), ((3, 12), 2.0), ((3, 12), 5.0), ((5, 12), 2.0))
FAMILIES = (1, 3, 8)
LEVEL = 0.05


def tested(a: list[float], b: list[float], margin: float) -> Evidence:
    found = greater([Sample(tuple(a))], [Sample(tuple(b))], margin)
    assert found is not None
    return found


def times(evidence: Evidence, family: int) -> float:
    return error_rate(evidence, LEVEL / family) * family / LEVEL


def verdicts(studies: int) -> Iterator[str]:
    """How often they are false at the worst ratio, and how often a note says so."""
    yield "| seeds | two-sided, families of 1 / 3 / 8, as if of 5 % | one-sided |"
    yield "|---|---|---|"
    for few, many in SEEDS:
        cells = []
        for margin in (0.0, 1.0):
            pairs = [(expected(0, ratio, few), expected(0, 1, many)) for ratio in RATIOS]
            made = [tested(list(a.values), list(b.values), margin) for a, b in pairs]
            cells.append(" / ".join(f"{100 * LEVEL * max(times(one, m) for one in made):.1f}" for m in FAMILIES))
        yield f"| {few}, {many} | {' | '.join(cells)} |"
    yield f"\n| seeds, ratio of spreads | told, of {studies} studies with 1 / 3 / 8 hypotheses, % |"
    yield "|---|---|"
    rng = np.random.default_rng(1)
    for (few, many), ratio in STUDIES:
        told = []
        for family in FAMILIES:
            made = [
                np.mean(
                    [
                        max(times(tested(rng.normal(0, ratio, few), rng.normal(0, 1, many), 0.0), family), 1)
                        for _ in range(family)
                    ]
                )
                for _ in range(studies)
            ]
            told.append(f"{100 * np.mean(np.array(made) > MOST_TIMES):.0f}")
        yield f"| {few}, {many}; {ratio:g} | {' / '.join(told)} |"


def dependences(studies: int) -> Iterator[str]:
    """The chance that a dependence is found that is not there, by true spreads, and how often a note says so."""
    yield "\n| cells | spreads | false, by true spreads, % | told, % |"
    yield "|---|---|---|---|"
    rng = np.random.default_rng(3)
    for rows, columns, seeds in ((2, 2, 3), (3, 4, 2), (3, 4, 3), (3, 4, 5), (3, 4, 10), (5, 5, 3)):
        for world in ("equal", "one cell x 5", "one level x 5", "half x 3"):
            sd, df = spreads(world, rows, columns), np.full((rows, columns), seeds - 1.0)
            told = 0
            for _ in range(studies):
                values = rng.normal(0, 1, (rows, columns, seeds)) * sd[..., None]
                spread = pooled_spread(values.reshape(-1, seeds).tolist(), [0.0] * sd.size)
                if spread is not None and spread.unlike:
                    own = OwnSpreads(values.var(axis=-1, ddof=1) / seeds, df)
                    told += interaction_error_rate(own, LEVEL) > MOST_TIMES * LEVEL
            false = interaction_error_rate(OwnSpreads(sd**2 / seeds, df), LEVEL)
            yield f"| {rows} x {columns}, {seeds} seeds | {world} | {100 * false:.1f} | {100 * told / studies:.0f} |"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=400)
    studies = parser.parse_args().studies
    for line in chain(verdicts(studies), dependences(studies)):
        print(line, flush=True)


if __name__ == "__main__":
    main()
