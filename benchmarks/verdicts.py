"""False verdicts and power of the tests behind verdicts, simulated: ours beside pairs of seeds, as it was before.

Values are in points of accuracy, with a spread over seeds of 0.3. "Before" is a two-sided paired t test, a sign test
where seeds are alike, equal shares of 5 % for looks, and runs that fell out as values.

    python benchmarks/verdicts.py [--studies 4000] [--processes 1]
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr
from verdict_worlds import SD, STEPS, WORLDS, Floats, normal, one_in_ten_falls_out

from cifarsweep.analysis.samples import sides
from cifarsweep.spec.hypothesis import Hypothesis
from cifarsweep.spec.reader import read_study, shipped
from cifarsweep.spec.study import Study
from cifarsweep.stats.estimate import FEWEST_SEEDS, satterthwaite
from cifarsweep.stats.multiplicity import ERROR_RATE, levels

IMAGES = 10_000
#: A run that does not train is so many points below the others.
FALL = 80.0
SEEDS, FAMILIES, LOOKS = (3, 5, 8, 12), (1, 3, 8), (3, 6, 12)


@dataclass(frozen=True)
class Kind:
    """A hypothesis: all statements (weights of the cells, threshold, sign) must hold."""

    name: str
    statements: tuple[tuple[tuple[float, ...], float, int], ...]
    truth: tuple[float, ...]
    """The means of its cells, at the edge of what it says."""
    sides: int = 1
    """2 if refutation claims as much as support does."""
    ways: int = 1

    @property
    def cells(self) -> int:
        return len(self.truth)


KINDS = (
    Kind("above", (((1, -1), 0.0, 1),), (0, 0), sides=2),
    Kind("above by a margin, not worse", (((1, -1), 1.0, 1),), (1, 0)),
    Kind("equivalent", (((1, -1), -1.0, 1), ((1, -1), 1.0, -1)), (1, 0)),
    Kind("best of 3", (((1, -1, 0), 0.0, 1), ((1, 0, -1), 0.0, 1)), (0, 0, 0), sides=2, ways=2),
    Kind("trend of 4", (((-0.3, -0.1, 0.1, 0.3), 0.0, 1),), (0, 0, 0, 0), sides=2),
    Kind("reaches", (((1,), 0.0, 1),), (0,)),
)


def ours(values: Floats, weights: Sequence[float], floor: float) -> tuple[Floats, Floats, Floats]:
    """Value, standard error and degrees of freedom of a contrast, (studies, hypotheses)."""
    used = np.array(weights) != 0
    kept, by = values[:, :, used], np.array(weights)[used]
    n = np.isfinite(kept).sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.nansum(kept, axis=-1) / n
        squares = np.nansum((kept - means[..., None]) ** 2, axis=-1) / (n - 1)
        error, df = satterthwaite(by**2 * np.maximum(squares, floor) / n, n)
    few = n.min(axis=-1) < FEWEST_SEEDS
    return means @ by, np.where(few, np.inf, error), np.where(few, 1.0, df)


def paired(values: Floats, weights: Sequence[float], _: float) -> tuple[Floats, Floats, Floats]:
    """The same from one contrast a seed; without any spread, a p of signs stands in the place of the error."""
    fallen = np.where(np.isnan(values), -FALL, values)
    each = np.einsum("smcn,c->smn", fallen, weights)
    n = each.shape[-1]
    sd = each.std(axis=-1, ddof=1)
    return each.mean(axis=-1), np.where(sd < 1e-9, -(0.5**n), sd / np.sqrt(n)), np.full(sd.shape, n - 1.0)


def shown(found: tuple[Floats, Floats, Floats], threshold: float, sign: int) -> Floats:
    """The one-sided p that the value lies above the threshold, or below it."""
    value, error, df = found
    lead = sign * (value - threshold)
    lead[abs(lead) < 1e-9] = 0
    with np.errstate(invalid="ignore"):
        p = np.where(np.isinf(error), 1.0, stdtr(df, -lead / np.abs(error)))
    return np.where(error < 0, np.where(lead > 0, -error, 1.0), p)


def decided(kind: Kind, values: Floats, level: float, *, before: bool, floor: float) -> npt.NDArray[np.int8]:
    """1 for supported, -1 for refuted, 0 for undecided, (studies, hypotheses); one family a study (Holm)."""
    estimate = paired if before else ours
    found = [(estimate(values, weights, floor), threshold, sign) for weights, threshold, sign in kind.statements]
    support = np.max([shown(one, threshold, sign) for one, threshold, sign in found], axis=0)
    refute = kind.ways * np.min([shown(one, threshold, -sign) for one, threshold, sign in found], axis=0)
    p = (2 if before else kind.sides) * np.minimum(support, refute)
    return np.where(holm(p, level), np.where(support < refute, 1, -1), 0).astype(np.int8)


def holm(p: Floats, level: float) -> npt.NDArray[np.bool_]:
    order = np.argsort(p, axis=1)
    small = np.take_along_axis(p, order, axis=1) <= level / np.arange(p.shape[1], 0, -1)
    rejected = np.empty_like(small)
    np.put_along_axis(rejected, order, np.logical_and.accumulate(small, axis=1), axis=1)
    return rejected


def floor_of(world: Callable[..., Floats]) -> float:
    return float(STEPS.get(world, 100 / IMAGES) ** 2 / 12)


def drawn(
    kind: Kind, world: Callable[..., Floats], family: int, seeds: int, studies: int, lead: Sequence[float] = ()
) -> Floats:
    """Values of studies whose hypotheses are at their edge, but for the first ones, which hold by their `lead`."""
    key = zlib.crc32(f"{kind.name} {world.__name__} {family} {seeds} {lead}".encode())
    values = world(np.random.default_rng(key), (studies, family, kind.cells, seeds))
    values += np.array(kind.truth)[:, None]
    for place, points in enumerate(lead):
        values[:, place, 0] += points
    return values


def false_rate(
    kind: Kind,
    world: Callable[..., Floats],
    family: int,
    seeds: int,
    studies: int,
    *,
    before: bool,
    looks: Sequence[int] = (),
) -> float:
    """The share of studies with any false verdict, at any of the looks.

    Where support and refutation are complementary, one of them is false at the edge: the more frequent one counts.
    """
    values = drawn(kind, world, family, seeds, studies)
    if before and world is one_in_ten_falls_out and kind.cells == 1:
        values += 0.1 * FALL  # so that the mean of all runs is at the edge
    plan = levels((tuple(looks),)) if looks else {seeds: ERROR_RATE}
    up, down = np.zeros((2, studies), bool)
    for look, level in plan.items():
        share = ERROR_RATE / len(plan) if before else level
        found = decided(kind, values[..., :look], share, before=before, floor=floor_of(world))
        up |= (found > 0).any(axis=1)
        down |= (found < 0).any(axis=1)
    if kind.sides == 2:
        return float((up | down).mean())
    return float(up.mean()) if len(kind.statements) == 2 else float(max(up.mean(), down.mean()))


def power(
    kind: Kind, lead: Sequence[float], seeds: int, studies: int, world: Callable[..., Floats] = normal, *, before: bool
) -> float:
    """The share that is supported of the hypotheses that hold."""
    values = drawn(kind, world, 3, seeds, studies, lead)
    found = decided(kind, values, ERROR_RATE, before=before, floor=floor_of(world))
    return float((found[:, : len(lead)] > 0).mean())


def modelled(hypothesis: Hypothesis, study: Study) -> tuple[Kind, float, float]:
    """A shipped hypothesis with plausible means, in points, its spread, and the step of its values.

    What is claimed holds: by a point, by twice the margin that is asked for, to equality for `equivalent` and
    `not_worse`, just the target for `reaches`; nets that do not train guess all alike; a faster one takes 0.7 of ten
    epochs, with a spread of 0.05 of its logarithm. Levels of `best` are a point apart.
    """
    cells = [len(side.cells) for side in sides(hypothesis, study)]
    margin = 100 * getattr(hypothesis, "margin", 0.0)
    one = tuple(1 / cells[0] for _ in range(cells[0]))
    pair = (*one, *(-1 / cells[-1] for _ in range(cells[-1])))
    means = lambda a: (*(a for _ in one), *(0.0 for _ in pair[len(one) :]))  # noqa: E731
    match hypothesis.kind:
        case "greater":
            ahead, sides_ = (2 * margin, 1) if margin else (1.0, 2)
            return Kind("", ((pair, margin, 1),), means(ahead), sides=sides_), SD, 100 / IMAGES
        case "not_worse":
            return Kind("", ((pair, -margin, 1),), means(0.0)), SD, 100 / IMAGES
        case "equivalent":
            return Kind("", ((pair, -margin, 1), (pair, margin, -1)), means(0.0)), SD, 100 / IMAGES
        case "at_chance":
            guessing = 100 * np.sqrt(0.1 * 0.9 * 12 / IMAGES)  # a step whose floor is the noise of guessing
            return Kind("", (((1.0,), -margin, 1), ((1.0,), margin, -1)), (0.0,)), 0.0, guessing
        case "reaches":
            return Kind("", ((one, -margin, 1),), tuple(0.0 for _ in one)), SD, 100 / IMAGES
        case "faster":
            return Kind("", (((1.0, -1.0), 0.0, -1),), (np.log(0.7), 0.0), sides=2), 0.05, 0.1
    starts = np.cumsum([0, *cells])
    rows, truth = [], np.concatenate([np.full(count, -float(place)) for place, count in enumerate(cells)])
    for other in range(1, len(cells)):
        row = np.zeros(starts[-1])
        row[: cells[0]] = 1 / cells[0]
        row[starts[other] : starts[other + 1]] = -1 / cells[other]
        rows.append((tuple(row), 0.0, 1))
    return Kind("", tuple(rows), tuple(truth), sides=2, ways=len(rows)), SD, 100 / IMAGES


def decided_of_shipped(seeds: int, studies: int, *, before: bool) -> tuple[float, int]:
    """The expected number of verdicts on the hypotheses of the shipped studies, and how many there are.

    Each hypothesis is in a family of its study's size, whose others are as hard as itself.
    """
    total, count = 0.0, 0
    for path in shipped():
        study = read_study(path)
        for hypothesis in study.hypotheses:
            kind, sd, step = modelled(hypothesis, study)
            world: Any = lambda rng, shape, sd=sd: rng.normal(0, sd, shape)  # noqa: E731
            world.__name__ = hypothesis.claim
            values = drawn(kind, world, len(study.hypotheses), seeds, studies)
            found = decided(kind, values, ERROR_RATE, before=before, floor=step**2 / 12)
            total, count = total + float((found > 0).mean()), count + 1
    return total, count


def tables(studies: int, run: Callable[..., Any]) -> Iterator[str]:
    """The lines of all tables."""
    yield f"\n## Any false verdict, % of {studies:,} studies, the highest of {', '.join(map(str, SEEDS))} seeds\n"
    yield f"| world | test | {' | '.join(f'{m}, before | {m}, ours' for m in FAMILIES)} |"
    yield f"|---|---|{'---|' * 2 * len(FAMILIES)}"
    for world in WORLDS:
        for kind in KINDS:
            tries = [(kind, world, m, n, studies, before) for m in FAMILIES for before in (True, False) for n in SEEDS]
            rates = np.reshape(list(run(_false, tries)), (len(FAMILIES), 2, len(SEEDS))).max(axis=-1).ravel()
            yield f"| {world.__name__} | {kind.name} | {' | '.join(f'{100 * rate:.1f}' for rate in rates)} |"
    yield f"\n## Looks at {LOOKS} seeds, any false verdict at any look, %, families of {FAMILIES}\n"
    for world in WORLDS:
        for kind in KINDS[:2]:
            tries = [(kind, world, m, LOOKS[-1], studies, before, LOOKS) for before in (True, False) for m in FAMILIES]
            rates = [f"{100 * rate:.1f}" for rate in run(_false, tries)]
            yield f"| {world.__name__} | {kind.name} | {' | '.join(rates)} |"
    yield "\n## Found of what holds by a point, %, in a family of 3: one holds, all three hold\n"
    yield f"| world | test | {' | '.join(f'{n} seeds, before | {n} seeds, ours' for n in SEEDS)} |"
    yield f"|---|---|{'---|' * 2 * len(SEEDS)}"
    for world in WORLDS:
        for kind in KINDS[:2]:
            cells = []
            for n in SEEDS:
                for before in (True, False):
                    tries = [(kind, lead, n, studies, world, before) for lead in ((1.0,), (1.0, 1.0, 1.0))]
                    cells.append(", ".join(f"{100 * rate:.0f}" for rate in run(_power, tries)))
            yield f"| {world.__name__} | {kind.name} | {' | '.join(cells)} |"
    yield "\n## Hypotheses of the shipped studies that are decided, expected\n"
    for n in SEEDS:
        (before, count), (now, _) = (decided_of_shipped(n, studies, before=before) for before in (True, False))
        yield f"| {n} seeds | {before:.1f} of {count} | {now:.1f} |"


def _false(task: tuple[Any, ...]) -> float:
    *given, before, looks = task if len(task) == 7 else (*task, ())
    return false_rate(*given, before=before, looks=looks)


def _power(task: tuple[Any, ...]) -> float:
    *given, before = task
    return power(*given, before=before)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=4000)
    parser.add_argument("--processes", type=int, default=1)
    wanted = parser.parse_args()
    with ProcessPoolExecutor(wanted.processes) as pool:
        for line in tables(wanted.studies, partial(pool.map, chunksize=4)):
            print(line, flush=True)


if __name__ == "__main__":
    main()
