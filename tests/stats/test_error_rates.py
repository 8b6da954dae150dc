"""What is promised of many studies: at most so many with any false verdict, and the power at the number of seeds named.

Each simulation has 1,000 studies from a fixed generator. Were the true rate exactly 5 %, more than `LIMIT` of them
would go wrong once in a thousand runs of such a test (binomial distribution).
"""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestIndPower, TTestPower

from cifarsweep.stats.estimate import Estimate, difference
from cifarsweep.stats.evidence import (
    Evidence,
    Reached,
    Statement,
    best,
    equivalent,
    greater,
    near,
    reaches,
    sooner,
    trend,
)
from cifarsweep.stats.multiplicity import ERROR_RATE, bound, judge, level_after, level_at, levels, schedule
from cifarsweep.stats.power import power, seeds_needed

STUDIES = 1000
LIMIT = stats.binom.ppf(0.999, STUDIES, ERROR_RATE)
MARGIN = 0.01


def arms(key: int, means, n: int, sd: float = 0.008) -> np.ndarray:
    """(studies, arms, seeds); half of the variance is common to the arms of a seed."""
    rng = np.random.default_rng(key)
    means = np.asarray(means)
    common = rng.normal(0, sd / np.sqrt(2), (STUDIES, 1, n))
    return means[:, None] + common + rng.normal(0, sd / np.sqrt(2), (STUDIES, len(means), n))


def by_seed(row) -> dict[int, float]:
    return dict(enumerate(row.tolist()))


def nothing_differs(study) -> list[Evidence]:
    """Any verdict on these is false where all arms are equal; the last one is 1 point above what is asked for."""
    a, b, c, d = map(by_seed, study)
    times = [{seed: Reached(np.exp(10 * value), True) for seed, value in one.items()} for one in (a, d)]
    return [greater(a, b, 0), greater(b, c, 0), best(d, [a, b, c]), trend([a, b, c, d], 1), sooner(*times)]


def at_the_margin(study) -> list[Evidence]:
    """The second arm is exactly one margin below the first."""
    a, b, *_ = map(by_seed, study)
    return [
        equivalent(a, b, MARGIN), greater(b, a, -MARGIN), greater(a, b, MARGIN),
        near(a, 0.9 - MARGIN, MARGIN), reaches(a, 0.9),
    ]  # fmt: skip


@pytest.mark.parametrize("seeds", [3, 8])
@pytest.mark.parametrize(("means", "hypotheses"), [([0.9] * 4, nothing_differs), ([0.9, 0.9 - MARGIN], at_the_margin)])
def test_at_most_one_study_in_twenty_has_a_false_verdict(seeds: int, means, hypotheses) -> None:
    found = [hypotheses(study) for study in arms(seeds, means, seeds)]

    wrong = sum(any(one.decision != "undecided" for one in judge(evidence)) for evidence in found)
    uncorrected = sum(any(one.p <= ERROR_RATE for one in evidence) for evidence in found)

    assert wrong <= LIMIT
    assert uncorrected > LIMIT, "without the correction this simulation must fail"


def stragglers(rng: np.random.Generator, shape) -> np.ndarray:
    """One seed in ten does not train; the mean is 0."""
    return np.where(rng.random(shape) < 0.1, -0.9, 0.1) + rng.normal(0, 0.02, shape)


def skewed(rng: np.random.Generator, shape) -> np.ndarray:
    """A long tail below; the mean is 0."""
    return 1 - rng.exponential(1, shape)


@pytest.mark.parametrize(
    ("draw", "seeds", "low", "high"),
    [(skewed, 3, 8, 14), (skewed, 8, 8, 14), (stragglers, 3, 65, 75), (stragglers, 8, 37, 48)],
)
def test_seeds_that_are_not_normal_break_the_promise_as_the_readme_says(draw, seeds, low, high) -> None:
    tried = draw(np.random.default_rng(seeds), (STUDIES, seeds))

    wrong = sum(judge([reaches(by_seed(one), 0)])[0].decision != "undecided" for one in tried)

    assert low < 100 * wrong / STUDIES < high


