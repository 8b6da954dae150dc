"""Effects of factors are those of an analysis of variance, and their tests err as rarely as promised."""

from collections.abc import Mapping
from itertools import combinations, product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from cifarsweep.stats.factorial import (
    FTest,
    Spread,
    bartlett,
    interaction,
    largest_change,
    mean_variance,
    pooled_spread,
    unlike_interaction,
)
from cifarsweep.stats.multiplicity import holm

KEYS = st.integers(0, 2**32 - 1)
SHAPE = (3, 2, 2)
#: The values of cells, by the numbers of their levels.
Cells = Mapping[tuple[int, ...], np.ndarray]


def draw(
    key: int, shape: tuple[int, ...] = SHAPE, seeds: tuple[int, int] = (2, 6)
) -> dict[tuple[int, ...], np.ndarray]:
    """Cells whose factors add up, with so many seeds each."""
    rng = np.random.default_rng(key)
    gains = [rng.normal(0, 0.03, levels) for levels in shape]
    return {
        at: 0.8
        + sum(gain[one] for gain, one in zip(gains, at, strict=True))
        + rng.normal(0, 0.01, rng.integers(*seeds))
        for at in product(*map(range, shape))
    }


def crossed(cells: Cells, a: int, b: int, shape: tuple[int, ...] = SHAPE) -> tuple[np.ndarray, np.ndarray]:
    """Means and variances where two factors cross, over the others."""
    means, variances = np.full((2, shape[a], shape[b]), np.nan)
    for row, column in product(range(shape[a]), range(shape[b])):
        group = [values for at, values in cells.items() if (at[a], at[b]) == (row, column)]
        if group:
            means[row, column] = np.mean([values.mean() for values in group])
            variances[row, column] = mean_variance([len(values) for values in group])
    return means, variances


def spread_of(cells: Cells) -> Spread:
    found = pooled_spread([values.tolist() for values in cells.values()], [0.0] * len(cells))
    assert found is not None
    return found


def examined(cells: Cells, a: int, b: int, shape: tuple[int, ...] = SHAPE) -> FTest:
    found = interaction(*crossed(cells, a, b, shape), spread_of(cells))
    assert found is not None
    return found


def table(cells: Cells) -> pd.DataFrame:
    rows = [(*(f"l{one}" for one in at), value) for at, values in cells.items() for value in values]
    return pd.DataFrame(rows, columns=[*"abc"[: len(rows[0]) - 1], "y"])


@settings(max_examples=20)
@given(KEYS)
def test_interactions_are_those_of_type_three_whatever_the_numbers_of_seeds(key: int) -> None:
    cells = draw(key)

    expected = anova_lm(ols("y ~ C(a, Sum) * C(b, Sum) * C(c, Sum)", table(cells)).fit(), typ=3)

    for a, b in combinations(range(3), 2):
        one, line = examined(cells, a, b), expected.loc[f"C({'abc'[a]}, Sum):C({'abc'[b]}, Sum)"]
        assert (one.df, one.f, one.p) == (
            line["df"],
            pytest.approx(line["F"], rel=1e-6),
            pytest.approx(line["PR(>F)"], rel=1e-6),
        )
    assert spread_of(cells).df == expected.loc["Residual", "df"]


@pytest.mark.filterwarnings("ignore:The design matrix is rank-deficient")
@settings(max_examples=20)
@given(KEYS, st.sets(st.sampled_from(sorted(product(range(3), range(4)))), max_size=4))
def test_where_cells_are_missing_the_sum_is_tested_against_the_means_that_are_there(
    key: int, gone: set[tuple[int, int]]
) -> None:
    cells = {at: values for at, values in draw(key, (3, 4)).items() if at not in gone}
    additive, full = ols("y ~ C(a) + C(b)", table(cells)).fit(), ols("y ~ C(a + b)", table(cells)).fit()
    left = (additive.ssr - full.ssr) / (additive.df_resid - full.df_resid) if additive.df_resid > full.df_resid else 0

    found = interaction(*crossed(cells, 0, 1, (3, 4)), spread_of(cells))

    assert (found.df if found else 0) == additive.df_resid - full.df_resid
    assert not found or found.f == pytest.approx(left / full.mse_resid, rel=1e-6)


@settings(max_examples=20)
@given(KEYS)
def test_the_mean_of_a_level_has_the_interval_of_its_marginal_mean(key: int) -> None:
    cells = draw(key)
    fit = ols("y ~ C(a):C(b):C(c) - 1", table(cells)).fit()
    chosen = [at for at in cells if at[0] == 1]
    weights = [("C(a)[l1]" in name) / len(chosen) for name in fit.params.index]

    mean = float(np.mean([cells[at].mean() for at in chosen]))
    found = spread_of(cells).interval(mean, mean_variance([len(cells[at]) for at in chosen]))

    expected = fit.t_test([weights])
    assert mean == pytest.approx(float(expected.effect.item()))
    assert (found.low, found.high) == pytest.approx(tuple(expected.conf_int()[0]))


def test_places_that_can_not_contradict_a_sum_are_not_examined() -> None:
    nan = np.nan
    means = np.array([[0.5, 0.6, nan], [0.7, nan, 0.9]])

    assert interaction(means, np.ones((2, 3)), Spread(0.1, 4)) is None
    assert interaction(np.full((2, 2), nan), np.ones((2, 2)), Spread(0.1, 4)) is None
    assert largest_change(means) is None


