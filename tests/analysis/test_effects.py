"""What the factors of a study did: means of levels over the others, and which effects depend on one another."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats
from support.programs import program_report, program_study

from cifarsweep.analysis.effect_records import Effects
from cifarsweep.analysis.effects import effects
from cifarsweep.analysis.records import ReportStudy
from cifarsweep.analysis.study import analyse
from cifarsweep.report.effects_text import interval_text, noise_text
from cifarsweep.spec.types import Value
from cifarsweep.stats.shares import Guess

FACTORS = {"optimizer.lr": (0.1, 0.2), "model.skip": (False, True), "batch_size": (16, 32)}
WAITING = {"state": "queued", "outcome": None, "final": {}, "elapsed_s": None}
Measured = Callable[[Mapping[str, Value]], float]


def study_of(
    make: Any, value: Measured, seeds: int = 4, factors: Mapping[str, Any] = FACTORS, **changes: Any
) -> ReportStudy:
    """Each cell has exactly this mean, and seeds up to 1 point away from it."""
    study = make.study(factors, seeds=seeds, **changes)
    off = np.linspace(-0.01, 0.01, seeds) if seeds > 1 else [0.0]
    trials = [
        make.trial(
            number,
            one.cell.name,
            one.seed,
            levels=one.cell.levels,
            final={"val/accuracy": value(one.cell.levels) + off[one.seed]},
        )
        for number, one in enumerate(study.trials())
    ]
    return make.report(study, trials)


def adds_up(levels: Mapping[str, Value]) -> float:
    return 0.8 + 0.04 * (levels["optimizer.lr"] == 0.2) + 0.02 * (levels["model.skip"] is True)


def depends(levels: Mapping[str, Value]) -> float:
    """The higher rate helps with a skip connection and harms without one."""
    return 0.8 + (0.04 if levels["model.skip"] else -0.02) * (levels["optimizer.lr"] == 0.2)


def without(report: ReportStudy, *cells: Mapping[str, Value], seeds: Sequence[int] = range(9)) -> ReportStudy:
    """The same after the trials of these cells and seeds failed."""
    lost = {"state": "failed", "outcome": None, "final": {}}
    trials = tuple(
        replace(trial, **lost) if any(trial.levels == cell for cell in cells) and trial.seed in seeds else trial
        for trial in report.trials
    )
    return replace(report, trials=trials)


def found(report: ReportStudy) -> Effects:
    one = effects(report)
    assert one is not None
    return one


def cell(rate: float, skip: bool, batch: int) -> dict[str, Value]:
    return {"optimizer.lr": rate, "model.skip": skip, "batch_size": batch}


def test_each_level_is_averaged_over_the_others(make: Any) -> None:
    one = found(study_of(make, adds_up))

    means = {main.factor: [(each.level, round(each.found.mean, 6)) for each in main.levels] for main in one.factors}
    assert means == {
        "optimizer.lr": [(0.1, 0.81), (0.2, 0.85)],
        "model.skip": [(False, 0.82), (True, 0.84)],
        "batch_size": [(16, 0.83), (32, 0.83)],
    }
    rate, _, batch = (main.furthest for main in one.factors)
    assert (rate.high, rate.low, round(rate.value, 6), rate.larger) == (0.2, 0.1, 0.04, True)
    assert not batch.larger and batch.interval.low < 0 < batch.interval.high
    assert (one.spread.df, one.seeds, one.comparisons, one.level, one.untrained) == (24, (4, 4), 3, 0.05, ())
    assert (rate.interval.high - rate.interval.low) / 2 == pytest.approx(
        2.5734 * one.spread.sd * (2 / 16) ** 0.5,
        rel=1e-3,  # t(1 - 0.05 / 3 / 2, 24)
    )


def test_an_interaction_is_found_where_a_difference_depends_on_another_factor(make: Any) -> None:
    one = found(study_of(make, depends))

    assert [(pair.rows, pair.columns, pair.larger) for pair in one.interactions] == [
        ("optimizer.lr", "model.skip", True),
        ("optimizer.lr", "batch_size", False),
        ("model.skip", "batch_size", False),
    ]
    change = one.interactions[0].change
    assert (change.high, change.low, change.there, change.here) == (0.2, 0.1, True, False)
    assert (round(change.difference_there, 6), round(change.difference_here, 6), round(change.size, 6)) == (
        0.04,
        -0.02,
        0.06,
    )
    assert one.interactions[0].averaged and one.interactions[0].corrected == pytest.approx(
        3 * one.interactions[0].test.p
    )


def test_no_interaction_is_larger_than_the_noise_where_effects_add_up(make: Any) -> None:
    assert not any(pair.larger for pair in found(study_of(make, adds_up)).interactions)


def test_cells_without_a_counterpart_count_at_no_level(make: Any) -> None:
    """Where one batch size is missing at 0.1 without a skip connection, it is left out at 0.2 too."""
    report = without(
        study_of(make, lambda levels: adds_up(levels) + 0.1 * (levels["batch_size"] == 16)), cell(0.1, False, 16)
    )

    rate, skip, batch = found(report).factors

    assert [round(each.found.mean, 6) for each in rate.levels] == [
        round(x, 6) for x in np.mean([[0.8, 0.82, 0.92], [0.84, 0.86, 0.96]], 1)
    ]
    assert [(main.left_out, main.levels[0].found.cells) for main in (rate, skip, batch)] == [(1, 3)] * 3
    first = found(report).interactions[0]
    assert (first.left_out, first.alone, first.averaged) == (3, {"batch_size": 32}, False)


def test_seeds_of_a_cell_may_be_fewer(make: Any) -> None:
    one = found(without(study_of(make, depends), cell(0.1, True, 16), seeds=(0, 1, 2)))

    assert (one.seeds, one.spread.df) == ((1, 4), 21)
    assert one.factors[0].levels[0].found.seeds == 13 and one.interactions[0].larger


def test_one_seed_has_means_but_no_interval_and_no_test(make: Any) -> None:
    one = found(study_of(make, depends, seeds=1))

    assert one.spread is None and one.seeds == (1, 1)
    assert all(each.found.interval is None for main in one.factors for each in main.levels)
    assert not any(main.furthest.larger or main.furthest.interval for main in one.factors)
    assert all(pair.test is None and pair.corrected is None and not pair.larger for pair in one.interactions)
    assert round(one.interactions[0].change.size, 6) == 0.06


def test_nothing_is_claimed_while_trials_are_open(make: Any) -> None:
    report = study_of(make, depends)
    report = replace(report, trials=(*report.trials[:-1], replace(report.trials[-1], **WAITING)))

    one = found(report)

    assert (one.preliminary, one.open_trials) == (True, 1)
    assert one.interactions[0].test.p < 1e-6 and one.interactions[0].corrected is None
    assert not any(pair.larger for pair in one.interactions) and not any(main.furthest.larger for main in one.factors)


def test_at_a_planned_look_its_seeds_alone_count_at_its_level(make: Any) -> None:
    report = study_of(make, depends)
    report = replace(report, plans=((3, 6),), trials=(*report.trials[:-1], replace(report.trials[-1], **WAITING)))

    one = found(report)

    assert (one.seeds, one.spread.df, one.level, one.preliminary, one.open_trials) == ((3, 3), 16, 0.025, False, 1)
    assert one.interactions[0].larger


def test_a_cell_that_did_not_train_counts_with_its_accuracy_and_is_named(make: Any) -> None:
    report = study_of(make, lambda levels: 0.1 if levels == cell(0.2, False, 16) else adds_up(levels))
    report = replace(report, trials=tuple(replace(trial, guess=Guess(0.12, 1000)) for trial in report.trials))

    one = found(report)

    assert one.untrained == ("lr=0.2, skip=no, batch_size=16",)
    assert one.spread.df == 21 and round(one.factors[0].levels[1].found.mean, 6) == round(
        (0.1 + 0.84 + 2 * 0.86) / 4, 6
    )


def test_a_loss_that_is_not_finite_is_no_result_and_none_of_the_others_goes_below_zero() -> None:
    """Where one of two seeds has none, the other stands for its cell."""
    study = program_study("val/loss", seeds=2, factors={"lr": (0.1, 0.2), "width": (1, 2)})
    report = program_report(study, [0.004, 0.004, 0.004, 2.0], spread=0.01)
    first = replace(report.trials[0], outcome="diverged", final={"val/loss": float("nan")})

    one = found(replace(report, trials=(first, *report.trials[1:])))

    assert (one.metric, one.seeds, one.spread.df) == ("val/loss", (1, 2), 3)
    assert one.factors[0].levels[0].found.interval.low == 0 and one.interactions[0].larger


@pytest.mark.parametrize(
    "factors", [{}, {"optimizer.lr": (0.1, 0.2)}, {"optimizer.lr": (0.1, 0.2), "model.skip": (True,)}]
)
def test_a_study_that_crosses_no_factors_has_no_effects(make: Any, factors: Mapping[str, Any]) -> None:
    assert effects(make.finished(make.study(factors))) is None


def test_factors_whose_levels_have_no_cells_alike_are_told_apart_from_the_others(make: Any) -> None:
    """At 0.1 all batches are of 16 images, at 0.2 of 32, so that neither can be averaged over the other."""
    four = {**FACTORS, "optimizer.momentum": (0.0, 0.9)}
    report = study_of(make, adds_up, factors=four)
    mixed = [
        one.levels
        for one in report.study.cells
        if (one.levels["optimizer.lr"] == 0.1) == (one.levels["batch_size"] == 32)
    ]

    one = found(without(report, *mixed))

    assert one.apart == ("optimizer.lr", "batch_size")
    assert [main.factor for main in one.factors] == ["model.skip", "optimizer.momentum"]
    assert ("optimizer.lr", "batch_size") not in [(pair.rows, pair.columns) for pair in one.interactions]


def test_an_interval_ends_where_the_metric_does(make: Any) -> None:
    one = found(study_of(make, lambda levels: 0.985 + 0.005 * (levels["optimizer.lr"] == 0.2), seeds=2))

    assert one.factors[0].levels[1].found.interval.high == 1.0


def test_every_analysis_has_them(make: Any) -> None:
    report = study_of(make, depends)

    assert analyse(report).effects == effects(report)
    assert effects(make.report(report.study, [])) is None


def test_cells_that_differ_in_their_spread_count_each_with_its_own(make: Any) -> None:
    report = study_of(make, adds_up)
    noisy = [
        replace(trial, final={"val/accuracy": adds_up(trial.levels) + 8 * (trial.accuracy - adds_up(trial.levels))})
        if trial.levels["optimizer.lr"] == 0.1
        else trial
        for trial in report.trials
    ]

    one, before = found(replace(report, trials=tuple(noisy))), found(report)

    assert one.spread.unlike and one.spread.alike < 0.001 and not before.spread.unlike
    slow, fast = one.factors[0].levels
    # Of four cells with a variance of 8^2 and of 1 times that of four seeds from -1 to 1 point, of three degrees each.
    variance = np.var(np.linspace(-0.01, 0.01, 4), ddof=1)
    for level, times in ((slow, 64), (fast, 1)):
        assert level.found.interval.half == pytest.approx(stats.t.ppf(0.975, 12) * (times * variance / 16) ** 0.5)
    gap = one.factors[0].furthest.interval
    df = 65**2 / ((64**2 + 1) / 12)
    assert gap.half == pytest.approx(stats.t.ppf(1 - 0.05 / 6, df) * (65 * variance / 16) ** 0.5)
    assert all(pair.test.error_df < 24 for pair in one.interactions)
    assert "(Bartlett's test, p < 0.001), so each counts with its own." in interval_text(one)
    assert "Bartlett" not in interval_text(before)
    assert (noise_text(one), noise_text(before)) == (
        "by the noise of its own cells", "by the noise of all cells that trained",
    )  # fmt: skip


def test_a_cell_of_one_run_counts_with_the_spread_of_all(make: Any) -> None:
    report = study_of(make, adds_up)
    noisy = [
        replace(trial, final={"val/accuracy": 0.5 + 0.1 * trial.seed})
        if trial.levels == cell(0.1, False, 16)
        else trial
        for trial in report.trials
    ]

    one = found(without(replace(report, trials=tuple(noisy)), cell(0.2, True, 32), seeds=(1, 2, 3)))

    assert one.spread.unlike and one.seeds == (1, 4)
    assert all(each.found.interval is not None for main in one.factors for each in main.levels)