def test_verdicts_that_are_right_do_not_let_the_others_go_wrong() -> None:
    """Two of four hypotheses are plainly true, which leaves more of the 5 % to those where nothing differs."""
    wrong = 0
    for study in arms(7, [0.9, 0.9, 0.5, 0.1], 5):
        a, b, c, d = map(by_seed, study)
        judged = judge([greater(a, c, 0), greater(c, d, 0), greater(a, b, 0), greater(b, a, 0)])
        assert [one.decision for one in judged[:2]] == ["supported", "supported"]
        wrong += any(one.decision != "undecided" for one in judged[2:])

    assert wrong <= LIMIT


@pytest.mark.parametrize("corrected", [True, False])
def test_looking_again_does_not_raise_the_rate(corrected: bool) -> None:
    """Looks after 3, 6, 12 and 24 seeds, each only at what is undecided until then."""
    looks = schedule(3, 24)
    wrong = 0
    for study in arms(11, [0.9] * 4, looks[-1]):
        seeds = [looks[0]] * 3
        for look in looks:
            found = [greater(by_seed(study[0, :n]), by_seed(study[k, :n]), 0) for k, n in enumerate(seeds, start=1)]
            judged = judge(found, [ERROR_RATE / len(looks)] * 3 if corrected else None)
            decided = [one.decision != "undecided" for one in judged]
            if any(decided):
                wrong += 1
                break
            seeds = [min(2 * look, looks[-1])] * 3

    assert (wrong <= LIMIT) == corrected


WAYS = {
    "planned": ((3, 6, 12, 24),),
    "looked once before": ((3,), (6, 12, 24)),
    "a longer plan each time": ((3, 6), (12,), (24,)),
    "one seed more each time": tuple((seeds,) for seeds in range(3, 13)),
}


@pytest.mark.parametrize("way", WAYS)
def test_whatever_was_planned_when_the_bound_that_is_printed_holds(way: str) -> None:
    """Three hypotheses where nothing differs, looked at until any is decided."""
    plans = WAYS[way]
    wrong = 0
    for study in arms(17, [0.9] * 4, 24):
        found = (
            judge([greater(by_seed(study[0, :n]), by_seed(study[k, :n]), 0) for k in (1, 2, 3)], [level] * 3)
            for n, level in levels(plans).items()
        )
        wrong += any(one.decision != "undecided" for judged in found for one in judged)

    assert wrong <= stats.binom.ppf(0.999, STUDIES, bound(plans))


@pytest.mark.parametrize(
    ("way", "expected"),
    [("planned", 0.05), ("looked once before", 0.075), ("a longer plan each time", 0.0875),
     ("one seed more each time", 0.1)],
)  # fmt: skip
def test_the_bound_is_the_sum_of_the_levels(way: str, expected: float) -> None:
    assert bound(WAYS[way]) == pytest.approx(expected, abs=1e-4) and bound(()) == ERROR_RATE


def test_the_level_is_that_of_the_look_that_the_seeds_are_for() -> None:
    plans = ((3,), (6, 12))

    assert [level_at(plans, seeds) for seeds in (2, 3, 5, 6, 99)] == [0.05, 0.05, 0.0125, 0.0125, 0.0125]
    assert [level_after(plans, seeds) for seeds in (3, 6, 12)] == [0.0125, 0.0125, 0.0125]
    assert (level_at((), 3), level_after((), 3)) == (0.05, 0.025)


def test_verdicts_at_different_looks_share_one_correction() -> None:
    """A hypothesis that was decided at the first look keeps its verdict at that level while others go on."""
    a, b = by_seed(np.array([0.9, 0.903, 0.906])), by_seed(np.array([0.894, 0.899, 0.9005]))
    sure = greater(a, b, 0)
    assert sure is not None and 0.0125 < 2 * sure.p <= 0.05

    assert [one.decision for one in judge([sure, None], [0.05, 0.0125])] == ["supported", "undecided"]
    assert judge([sure, None], [0.0125, 0.0125])[0].corrected == pytest.approx(2 * 4 * sure.p)


