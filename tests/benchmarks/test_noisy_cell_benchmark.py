"""`benchmarks/noisy_cell.py` in short: its first test is that of verdicts, and what the page on verdicts says holds."""

import importlib
from pathlib import Path

import numpy as np
import pytest
from scipy.special import stdtrit

from cifarsweep.stats.estimate import Sample, difference

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def bench():
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(FOLDER)
        return importlib.import_module("noisy_cell")


@pytest.mark.parametrize("seeds", [(3, 3), (3, 12)])
def test_the_limit_of_welch_is_that_of_verdicts(bench, seeds: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.normal(0, sd, n) for sd, n in zip((5, 1), seeds, strict=True))
    parts = [one.var(ddof=1) / len(one) for one in (a, b)]

    limit = bench.limits(seeds, 0.05)["Welch"](np.array(parts[0] / sum(parts)))

    estimate = difference([Sample(tuple(a))], [Sample(tuple(b))])
    assert limit == pytest.approx(stdtrit(estimate.df, 0.975), rel=1e-9)


def test_what_the_page_on_verdicts_says_of_noisy_cells(bench) -> None:
    def worst(seeds: tuple[int, int], test: str) -> float:
        return 100 * bench.Draws.of(seeds, 4096).worst(bench.limits(seeds, 0.05)[test])

    assert [round(worst(seeds, "Welch"), 0) for seeds in ((3, 3), (3, 12))] == [6, 7]
    assert worst((5, 5), "Welch") == pytest.approx(5.3, abs=0.1)
    assert all(worst(seeds, "n - 1") < 5.05 for seeds in bench.SEEDS)
