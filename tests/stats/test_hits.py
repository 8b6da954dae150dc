"""The noise of single images, held against simulations whose truth is known and against McNemar's formula."""

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from cifarsweep.stats.estimate import Estimate, Sample, difference
from cifarsweep.stats.hits import Hits, flip_variance, image_shares, image_variance, new_images

RANDOM = np.random.default_rng(1)
#: E[p - max(p - 0.1 u, 0)] of p ~ Beta(3, 1), u ~ U(0, 1), by quadrature over p and u.
QUANTILES = np.linspace(0, 1, 2001)[:, None] ** (1 / 3)
TRUTH = float((QUANTILES - np.maximum(QUANTILES - 0.1 * np.linspace(0, 1, 201), 0)).mean())


def draw(shares: npt.NDArray[np.float64], runs: int) -> npt.NDArray[np.bool_]:
    return RANDOM.random((runs, shares.size)) < shares


def estimated(a: Hits, b: Hits) -> Estimate:
    """The difference of two cells, with flips as their floor, as verdicts have it."""
    cells = [Sample(tuple(hits.mean(axis=1).tolist()), flip_variance(hits) or 0.0) for hits in (a, b)]
    found = difference(cells[:1], cells[1:])
    assert found is not None
    return found


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
    assert image_variance([a], [b]) ** 0.5 == pytest.approx(mcnemar, rel=1e-3)
    found = new_images(estimated(a, b), [a], [b])
    assert found.interval.half == pytest.approx(1.96 * mcnemar, rel=1e-3) and not found.wider


@pytest.mark.parametrize("shift", [0.0, 0.03], ids=["flips alone", "runs that differ as a whole"])
def test_runs_and_images_add_up_to_the_spread_of_differences_over_new_runs_and_new_images(shift: float) -> None:
    images, runs = 300, 3
    differences, errors = [], []
    for _ in range(1500):
        hardness = RANDOM.beta(3, 1, images)  # one draw of images, which both sides share
        sides = []
        for gain in (0.0, -0.1):
            shares = np.clip(hardness + gain * RANDOM.random(images), 0.1, 0.9)
            sides.append(np.vstack([draw(np.clip(shares + RANDOM.normal(0, shift), 0, 1), 1) for _ in range(runs)]))
        differences.append(sides[0].mean() - sides[1].mean())
        runs_alone = sum(float(side.mean(axis=1).var(ddof=1)) / runs for side in sides)
        errors.append(runs_alone + image_variance(sides[:1], sides[1:]))

    # Rather too large than too small: less than no variance counts as none.
    assert 0.93 < np.mean(errors) / np.var(differences) < 1.1


def test_cells_of_a_side_count_alike() -> None:
    a, b, c = (draw(np.full(500, share), 1) for share in (0.8, 0.7, 0.5))

    assert image_variance([a, a], [c]) == pytest.approx(image_variance([a], [c]))
    assert image_variance([a, b], [c]) == pytest.approx(image_variance([c], [b, a]))


def test_the_interval_is_that_of_a_bootstrap_over_images_where_runs_agree() -> None:
    one, other = draw(np.full(2000, 0.8), 1)[0], draw(np.full(2000, 0.5), 1)[0]
    a, b = (np.repeat(run[None], 3, axis=0) for run in (one, other))

    found = new_images(estimated(a, b), [a], [b])

    gaps = one.astype(float) - other
    low, high = stats.bootstrap((gaps,), np.mean, n_resamples=4000, method="percentile", rng=3).confidence_interval
    assert (found.interval.low, found.interval.high) == pytest.approx((low, high), abs=0.003)
    assert found.wider and found.limit == pytest.approx(found.interval.half, rel=0.01)


def test_images_add_to_what_welch_finds() -> None:
    hardness = RANDOM.beta(3, 1, 500)
    a, b = draw(hardness, 4), draw(np.clip(hardness - RANDOM.random(500), 0, 1), 3)
    estimate = estimated(a, b)

    found = new_images(estimate, [a], [b])

    welch = estimate.error**2
    images = np.var(a.mean(axis=0) - b.mean(axis=0), ddof=1) / 500 - sum(
        (hits.var(axis=0, ddof=1) / len(hits)).sum() / 500**2 for hits in (a, b)
    )
    df = estimate.df * ((welch + images) / welch) ** 2
    assert found.interval.half == pytest.approx(stats.t.ppf(0.975, df) * np.sqrt(welch + images))
    assert found.limit == pytest.approx(stats.norm.ppf(0.975) * np.sqrt(images))


def test_the_interval_is_never_narrower_than_that_for_new_runs() -> None:
    # Images that add a little to the variance add more degrees of freedom than that.
    a = np.vstack([draw(np.full(5000, share), 1) for share in (0.6, 0.7, 0.8)])
    b = draw(np.full(5000, 0.5), 3)
    runs = estimated(a, b).interval()

    found = new_images(estimated(a, b), [a], [b])

    assert runs is not None and found.interval.half == pytest.approx(runs.half) and not found.wider


def test_the_interval_for_new_images_covers_as_often_as_promised() -> None:
    covered = []
    for _ in range(600):
        hardness = RANDOM.beta(3, 1, 200)
        a, b = draw(hardness, 3), draw(np.clip(hardness - 0.1 * RANDOM.random(200), 0, 1), 3)
        covered.append(abs(a.mean() - b.mean() - TRUTH) <= new_images(estimated(a, b), [a], [b]).interval.half)

    # Rather too wide than too narrow, as three runs hardly tell their spread.
    assert np.mean(covered) >= 0.93
