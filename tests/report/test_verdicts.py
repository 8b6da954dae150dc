"""From trials to verdicts: which seeds and cells count, and what is said of them."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from rates import ABOVE, ALIKE, FAR, HIGH, LOW, MIDDLE, NEAR, Values
from statsmodels.stats.power import TTestPower

from cifarsweep.analysis.samples import sides
from cifarsweep.analysis.study import analyse
from cifarsweep.analysis.verdicts import verdicts
from cifarsweep.report.hypothesis_text import hypothesis_text
from cifarsweep.report.marks import forest_mark
from cifarsweep.report.notes import evaluation_notes, figure_notes
from cifarsweep.report.render import render_study
from cifarsweep.report.study_page import study_view
from cifarsweep.report.summary import study_fields, verdict_lines
from cifarsweep.report.verdict_text import sentence
from cifarsweep.spec.hypothesis import AtChance, Best, Greater, NotWorse, Reaches, Trend
from cifarsweep.spec.settings import EarlyStop, Settings


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

    assert verdict.decision == expected, sentence(verdict)
    assert verdict.seeds == 3 and (verdict.corrected <= 0.05) == (expected != "undecided")
    assert sentence(verdict).startswith("" if expected == "supported" else f"{expected.capitalize()}: ")


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


def test_the_sentence_has_the_means_the_finding_the_time_and_how_sure_it_is(tried: Any) -> None:
    report = tried(NEAR, ALIKE)
    quick = [replace(trial, elapsed_s=31.0 if trial.cell == HIGH else 100.0) for trial in report.trials]

    (verdict,) = verdicts(replace(report, trials=tuple(quick)))

    assert sentence(verdict).replace("\N{NARROW NO-BREAK SPACE}", " ") == (
        "High matches low: 91.4 ± 0.4 % against 91.5 ± 0.2 %, equivalent within 1 point, in 0.31 of the time "
        "(difference −0.13 points, 95 % interval −0.28 to 0.01; p = 0.0015; 3 paired seeds)."
    )


@pytest.mark.parametrize(("seeds", "expected"), [(3, "undecided"), (6, "supported")])
def test_seeds_that_are_all_alike_are_counted_not_measured(tried: Any, seeds: int, expected: str) -> None:
    report = tried({LOW: [0.1] * seeds}, AtChance(kind="at_chance", claim="Low does not train", a=LOW))
    diverged = tuple(replace(one, outcome="diverged") for one in report.trials)

    (verdict,) = verdicts(replace(report, trials=diverged))

    assert (verdict.decision, verdict.interval, verdict.p) == (expected, None, 2 * 0.5**seeds)
    assert f"{seeds} of {seeds} diverged" in sentence(verdict) and "p < 0.001" not in sentence(verdict)
    assert "95 % interval" not in sentence(verdict)
    assert f"all {seeds} seeds alike, so a sign test decides" in sentence(verdict)
    assert verdict.more_seeds == (4 if expected == "undecided" else None), "0.5^7 is below 5 % / 2 / 2"
    assert study_fields(analyse(report))["verdicts"][0]["method"] == "sign test"
    assert "take the values of different seeds for independent and about normal" in " ".join(figure_notes(report, []))


def test_one_seed_is_never_enough(tried: Any) -> None:
    (verdict,) = verdicts(tried({LOW: [0.1], HIGH: [0.9]}, ABOVE))

    assert (verdict.decision, verdict.more_seeds, verdict.interval) == ("undecided", 2, None)
    assert "One seed is never enough: at least 3." in sentence(verdict)


def test_two_seeds_have_an_interval_and_no_p(tried: Any) -> None:
    two = {cell: values[:2] for cell, values in FAR.items()}

    (verdict,) = verdicts(tried(two, ABOVE))

    assert verdict.decision == "undecided" and verdict.interval is not None
    assert "; no test with fewer than 3 seeds; 2 paired seeds)" in sentence(verdict) and "p =" not in sentence(verdict)


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
    assert f"about {verdict.more_seeds} more seeds to decide it with 80 % chance" in sentence(verdict)
    assert "no more seeds than those waiting" not in sentence(verdict)
    assert planned.more_seeds > verdict.more_seeds and some_wait.more_seeds == verdict.more_seeds - 8


def test_seeds_that_wait_may_be_enough(tried: Any) -> None:
    values = {LOW: [0.91, 0.92, 0.93], HIGH: [0.917, 0.926, 0.943]}
    waiting = {cell: [*done, *[None] * 30] for cell, done in values.items()}

    (bare,), (verdict,) = (verdicts(tried(each, ABOVE)) for each in (values, waiting))

    assert bare.decision == verdict.decision == "undecided" and bare.more_seeds > verdict.more_seeds == 0
    assert "it takes no more seeds than those waiting to decide it with 80 % chance" in sentence(verdict)


def test_what_is_hopeless_is_called_so(tried: Any) -> None:
    (verdict,) = verdicts(tried({LOW: [0.9, 0.91, 0.92], HIGH: [0.92, 0.91, 0.9]}, ABOVE))

    assert verdict.more_seeds is None and "it takes more than 200 seeds" in sentence(verdict)


def test_only_seeds_that_both_have_count_and_diverged_trials_are_results(tried: Any) -> None:
    report = tried({LOW: [0.1, 0.1, 0.1, None], HIGH: [0.9, 0.9, 0.1, 0.99]}, ABOVE)
    diverged = [replace(one, outcome="diverged") if one.accuracy == 0.1 else one for one in report.trials]

    (verdict,) = verdicts(replace(report, trials=tuple(diverged)))

    assert (verdict.seeds, verdict.estimate, verdict.method) == (3, pytest.approx(1.6 / 3), "paired")
    assert verdict.open_trials == 1 and "finished, and 1 is not" in sentence(verdict)


def test_the_means_of_a_sentence_are_of_the_seeds_that_were_tested(tried: Any) -> None:
    """The cell with more seeds would have a mean below the one that it was found to be above."""
    (verdict,) = verdicts(tried({LOW: [0.80, 0.81, 0.805, 0.99, 0.99, 0.99], HIGH: [0.85, 0.861, 0.854]}, ABOVE))

    assert sentence(verdict).startswith("High is above low: 85.5") and "against 80.5" in sentence(verdict)
    assert verdict.estimate == pytest.approx(0.05) and "3 paired seeds" in sentence(verdict)


def test_there_is_no_verdict_before_the_trials_of_a_look_are_finished(tried: Any) -> None:
    """As many open seeds as there are, whoever looks now may not keep what pleases: here all are far apart."""
    waiting = {cell: [*values, None] for cell, values in FAR.items()}

    (verdict,) = verdicts(tried(waiting, ABOVE))

    assert (verdict.decision, verdict.preliminary, verdict.corrected) == ("undecided", True, 1.0)
    assert "no verdict before all of its trials are finished, and 2 are not." in sentence(verdict)
    assert "difference 80.5 points" in sentence(verdict) and "p " not in sentence(verdict).split("Preliminary")[0]


def test_a_look_that_is_complete_keeps_its_verdict_while_the_next_one_runs(tried: Any) -> None:
    """The seeds of the next look that are done already would turn it around."""
    values = {cell: [*FAR[cell], 0.9 - FAR[cell][0], None, None] for cell in (LOW, HIGH)}
    report = replace(tried(values, ABOVE), plans=((3, 6),))

    (verdict,) = verdicts(report)

    assert (verdict.decision, verdict.preliminary, verdict.seeds) == ("supported", False, 3)
    assert verdict.level == 0.025 and "4 trials of the next look not finished" in sentence(verdict)


def test_a_study_that_was_cut_short_says_what_that_does_to_the_promise(tried: Any) -> None:
    report = tried({cell: [*values, None] for cell, values in FAR.items()}, ABOVE)
    trials = tuple(replace(one, state="cancelled") if one.state == "queued" else one for one in report.trials)

    fields = study_fields(analyse(replace(report, trials=trials)))

    assert fields["verdicts"][0]["decision"] == "supported"
    assert fields["promise"].startswith("3 trials were cancelled: if somebody did that in view of the numbers")
    assert fields["false_verdicts_at_most"] is None and study_fields(analyse(report))["false_verdicts_at_most"] == 0.05


def test_cells_of_a_selector_count_with_their_mean_by_seed(make: Any) -> None:
    skips = Greater(kind="greater", claim="c", a={"model.skip": True}, b={"model.skip": False})
    study = make.study({"optimizer.lr": (0.1, 0.2), "model.skip": (False, True)}, hypotheses=(skips,))
    value = lambda cell, seed: 0.5 + 0.1 * cell.levels["model.skip"] + cell.levels["optimizer.lr"] + 0.01 * seed  # noqa: E731
    trials = [
        make.trial(number, one.cell.name, one.seed, final={"val/accuracy": value(one.cell, one.seed)})
        for number, one in enumerate(study.trials())
    ]

    (verdict,) = verdicts(make.report(study, trials[:-1]))

    assert (verdict.seeds, verdict.estimate) == (2, pytest.approx(0.1))


def test_levels_are_compared_where_nothing_but_the_factor_differs(make: Any) -> None:
    """The cell at 0.2 without skip is excluded, so that without skip no two levels can be compared."""
    best = Best(kind="best", claim="c", factor="optimizer.lr", level=0.2)
    study = make.study({"optimizer.lr": (0.1, 0.2), "model.skip": (False, True)})
    study = study.model_copy(update={"cells": tuple(c for c in study.cells if c.name != "lr=0.2, skip=no")})

    assert [side.cells for side in sides(best, study)] == [("lr=0.2, skip=yes",), ("lr=0.1, skip=yes",)]


@pytest.mark.parametrize(
    ("changes", "hypothesis", "words"),
    [
        ({"classes": {}}, AtChance(kind="at_chance", claim="c", a=LOW), "how many classes"),
        ({"trials": ()}, ABOVE, "not every cell that it needs is done with a validation accuracy"),
        ({}, ABOVE.model_copy(update={"metric": "val/loss"}), "is done with a validation loss"),
    ],
)
def test_what_can_not_be_tested_says_why(tried: Any, changes: Any, hypothesis: Any, words: str) -> None:
    (verdict,) = verdicts(replace(tried(FAR, hypothesis), **changes))

    assert (verdict.decision, verdict.p, verdict.seeds) == ("undecided", 1.0, 0)
    assert words in sentence(verdict)


def test_a_loss_that_is_not_finite_is_not_left_out(tried: Any) -> None:
    report = tried(FAR, ABOVE.model_copy(update={"metric": "val/loss"}))
    lost = [replace(one, final={"val/loss": 0.5 if one.number else float("nan")}) for one in report.trials]

    (verdict,) = verdicts(replace(report, trials=tuple(lost)))

    assert verdict.decision == "undecided" and "1 trial ended with a validation loss that is not finite" in sentence(
        verdict
    )


def test_looks_that_are_planned_cost_their_share(tried: Any) -> None:
    (alone,), (one_of_three,) = (verdicts(tried(NEAR, ALIKE, plans=plans)) for plans in ((), ((3, 6, 12),)))

    assert one_of_three.corrected == pytest.approx(3 * alone.corrected)
    assert "corrected for 3 looks" in sentence(one_of_three)


def test_what_was_not_planned_is_said_everywhere(tried: Any) -> None:
    words = "at most 8.75 %, not 5 %; plan before the first look to keep 5 %"

    report = tried(NEAR, ALIKE, plans=((3,), (4, 5), (6,)))

    fields = study_fields(analyse(report))
    nothing_claimed = replace(report, study=report.study.model_copy(update={"hypotheses": ()}))
    assert (
        verdict_lines(analyse(nothing_claimed)) == []
        and study_view(analyse(nothing_claimed))["error_rate_warnings"] == ""
    )
    assert (
        words in study_view(analyse(report))["error_rate_warnings"].replace("\u202f", " ")
        and words in verdict_lines(analyse(report))[-1]
    )
    assert words in fields["promise"] and fields["false_verdicts_at_most"] == pytest.approx(0.0875)
    assert (fields["verdicts"][0]["looks"], fields["verdicts"][0]["level"]) == (4, 0.05)


def test_page_and_terminal_begin_with_the_verdicts(tried: Any) -> None:
    report = tried(FAR, ABOVE.model_copy(update={"claim": "<script>High is above</script>"}), plans=((3, 6),))

    page = render_study(analyse(report))

    assert '<li class="verdict supported">' in page and "&lt;script&gt;High is above" in page
    assert page.index('class="verdicts"') < page.index('class="lead"')
    assert [line[:25] for line in verdict_lines(analyse(report))] == ["<script>High is above</sc"]
    assert "Looks at the results are planned with 3, 6 seeds, each at 5 % / 2" in " ".join(figure_notes(report, []))


def test_the_page_says_how_often_the_test_set_was_looked_at_and_what_was_chosen_by_it(make: Any) -> None:
    report = make.finished(make.study({}))
    stopping = Settings(epochs=1, early_stop=EarlyStop(patience=2))
    cells = (report.study.cells[0].model_copy(update={"own_settings": stopping}),)

    notes = " ".join(figure_notes(replace(report, study=report.study.model_copy(update={"cells": cells})), []))

    assert "looked at 36 times in 3 trials, at most 12 times in one" in notes
    assert "looked at" not in " ".join(evaluation_notes(replace(report, series={}))).partition("as well")[2]
    assert "also decided when to stop" in notes and "not the best one seen" in notes


@pytest.mark.parametrize(("target", "text"), [(0.9545, "95.45"), (0.95, "95.0"), (0.954321, "95.4321")])
def test_a_target_has_all_its_digits(tried: Any, target: float, text: str) -> None:
    claim = Reaches(kind="reaches", claim="c", a=LOW, target=target)

    (verdict,) = verdicts(tried({LOW: [0.9541, 0.9542, 0.9540]}, claim))

    assert f"{text}\N{NARROW NO-BREAK SPACE}%" in sentence(verdict) + hypothesis_text(claim)
    assert f"at least {text}\N{NARROW NO-BREAK SPACE}%" in hypothesis_text(claim)


def test_a_trend_is_one_on_average(tried: Any) -> None:
    rises = Trend(kind="trend", claim="c", factor="optimizer.lr", direction="rising")

    (verdict,) = verdicts(tried({LOW: [0.5, 0.51, 0.505], MIDDLE: [0.95, 0.951, 0.955], HIGH: [0.7, 0.71, 0.7]}, rises))

    assert verdict.decision == "supported" and "on average rising along these levels" in sentence(verdict)


def test_a_claim_about_the_best_accuracy_seen_is_named(tried: Any) -> None:
    best_seen = ABOVE.model_copy(update={"metric": "best/accuracy", "claim": "High peaks above low."})

    plain, named = (
        " ".join(evaluation_notes(tried(FAR, *hypotheses))) for hypotheses in ((ABOVE,), (ABOVE, best_seen))
    )

    assert plain.endswith("not the best one seen.")
    assert "not the best one seen, but for “High peaks above low”: the best accuracy is" in named
