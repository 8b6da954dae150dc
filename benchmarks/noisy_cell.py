"""Tests of two cells whose spreads differ: how often each is wrong, and what it finds.

All of them divide the difference of two means by Welch's standard error, and differ in how far it must lie from 0:

- `Welch`: as verdicts do, by Satterthwaite's degrees of freedom;
- `0.9 df`, `0.75 df`: a tenth, or a quarter, of these less;
- `bound of df`: the fewest that a 40 % interval of the ratio of the variances allows;
- `n - 1`: those of the smaller cell alone, which is never wrong too often;
- `best`: among all limits that depend on the measured share of one cell in the variance, the ones that find most where
  spreads are alike and are wrong in at most 5.05 % (of the level) for any ratio of spreads; found numerically.

Rates are integrals over both sample variances, by a Sobol sequence; the mean given these is normal. A permutation test
has 20 splits of 3 + 3 runs, so a two-sided p of 0.1 at the least: it finds nothing at 5 %.

    python benchmarks/noisy_cell.py [--points 32768]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats
from scipy.special import ndtr, stdtrit

Floats = npt.NDArray[np.float64]
#: From the share of the first cell in the squared standard error, (draws,), to the limit of |t|.
Limit = Callable[[Floats], Floats]
#: Ratios of the spread of the first cell to that of the second one.
RATIOS = (1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 11.0, 15.0, 25.0)
SEEDS, FAMILIES = ((3, 3), (5, 5), (8, 8), (3, 12)), (1, 3, 8)
#: Distances that are to be found, in standard errors beyond the limit of a normal test.
LEADS = (0.8, 1.8)
#: Where `best` may differ from Welch's limit: this far from equal shares.
_KNOTS = np.array([0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.96, 1.0])


@dataclass(frozen=True)
class Draws:
    """Measured variances of two cells, by ratio of their true spreads."""

    seeds: tuple[int, int]
    shares: tuple[Floats, ...]
    """Of the first cell in the squared standard error."""
    errors: tuple[Floats, ...]
    """The measured standard error over the true one."""

    @classmethod
    def of(cls, seeds: tuple[int, int], points: int) -> Draws:
        uniform = stats.qmc.Sobol(2, seed=1).random(points).T
        first, second = (stats.chi2.ppf(one, n - 1) / (n - 1) / n for one, n in zip(uniform, seeds, strict=True))
        totals = [ratio**2 * first + second for ratio in RATIOS]
        true = [ratio**2 / seeds[0] + 1 / seeds[1] for ratio in RATIOS]
        shares = tuple(ratio**2 * first / total for ratio, total in zip(RATIOS, totals, strict=True))
        return cls(seeds, shares, tuple(np.sqrt(a / b) for a, b in zip(totals, true, strict=True)))

    def rate(self, limit: Limit, place: int, lead: float = 0.0) -> float:
        """How often 0 is ruled out, at one of the ratios, where the truth is `lead` standard errors away from it."""
        far = limit(self.shares[place]) * self.errors[place]
        return float(np.mean(ndtr(lead - far) + ndtr(-lead - far)))

    def worst(self, limit: Limit) -> float:
        """The highest rate of false findings at any ratio."""
        return max(self.rate(limit, place) for place in range(len(RATIOS)))


def degrees(share: Floats, seeds: tuple[int, int]) -> Floats:
    """Satterthwaite's degrees of freedom."""
    return np.asarray(1 / (share**2 / (seeds[0] - 1) + (1 - share) ** 2 / (seeds[1] - 1)))


def limits(seeds: tuple[int, int], level: float) -> dict[str, Limit]:
    """The tests by name, but for `best`."""

    def of(df: Callable[[Floats], Floats]) -> Limit:
        return lambda share: np.asarray(stdtrit(df(share), 1 - level / 2))

    def bound(share: Floats) -> Floats:
        ratio, f = share / (1 - share), (seeds[0] - 1, seeds[1] - 1)
        ends = [ratio / stats.f.ppf(chance, *f) for chance in (0.3, 0.7)]
        return np.minimum(*(degrees(end / (1 + end), seeds) for end in ends))

    few = min(seeds) - 1.0
    return {
        "Welch": of(lambda share: degrees(share, seeds)),
        "0.9 df": of(lambda share: 0.9 * degrees(share, seeds)),
        "0.75 df": of(lambda share: 0.75 * degrees(share, seeds)),
        "bound of df": of(bound),
        "n - 1": of(lambda share: np.full_like(share, few)),
    }


def best(draws: Draws, level: float) -> Limit:
    """The limits that find most where spreads are alike and hold the level for every ratio; for as many seeds each."""
    welch = limits(draws.seeds, level)["Welch"]

    def limit(raised: Floats) -> Limit:
        return lambda share: welch(share) * np.exp(np.interp(abs(2 * share - 1), _KNOTS, np.append(raised, 0)))

    found = optimize.minimize(
        lambda raised: -sum(power(draws, limit(raised), level)),
        np.full(len(_KNOTS) - 1, 0.05),
        method="SLSQP",
        bounds=[(-0.3, 1.0)] * (len(_KNOTS) - 1),
        constraints={
            "type": "ineq",
            "fun": lambda raised: [
                100 * (1.01 * level - draws.rate(limit(raised), place)) for place in range(len(RATIOS))
            ],
        },
        options={"maxiter": 60},
    )
    return limit(found.x)


def power(draws: Draws, limit: Limit, level: float) -> list[float]:
    """What is found of each of `LEADS` where spreads are alike."""
    return [draws.rate(limit, 0, float(stats.norm.ppf(1 - level / 2)) + lead) for lead in LEADS]


def tables(points: int) -> Iterator[str]:
    """The lines of the table."""
    yield "| seeds | level | test | wrong at the worst ratio, as if of 5 % | found, alike spreads, % |"
    yield "|---|---|---|---|---|"
    for seeds in SEEDS:
        draws = Draws.of(seeds, points)
        for family in FAMILIES:
            level = 0.05 / family
            tests = limits(seeds, level)
            if seeds[0] == seeds[1] and family < 8:
                tests["best"] = best(draws, level)
            for name, limit in tests.items():
                found = " / ".join(f"{100 * each:.0f}" for each in power(draws, limit, level))
                wrong = 5 * draws.worst(limit) / level
                yield f"| {seeds[0]}, {seeds[1]} | 5 %/{family} | {name} | {wrong:.1f} | {found} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=2**15, help="a power of 2")
    for line in tables(parser.parse_args().points):
        print(line, flush=True)


if __name__ == "__main__":
    main()
