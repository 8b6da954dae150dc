"""Whether hits are more than luck, and what share of runs may fall out; held against scipy and statsmodels."""

from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, norm
from statsmodels.stats.proportion import proportion_confint

from cifarsweep.stats.shares import BEYOND_GUESSING, beats_guessing, share_at_most


def test_none_of_three_leaves_up_to_63_per_cent() -> None:
    assert share_at_most(0, 3) == pytest.approx(0.6316, abs=1e-4)
    assert share_at_most(3, 3) == 1.0


@given(of=st.integers(1, 200), part=st.floats(0, 1))
def test_the_bound_is_that_of_clopper_and_pearson(of: int, part: float) -> None:
    count = round(part * of)

    bound = share_at_most(count, of)

    assert bound == pytest.approx(binomtest(count, of, alternative="less").proportion_ci(0.95).high)
    assert bound == pytest.approx(proportion_confint(count, of, alpha=0.1, method="beta")[1])


def test_luck_ends_at_five_standard_errors() -> None:
    """On 10,000 images of ten equal classes, one standard error is 0.3 points."""
    error = sqrt(0.1 * 0.9 / 10_000)

    assert norm.sf(5) == pytest.approx(BEYOND_GUESSING)
    assert not beats_guessing(round(10_000 * (0.1 + 4.9 * error)), 10_000, 0.1)
    assert beats_guessing(round(10_000 * (0.1 + 5.2 * error)), 10_000, 0.1)


@pytest.mark.parametrize(
    ("hits", "images", "share", "beats"),
    [
        (200, 200, 0.9, True),  # 5 normal standard errors above 90 % would be more than 100 %
        (50, 50, 0.9, False),  # one guesser of 200 has all of them right
        (0, 10_000, 0.1, False),
        (100, 100, 1.0, False),
        (1, 1, 0.1, False),
    ],
)
def test_few_images_and_unequal_classes(hits: int, images: int, share: float, beats: bool) -> None:
    assert beats_guessing(hits, images, share) is beats


@given(images=st.integers(1, 20_000), share=st.floats(0.001, 0.999))
def test_a_guess_never_beats_itself(images: int, share: float) -> None:
    assert not beats_guessing(share * images, images, share)
