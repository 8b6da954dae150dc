"""`benchmarks/verdicts.py` in short: what it simulates is what verdicts do, and what was promised of them."""

import importlib
from pathlib import Path

import numpy as np
import pytest

from cifarsweep.stats.estimate import Sample
from cifarsweep.stats.evidence import best, equivalent, greater, reaches, trend
from cifarsweep.stats.multiplicity import judge

FOLDER = Path(__file__).parents[2] / "benchmarks"
STUDIES = 2000
#: Four standard errors above 5 % of so many studies.
LIMIT = 0.05 + 4 * np.sqrt(0.05 * 0.95 / STUDIES)


@pytest.fixture(scope="module")
def bench():
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(FOLDER)
        return importlib.import_module("verdicts")


def world_of(bench, name: str):
    return next(world for world in bench.WORLDS if world.__name__ == name)


EVIDENCE = {
    "above": lambda a, b: greater(a, b, 0.0),
    "above by a margin, not worse": lambda a, b: greater(a, b, 1.0),
    "equivalent": lambda a, b: equivalent(a, b, 1.0),
    "best of 3": lambda a, b, c: best(a, [b, c]),
    "trend of 4": lambda *cells: trend(cells, 1),
    "reaches": lambda a: reaches(a, 0.0),
}
DECISIONS = {"supported": 1, "refuted": -1, "undecided": 0}


@pytest.mark.parametrize("name", EVIDENCE)
@pytest.mark.parametrize("world", ["unlike_spreads", "nearly_alike"])
def test_what_is_simulated_is_what_verdicts_do(bench, name: str, world: str) -> None:
    kind = next(kind for kind in bench.KINDS if kind.name == name)
    draw = world_of(bench, world)
    values, floor = bench.drawn(kind, draw, 3, 4, 30, lead=(0.5,)), bench.floor_of(draw)

    simulated = bench.decided(kind, values, 0.05, before=False, floor=floor)

    for study, decisions in zip(values, simulated, strict=True):
        found = [EVIDENCE[name](*([Sample(tuple(cell), floor)] for cell in cells)) for cells in study]
        assert [DECISIONS[one.decision] for one in judge(found)] == decisions.tolist()


@pytest.mark.parametrize("family", [1, 3])
@pytest.mark.parametrize("world", ["normal", "one_noisy", "one_in_ten_falls_out", "coarse", "correlated"])
def test_few_studies_have_a_false_verdict(bench, world: str, family: int) -> None:
    rates = {
        kind.name: bench.false_rate(kind, world_of(bench, world), family, 3, STUDIES, before=False)
        for kind in bench.KINDS
    }

    assert max(rates.values()) < LIMIT, rates


def test_looks_keep_the_promise(bench) -> None:
    normal, more = world_of(bench, "normal"), {"before": False, "looks": (3, 6, 12)}

    rates = [bench.false_rate(kind, normal, 3, 12, STUDIES, **more) for kind in bench.KINDS]

    assert max(rates) < LIMIT


def test_a_point_is_found(bench) -> None:
    """With a spread of 0.3, one of three hypotheses or all three, by a test that is one-sided."""
    margin = bench.KINDS[1]
    found = {
        (n, len(lead)): bench.power(margin, lead, n, STUDIES, before=False)
        for n in (3, 5)
        for lead in ((1.0,), (1.0, 1.0, 1.0))
    }

    assert found[3, 1] > 0.6 and found[5, 1] > 0.95 and found[3, 3] > 0.8
    assert bench.power(margin, (1.0,), 3, STUDIES, before=True) < 0.3


def test_shipped_studies_have_more_verdicts(bench) -> None:
    (before, count), (now, same) = (bench.decided_of_shipped(3, 200, before=before) for before in (True, False))

    assert count == same and now > 4 / 3 * before