def test_what_adds_up_to_the_last_digits_is_no_interaction() -> None:
    means = np.array([[1e6, 1e6 + 0.1], [1e6 + 0.2, 1e6 + 0.3]])

    found = interaction(means, np.full((2, 2), 0.25), Spread(1e-3, 12))

    assert found is not None and found.p > 0.99


def test_the_largest_change_is_of_the_rows_and_columns_where_a_difference_changes_most() -> None:
    means = np.array([[0.5, 0.5, 0.9], [0.6, 0.5, 0.5], [np.nan, 0.4, 0.4]])

    change, (high, low), (there, here) = largest_change(means) or (0, (0, 0), (0, 0))

    assert (change, high, low, there, here) == (pytest.approx(0.5), 0, 1, 2, 0)


@pytest.mark.parametrize(
    ("cells", "floors", "expected"),
    [
        ([[0.5], [0.6]], [0.0, 0.0], None),
        ([[0.5, 0.5], [0.6, 0.6]], [1e-6, 1e-6], None),
        ([[1.0, 3.0], [5.0]], [0.0, 9.0], Spread(2**0.5, 1)),
        ([[0.5, 0.5002], [0.6, 0.6]], [1e-6, 3e-6], Spread(2e-6**0.5, 2, floored=True)),
    ],
)
def test_the_spread_is_pooled_and_no_smaller_than_the_measurement_can_tell(cells, floors, expected) -> None:
    found = pooled_spread(cells, floors)

    assert (found is None) == (expected is None)
    if found and expected:
        assert (found.sd, found.df, found.floored) == (pytest.approx(expected.sd), expected.df, expected.floored)


@pytest.mark.parametrize("seeds", [(2, 3), (3, 4), (1, 6)], ids=["two seeds", "three seeds", "one to five"])
def test_one_study_in_twenty_or_fewer_has_an_interaction_that_is_not_there(seeds: tuple[int, int]) -> None:
    """1,000 studies of 3 x 2 x 2 cells whose factors add up; `wrong` beyond the limit would come once in 1,000 runs."""
    studies = [draw(key, seeds=seeds) for key in range(1000)]

    p = [[examined(cells, a, b).p for a, b in combinations(range(3), 2)] for cells in studies]

    limit = stats.binom.ppf(0.999, len(studies), 0.05)
    assert sum(min(holm(each)) <= 0.05 for each in p) <= limit
    assert sum(min(each) <= 0.05 for each in p) > limit, "without the correction this simulation must fail"


def test_the_furthest_levels_are_told_apart_by_chance_in_one_study_of_twenty_or_fewer() -> None:
    """The pair is chosen after the fact, of four levels; the interval is simultaneous over all pairs."""
    rng, wrong, alone, studies = np.random.default_rng(16), 0, 0, 1000
    for _ in range(studies):
        values = rng.normal(0.9, 0.01, (4, 2, 3))
        spread = pooled_spread([cell.tolist() for level in values for cell in level], [0.0] * 8)
        means = values.mean(axis=(1, 2))
        gap, variance = float(np.ptp(means)), 2 * mean_variance([3, 3])
        assert spread is not None
        wrong += spread.interval(gap, variance, 0.05 / 6).low > 0
        alone += spread.interval(gap, variance).low > 0

    limit = stats.binom.ppf(0.999, studies, 0.05)
    assert wrong <= limit < alone


@settings(max_examples=20)
@given(KEYS)
def test_whether_spreads_are_alike_is_the_test_of_bartlett(key: int) -> None:
    cells = list(draw(key).values())

    p = bartlett([float(cell.var(ddof=1)) for cell in cells], [len(cell) - 1 for cell in cells])

    assert p == pytest.approx(stats.bartlett(*cells).pvalue, rel=1e-6)
    assert bartlett([0.5], [3]) is None


@settings(max_examples=20)
@given(KEYS, st.integers(2, 6))
def test_cells_with_spreads_of_their_own_that_are_equal_are_tested_as_with_one(key: int, seeds: int) -> None:
    means = np.random.default_rng(key).normal(0.8, 0.01, (3, 4))
    variance = 4e-4 / seeds

    own = unlike_interaction(means, np.full(means.shape, variance), np.full(means.shape, seeds - 1.0))
    one = interaction(means, np.full(means.shape, 1 / seeds), Spread(0.02, 12 * (seeds - 1)))

    assert own is not None and one is not None
    assert (own.f, own.df, own.error_df, own.p) == pytest.approx((one.f, one.df, one.error_df, one.p))


def test_where_one_level_is_five_times_as_noisy_one_study_in_twenty_or_fewer_has_a_false_interaction() -> None:
    rng, wrong, together, studies = np.random.default_rng(16), 0, 0, 1000
    for _ in range(studies):
        values = rng.normal(0.9, 0.01, (3, 4, 3))
        values[0] += 4 * (values[0] - 0.9)
        spread = pooled_spread([cell.tolist() for row in values for cell in row], [0.0] * 12)
        assert spread is not None
        means, variances = values.mean(axis=-1), values.var(axis=-1, ddof=1) / 3
        pooled = interaction(means, np.full((3, 4), 1 / 3), spread)
        own = unlike_interaction(means, variances, np.full((3, 4), 2.0)) if spread.unlike else pooled
        assert pooled is not None and own is not None
        wrong += own.p <= 0.05
        together += pooled.p <= 0.05

    limit = stats.binom.ppf(0.999, studies, 0.05)
    assert wrong <= limit < together