LEVELS = [0.025, 0.025 / 4, 0.025 / 12]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("effect", [0.4, 0.8, 1.5, 4.0])
def test_seeds_needed_are_those_of_statsmodels(level: float, effect: float) -> None:
    observed = Estimate(effect, 1 / np.sqrt(5), 4, 5, "paired", None, 0.0)
    halves = Estimate(effect, np.sqrt(2 / 5), 8, 5, "Welch", None, 0.0)

    paired, welch = (seeds_needed(Evidence(one, 0.1, 0.9, (Statement(one, 0.0),)), level) for one in (observed, halves))

    exact = [
        solver.solve_power(effect, power=0.8, alpha=level, alternative="larger")
        for solver in (TTestPower(), TTestIndPower())
    ]
    assert paired == max(3, np.ceil(exact[0]))
    assert welch == max(3, np.ceil(exact[1]))


@pytest.mark.parametrize("level", LEVELS)
def test_the_promised_power_is_there_at_the_promised_seeds(level: float) -> None:
    """True effect of one standard deviation of the pairs: 80 %, and less with one seed fewer."""
    truth = Estimate(0.008, 0.008 / np.sqrt(3), 2, 3, "paired", None, 0.0)
    promised = seeds_needed(Evidence(truth, 0.1, 0.9, (Statement(truth, 0.0),)), level)
    assert promised is not None

    shown = {}
    for n in (promised, promised - 1):
        studies = arms(n, [0.908, 0.9], n)
        tests = [difference(by_seed(study[0]), by_seed(study[1])) for study in studies]
        shown[n] = sum(test.above(0.0) <= level for test in tests)

    assert stats.binom.ppf(0.001, STUDIES, 0.8) <= shown[promised]
    assert shown[promised - 1] <= stats.binom.ppf(0.999, STUDIES, 0.8)


def test_power_for_equivalence_counts_both_sides() -> None:
    """Two that are equal, a margin of one standard deviation of the pairs."""
    truth = Estimate(0.0, 0.008 / np.sqrt(3), 2, 3, "paired", None, 0.0)
    evidence = Evidence(truth, 0.2, 0.9, (Statement(truth, -0.008), Statement(truth, 0.008, -1)))
    promised = seeds_needed(evidence, 0.025)
    assert promised is not None

    studies = arms(5, [0.9, 0.9], promised)
    shown = sum(equivalent(by_seed(a), by_seed(b), 0.008).support <= 0.025 for a, b in studies)

    assert stats.binom.ppf(0.001, STUDIES, 0.8) <= shown <= stats.binom.ppf(0.999, STUDIES, 0.9)


@pytest.mark.parametrize(("effect", "answer"), [(0.0, None), (0.01, None), (100.0, 3), (-0.9, 12)])
def test_hopeless_and_easy_cases_are_named(effect: float, answer: int | None) -> None:
    """A negative estimate heads for a refutation, at the same distance as a positive one for support."""
    observed = Estimate(effect, 1 / np.sqrt(5), 4, 5, "paired", None, 1e-12)

    assert seeds_needed(Evidence(observed, 0.5, 0.5, (Statement(observed, 0.0),)), 0.025) == answer


def test_power_is_what_scipy_says() -> None:
    observed = Estimate(0.7, 1 / np.sqrt(5), 4, 5, "paired", None, 0.0)
    n = np.array([3, 10, 40])

    found = power(Statement(observed, 0.2), n, 0.01)

    critical = stats.t.isf(0.01, n - 1)
    assert found == pytest.approx(stats.nct.sf(critical, n - 1, 0.5 * np.sqrt(n)))
