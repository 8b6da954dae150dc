"""From trials to verdicts: which seeds and cells count, and what is said of them."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower
from support.studies import ABOVE, ALIKE, FAR, HIGH, LOW, MIDDLE, NEAR, Values, judged_on

from cifarsweep.analysis.floors import floor_of
from cifarsweep.analysis.outcomes import FallenOut
from cifarsweep.analysis.samples import sides
from cifarsweep.analysis.study import analyse
from cifarsweep.analysis.verdicts import verdicts
from cifarsweep.report.hypothesis_text import hypothesis_text
from cifarsweep.report.marks import forest_mark
from cifarsweep.report.notes import figure_notes
from cifarsweep.report.summary import study_fields
from cifarsweep.report.verdict_text import sentence
from cifarsweep.spec.hypothesis import AtChance, Best, Greater, NotWorse, Reaches, Trend
from cifarsweep.spec.moments import At
from cifarsweep.stats.hits import flip_variance


@pytest.mark.parametrize(
    ("values", "hypothesis", "expected"),
    [
        (FAR, ABOVE, "supported"),
        (FAR, ABOVE.model_copy(update={"margin": 0.9}), "refuted"),
        (NEAR, ABOVE, "undecided"),
        (FAR, NotWorse(kind="not_worse", claim="c", a=LOW, b=HIGH, margin=0.01), "refuted"),
        (NEAR, NotWorse(kind="not_worse", claim="c", a=HIGH, b=LOW, margin=0.01), "supported"),
        (NEAR, ALIKE, "supported"),
        (FAR, ALIKE, "refuted"),
        (FAR, AtChance(kind="at_chance", claim="c", a=LOW), "supported"),
        (FAR, AtChance(kind="at_chance", claim="c", a=HIGH), "refuted"),
        (FAR, Reaches(kind="reaches", claim="c", a=HIGH, target=0.91, margin=0.1), "supported"),
        (FAR, Reaches(kind="reaches", claim="c", a=LOW, target=0.2), "refuted"),
        (FAR, Best(kind="best", claim="c", factor="optimizer.lr", level=0.3), "supported"),
        (FAR, Best(kind="best", claim="c", factor="optimizer.lr", level=0.2), "refuted"),
        (FAR, Trend(kind="trend", claim="c", factor="optimizer.lr", direction="rising"), "supported"),
        (FAR, Trend(kind="trend", claim="c", factor="optimizer.lr", direction="falling"), "refuted"),
    ],
    ids=lambda part: getattr(part, "kind", None),
)
def test_every_kind_of_hypothesis_gets_its_verdict(tried: Any, values: Values, hypothesis: Any, expected: str) -> None:
    (verdict,) = verdicts(tried(values, hypothesis))

    assert verdict.decision == expected
    assert verdict.seeds == 3 and (verdict.corrected <= 0.05) == (expected != "undecided")


LOW_LOSS = {LOW: [0.30, 0.31, 0.325], MIDDLE: [0.8, 0.82, 0.81], HIGH: [1.9, 1.91, 1.95]}
LOSS = {"claim": "c", "metric": "val/loss"}


@pytest.mark.parametrize(
    ("hypothesis", "expected", "words", "condition_words"),
    [
        (NotWorse(kind="not_worse", a=HIGH, b=LOW, margin=0.05, **LOSS), "refuted", "worse by more", "0.05 above"),
        (NotWorse(kind="not_worse", a=LOW, b=HIGH, margin=0.05, **LOSS), "supported", "not worse by", "0.05 above"),
        (Reaches(kind="reaches", a=HIGH, target=0.5, **LOSS), "refuted", "does not reach 0.5", "at most 0.5."),
        (Reaches(kind="reaches", a=LOW, target=0.5, **LOSS), "supported", "which reaches 0.5", "at most 0.5."),
        (
            Reaches(kind="reaches", a=LOW, target=0.2, margin=0.2, **LOSS),
            "supported",
            "reaches 0.4, which is 0.2 plus 0.2",
            "above it",
        ),
        (
            Best(kind="best", factor="optimizer.lr", level=0.1, **LOSS),
            "supported",
            "the lowest of 3",
            "the lowest mean",
        ),
        (Best(kind="best", factor="optimizer.lr", level=0.3, **LOSS), "refuted", "above lr=0.1", "the lowest mean"),
        (Greater(kind="greater", a=HIGH, b=LOW, **LOSS), "supported", ", above", "is above"),
        (Trend(kind="trend", factor="optimizer.lr", direction="rising", **LOSS), "supported", "rising", "rising"),
    ],
)
def test_less_of_a_loss_is_better(tried: Any, hypothesis: Any, expected: str, words: str, condition_words: str) -> None:
    """`greater` and `trend` speak of the numbers themselves."""
    report = tried(LOW_LOSS, hypothesis)
    losses = tuple(replace(one, final={"val/loss": one.final["val/accuracy"]}) for one in report.trials)

    (verdict,) = verdicts(replace(report, trials=losses))

    assert verdict.decision == expected, sentence(verdict)
    assert words in sentence(verdict) and condition_words in hypothesis_text(hypothesis)
    mark = forest_mark(verdict)
    assert mark is not None
    start, width = mark["region"]
    assert (start <= mark["estimate"] <= start + width) == (expected == "supported")


def test_a_verdict_holds_the_means(tried: Any) -> None:
    (verdict,) = verdicts(tried(NEAR, ALIKE))

    assert [(side.label, side.seeds) for side in verdict.sides] == [(HIGH, 3), (LOW, 3)]
    assert [side.value.mean for side in verdict.sides] == [pytest.approx(np.mean(NEAR[cell])) for cell in (HIGH, LOW)]
    assert verdict.matched and verdict.obstacle is None


@pytest.mark.parametrize(("images", "expected"), [(10_000, "supported"), (355, "undecided")])
def test_seeds_that_are_all_alike_spread_as_guesses_do(tried: Any, images: int, expected: str) -> None:
    report = tried({LOW: [0.1] * 3}, AtChance(kind="at_chance", claim="Low does not train", a=LOW))
    diverged = tuple(replace(one, outcome="diverged") for one in report.trials)

    (verdict,) = verdicts(judged_on(replace(report, trials=diverged), images))

    p = stats.t.sf(0.02 / math.sqrt(0.1 * 0.9 / images / 3), 2)
    assert (verdict.decision, verdict.p) == (expected, pytest.approx(p))
    assert verdict.floored and verdict.fell_out == {LOW: FallenOut(3, 3)}
    assert (verdict.more_seeds is None) == (expected == "supported")
    assert study_fields(analyse(report))["verdicts"][0]["method"] == "one-sample"
    assert "take runs as independent and the values of a cell as about normal" in " ".join(figure_notes(report, []))


def test_accuracies_spread_at_least_by_a_step_of_their_images(tried: Any) -> None:
    """Of 355 images, or as much as flips of single images give, where these are known; not at a moment before."""
    report = judged_on(tried({LOW: [0.9] * 3, HIGH: [0.91] * 3}, ABOVE), 355)
    hits = np.arange(355) % 10 < np.array([[8], [9], [10]])
    known = replace(report, hits={(trial.number, "val/accuracy"): hits[trial.seed] for trial in report.trials})

    (steps,), (flips,) = verdicts(report), verdicts(known)

    for found, sd in ((steps, 1 / 355 / math.sqrt(12)), (flips, math.sqrt(flip_variance(hits)))):
        assert found.p == pytest.approx(stats.ttest_ind_from_stats(0.91, sd, 3, 0.9, sd, 3, equal_var=False).pvalue)
    assert (steps.decision, flips.decision) == ("supported", "undecided")
    early, low = ABOVE.model_copy(update={"at": At(step=5)}), known.trials[:3]
    assert floor_of(low, early, known) == floor_of(low, early, report) < 1e-6 < floor_of(low, ABOVE, known)


def test_one_seed_is_never_enough(tried: Any) -> None:
    (verdict,) = verdicts(tried({LOW: [0.1], HIGH: [0.9]}, ABOVE))

    assert (verdict.decision, verdict.more_seeds, verdict.interval) == ("undecided", 2, None)


def test_two_seeds_have_a_difference_but_no_interval_and_no_p(tried: Any) -> None:
    two = {cell: values[:2] for cell, values in FAR.items()}

    (verdict,) = verdicts(tried(two, ABOVE))

    assert verdict.decision == "undecided" and verdict.interval is verdict.decisive is None
    assert verdict.estimate == pytest.approx(0.8045)
    assert (verdict.seeds, verdict.method, verdict.p) == (2, "Welch", 1.0)


def test_an_undecided_one_says_about_how_many_seeds_are_missing(tried: Any) -> None:
    """From three pairs with an effect of half a standard deviation; the second look is at two-sided 2.5 %."""
    differences = [0.0, 0.01, 0.005 * (1 + 0.0)]
    values = {LOW: [0.9] * 3, HIGH: [0.9 + d - 0.0025 for d in differences]}

    (verdict,) = verdicts(tried(values, ABOVE))

    (planned,) = verdicts(tried(values, ABOVE, plans=((3, 6, 12),)))
    waiting = {cell: [*done, *[None] * 8] for cell, done in values.items()}
    (some_wait,) = verdicts(tried(values | {LOW: [*values[LOW], None]} | waiting, ABOVE))

    expected = np.ceil(TTestPower().solve_power(0.5, power=0.8, alpha=0.0125, alternative="larger"))
    assert verdict.more_seeds == expected - 3
    low, high = verdict.more_seeds_range
    assert low < verdict.more_seeds < (high or math.inf)
    assert planned.more_seeds > verdict.more_seeds and some_wait.more_seeds == verdict.more_seeds - 8


def test_seeds_that_wait_may_be_enough(tried: Any) -> None:
    values = {LOW: [0.91, 0.92, 0.93], HIGH: [0.917, 0.926, 0.943]}
    waiting = {cell: [*done, *[None] * 30] for cell, done in values.items()}

    (bare,), (verdict,) = (verdicts(tried(each, ABOVE)) for each in (values, waiting))

    assert bare.decision == verdict.decision == "undecided" and bare.more_seeds > verdict.more_seeds == 0


def test_what_is_hopeless_is_called_so(tried: Any) -> None:
    (verdict,) = verdicts(tried({LOW: [0.9, 0.91, 0.92], HIGH: [0.92, 0.91, 0.9]}, ABOVE))

    assert verdict.decision == "undecided" and verdict.more_seeds is None


def test_only_seeds_that_both_have_count_and_diverged_trials_are_left_out(tried: Any) -> None:
    report = tried({LOW: [0.1, 0.1, 0.1, None], HIGH: [0.9, 0.9, 0.1, 0.99]}, ABOVE)
    diverged = [replace(one, outcome="diverged") if one.accuracy == 0.1 else one for one in report.trials]

    (verdict,) = verdicts(replace(report, trials=tuple(diverged)))

    assert (verdict.seeds, verdict.estimate, verdict.method) == (3, pytest.approx(0.83), "Welch")
    assert verdict.open_trials == 1 and verdict.preliminary


def test_all_seeds_of_a_cell_count_also_those_that_the_other_lacks(tried: Any) -> None:
    """Eight against eight of which three are common were a test of three pairs."""
    a, b = [0.85, 0.861, 0.854, 0.857, 0.852], [0.80, 0.81, 0.805, 0.802, 0.808, 0.803, 0.807, 0.804]
    report = tried({LOW: b, HIGH: a}, ABOVE)
    shifted = tuple(replace(one, seed=one.seed + 5) if one.cell == LOW else one for one in report.trials)

    (verdict,) = verdicts(replace(report, trials=shifted))

    assert [side.value.mean for side in verdict.sides] == [pytest.approx(np.mean(a)), pytest.approx(np.mean(b))]
    assert verdict.p == pytest.approx(stats.ttest_ind(a, b, equal_var=False).pvalue) and verdict.seeds == 5


def test_there_is_no_verdict_before_the_trials_of_a_look_are_finished(tried: Any) -> None:
    """As many open seeds as there are, whoever looks now may not keep what pleases: here all are far apart."""
    waiting = {cell: [*values, None] for cell, values in FAR.items()}

    (verdict,) = verdicts(tried(waiting, ABOVE))

    assert (verdict.decision, verdict.preliminary, verdict.corrected) == ("undecided", True, 1.0)
    assert verdict.open_trials == 2 and verdict.estimate == pytest.approx(0.805, abs=0.001)


def test_a_look_that_is_complete_keeps_its_verdict_while_the_next_one_runs(tried: Any) -> None:
    """The seeds of the next look that are done already would turn it around."""
    values = {cell: [*FAR[cell], 0.9 - FAR[cell][0], None, None] for cell in (LOW, HIGH)}
    report = replace(tried(values, ABOVE), plans=((3, 6),))

    (verdict,) = verdicts(report)

    assert (verdict.decision, verdict.preliminary, verdict.seeds) == ("supported", False, 3)
    assert verdict.level == 0.025 and verdict.open_trials == 4


def test_cells_of_a_selector_count_with_the_mean_of_their_means(make: Any) -> None:
    skips = Greater(kind="greater", claim="c", a={"model.skip": True}, b={"model.skip": False})
    study = make.study({"optimizer.lr": (0.1, 0.2), "model.skip": (False, True)}, hypotheses=(skips,))
    value = lambda cell, seed: 0.5 + 0.1 * cell.levels["model.skip"] + cell.levels["optimizer.lr"] + 0.01 * seed  # noqa: E731
    trials = [
        make.trial(number, one.cell.name, one.seed, final={"val/accuracy": value(one.cell, one.seed)})
        for number, one in enumerate(study.trials())
    ]

    (verdict,) = verdicts(make.report(study, trials[:-1]))

    assert (verdict.seeds, verdict.estimate, verdict.method) == (2, pytest.approx(0.1 - 0.0025), "contrast")


def test_levels_are_compared_where_nothing_but_the_factor_differs(make: Any) -> None:
    """The cell at 0.2 without skip is excluded, so that without skip no two levels can be compared."""
    best = Best(kind="best", claim="c", factor="optimizer.lr", level=0.2)
    study = make.study({"optimizer.lr": (0.1, 0.2), "model.skip": (False, True)})
    study = study.model_copy(update={"cells": tuple(c for c in study.cells if c.name != "lr=0.2, skip=no")})

    assert [side.cells for side in sides(best, study)] == [("lr=0.2, skip=yes",), ("lr=0.1, skip=yes",)]


@pytest.mark.parametrize(
    ("changes", "hypothesis", "obstacle"),
    [
        ({"classes": {}}, AtChance(kind="at_chance", claim="c", a=LOW), "classes unknown"),
        ({"trials": ()}, ABOVE, "no values"),
        ({}, ABOVE.model_copy(update={"metric": "val/loss"}), "no values"),
    ],
)
def test_what_can_not_be_tested_says_why(tried: Any, changes: Any, hypothesis: Any, obstacle: str) -> None:
    (verdict,) = verdicts(replace(tried(FAR, hypothesis), **changes))

    assert (verdict.decision, verdict.p, verdict.seeds) == ("undecided", 1.0, 0)
    assert verdict.obstacle == obstacle


def test_a_loss_that_is_not_finite_is_not_left_out(tried: Any) -> None:
    report = tried(FAR, ABOVE.model_copy(update={"metric": "val/loss"}))
    lost = [replace(one, final={"val/loss": 0.5 if one.number else float("nan")}) for one in report.trials]

    (verdict,) = verdicts(replace(report, trials=tuple(lost)))

    assert (verdict.decision, verdict.obstacle, verdict.not_finite) == ("undecided", "not finite", 1)


def test_looks_that_are_planned_cost_their_share(tried: Any) -> None:
    (alone,), (one_of_three,) = (verdicts(tried(NEAR, ALIKE, plans=plans)) for plans in ((), ((3, 6, 12),)))

    assert one_of_three.corrected == pytest.approx(4 * alone.corrected), "3 of 12 seeds"
    assert one_of_three.looks == 3 and one_of_three.level == pytest.approx(0.05 / 4)


def test_a_trend_is_one_on_average(tried: Any) -> None:
    rises = Trend(kind="trend", claim="c", factor="optimizer.lr", direction="rising")

    (verdict,) = verdicts(tried({LOW: [0.5, 0.51, 0.505], MIDDLE: [0.95, 0.951, 0.955], HIGH: [0.7, 0.71, 0.7]}, rises))

    assert verdict.decision == "supported"


SCATTERED = {LOW: [0.2, 0.85, 0.3], MIDDLE: [0.5, 0.9, 0.2], HIGH: [0.3, 0.95, 0.91]}


@pytest.mark.parametrize(
    ("hypothesis", "least", "most"),
    [
        (ABOVE, -1, 1),
        (Reaches(kind="reaches", claim="High is good", a=HIGH, target=0.9), 0, 1),
        (AtChance(kind="at_chance", claim="Low does not train", a=LOW), 0, 1),
    ],
    ids=lambda one: getattr(one, "kind", one),
)
def test_intervals_of_scattered_seeds_end_where_shares_do(
    tried: Any, hypothesis: Any, least: float, most: float
) -> None:
    (fields,) = study_fields(analyse(judged_on(tried(SCATTERED, hypothesis), 10_000)))["verdicts"]

    ends = [*fields["interval"], *fields["decisive_interval"]]
    assert most in fields["interval"] and all(least <= end <= most for end in ends)


def test_intervals_of_other_metrics_end_nowhere(tried: Any) -> None:
    reward = Reaches(kind="reaches", claim="High is good", a=HIGH, target=0.9, metric="reward")
    report = tried(SCATTERED, reward)
    scores = [
        replace(one, final={"reward": 10 * value}) for one in report.trials if (value := one.accuracy) is not None
    ]

    (found,) = verdicts(replace(report, trials=tuple(scores)))

    assert found.interval is not None and found.interval.low < -1 and found.interval.high > 10
