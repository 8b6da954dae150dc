"""The noise of single images, held against simulations whose truth is known and against McNemar's formula."""

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from cifarsweep.stats.hits import difference_error, flip_variance, image_shares, interval_halves

RANDOM = np.random.default_rng(1)
#: E[p - max(p - 0.1 u, 0)] of p ~ Beta(3, 1), u ~ U(0, 1), by quadrature over p and u.
QUANTILES = np.linspace(0, 1, 2001)[:, None] ** (1 / 3)
TRUTH = float((QUANTILES - np.maximum(QUANTILES - 0.1 * np.linspace(0, 1, 201), 0)).mean())


def draw(shares: npt.NDArray[np.float64], runs: int) -> npt.NDArray[np.bool_]:
    return RANDOM.random((runs, shares.size)) < shares


def test_flips_explain_the_spread_of_runs_whose_images_are_independent() -> None:
    shares = RANDOM.beta(2, 0.5, 400)

    estimates = [flip_variance(draw(shares, 3)) for _ in range(400)]

    # The exact variance of one run's accuracy; three runs estimate it without bias.
    assert np.mean([each for each in estimates if each is not None]) == pytest.approx(
        (shares * (1 - shares)).sum() / 400**2, rel=0.03
    )


def test_runs_that_agree_have_no_flips_and_one_run_does_not_tell() -> None:
    run = draw(np.full(50, 0.7), 1)

    assert flip_variance(np.repeat(run, 3, axis=0)) == 0
    assert flip_variance(run) is None
    assert image_shares(run).tolist() == run[0].tolist()


def test_error_of_one_run_a_side_is_that_of_mcnemar() -> None:
    a, b = draw(np.full(1000, 0.7), 1), draw(np.full(1000, 0.6), 1)

    only_a, only_b = (a & ~b).sum(), (b & ~a).sum()
    mcnemar = np.sqrt(only_a + only_b - (only_a - only_b) ** 2 / 1000) / 1000
    assert difference_error([a], [b]) == pytest.approx(mcnemar, rel=1e-3)


@pytest.mark.parametrize("shift", [0.0, 0.03], ids=["flips alone", "runs that differ as a whole"])
def test_error_is_the_spread_of_differences_over_new_runs_and_new_images(shift: float) -> None:
    images, runs = 300, 3
    differences, errors = [], []
    for _ in range(1500):
        hardness = RANDOM.beta(3, 1, images)  # one draw of images, which both sides share
        sides = []
        for gain in (0.0, -0.1):
            shares = np.clip(hardness + gain * RANDOM.random(images), 0.1, 0.9)
            sides.append(np.vstack([draw(np.clip(shares + RANDOM.normal(0, shift), 0, 1), 1) for _ in range(runs)]))
        differences.append(sides[0].mean() - sides[1].mean())
        errors.append(difference_error(sides[:1], sides[1:]) ** 2)

    # Rather too large than too small: a spread of runs below that of flips counts as none.
    assert 0.93 < np.mean(errors) / np.var(differences) < 1.3


def test_cells_of_a_side_count_alike() -> None:
    a, b, c = (draw(np.full(500, share), 1) for share in (0.8, 0.7, 0.5))

    assert difference_error([a, a], [c]) == pytest.approx(difference_error([a], [c]))
    assert difference_error([a, b], [c]) == pytest.approx(difference_error([c], [b, a]))


def test_the_interval_for_new_runs_alone_is_that_of_welch() -> None:
    a, b = draw(np.full(500, 0.8), 4), draw(np.full(500, 0.5), 3)

    wide, narrow = interval_halves(a, b)

    low, high = stats.ttest_ind(a.mean(axis=1), b.mean(axis=1), equal_var=False).confidence_interval()
    assert narrow == pytest.approx((high - low) / 2)
    assert wide >= 1.95 * difference_error([a], [b])


def test_one_run_a_cell_or_runs_that_agree_tell_of_images_alone() -> None:
    a, b = draw(np.full(500, 0.8), 1), draw(np.full(500, 0.5), 1)

    for sides in ((a, b), (np.repeat(a, 3, axis=0), np.repeat(b, 3, axis=0))):
        wide, narrow = interval_halves(*sides)
        assert (wide, narrow) == (pytest.approx(1.96 * difference_error([a], [b]), rel=1e-3), None)


def test_the_interval_for_new_images_covers_as_often_as_promised() -> None:
    covered = []
    for _ in range(600):
        hardness = RANDOM.beta(3, 1, 200)
        a, b = draw(hardness, 3), draw(np.clip(hardness - 0.1 * RANDOM.random(200), 0, 1), 3)
        covered.append(abs(a.mean() - b.mean() - TRUTH) <= interval_halves(a, b)[0])

    # Rather too wide than too narrow, as three runs hardly tell their spread.
    assert np.mean(covered) >= 0.93
