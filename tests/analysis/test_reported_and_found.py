"""What others reported, held against what the trials gave."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import assume, given
from hypothesis import strategies as st
from support.studies import HIGH, LOW, MIDDLE, study_of_rates

from cifarsweep.analysis.outcomes import FallenOut
from cifarsweep.analysis.records import ReportStudy
from cifarsweep.analysis.reported import ReportedAndFound, Standing, reported_and_found
from cifarsweep.analysis.samples import metrics_needed, named_cells
from cifarsweep.analysis.study import analyse
from cifarsweep.spec.final import Final
from cifarsweep.spec.moments import At
from cifarsweep.spec.reported import Reported
from cifarsweep.stats import Interval

#: Mean 0.9, s = 0.01: one further run ends at 0.9 +- 4.303 * 0.01 * sqrt(1 / 3 + 1), which is 0.8503 to 0.9497.
SPREAD = {LOW: [0.89, 0.90, 0.91]}


def fact(value: float = 0.9, **changes: Any) -> Reported:
    return Reported(**{"cell": LOW, "metric": "val/accuracy", "value": value, **changes})


def held(report: ReportStudy, *facts: Reported) -> list[ReportedAndFound]:
    study = report.study.model_copy(update={"reported": facts})
    return reported_and_found(replace(report, study=study))


@pytest.mark.parametrize(
    ("reported", "standing"),
    [
        (fact(0.949, tolerance=0.1), Standing.IN_LINE),
        (fact(0.851, tolerance=0.1), Standing.IN_LINE),
        (fact(0.9, tolerance=0.09), Standing.NOT_TOLD_APART),
        (fact(0.9), Standing.NOT_TOLD_APART),
        (fact(0.950, tolerance=0.1), Standing.HIGHER),
        (fact(0.850, tolerance=0.1), Standing.LOWER),
        (fact(0.9, tolerance=0.08, runs=3), Standing.IN_LINE),
        (fact(0.94, runs=3), Standing.HIGHER),
        (fact(0.86, runs=3), Standing.LOWER),
    ],
)
def test_the_word_follows_from_the_prediction_interval_and_the_tolerance(
    tried: Any, reported: Reported, standing: Standing
) -> None:
    (one,) = held(tried(SPREAD), reported)

    assert one.standing is standing


def test_the_interval_is_that_of_one_run_and_not_of_the_mean(tried: Any) -> None:
    (one,) = held(tried(SPREAD), fact())

    assert one.found is not None and one.interval is not None and one.found.interval is not None
    assert (one.interval.low, one.interval.high) == pytest.approx((0.8503, 0.9497), abs=1e-4)
    assert one.interval.half == pytest.approx(2 * one.found.interval.half)


@given(
    values=st.lists(st.floats(0.2, 0.8), min_size=2, max_size=20),
    runs=st.integers(1, 50),
    metric=st.sampled_from(["val/accuracy", "val/loss", "gpu/utilisation"]),
)
def test_the_interval_is_that_of_scipy_within_what_the_metric_can_be(
    make: Any, values: list[float], runs: int, metric: str
) -> None:
    report = study_of_rates(make, {LOW: values})
    trials = tuple(replace(t, final={metric: t.final["val/accuracy"]}) for t in report.trials)
    assume(np.std(values) > 1e-6)

    (one,) = held(replace(report, trials=trials), fact(0.5, metric=metric, runs=runs))

    n = len(values)
    spread = np.std(values, ddof=1) * np.sqrt(1 / n + 1 / runs)
    low, high = scipy.stats.t.interval(0.95, n - 1, loc=np.mean(values), scale=spread)
    most = np.inf if metric == "val/loss" else 1.0
    assert one.interval is not None
    assert (one.interval.low, one.interval.high) == pytest.approx((max(low, 0.0), min(high, most)))


def test_a_wide_interval_ends_where_a_share_does(tried: Any) -> None:
    (one,) = held(tried({LOW: [0.05, 0.5, 0.95]}), fact(1.0))

    assert one.interval == Interval(0.0, 1.0) and one.standing is Standing.NOT_TOLD_APART


@pytest.mark.parametrize("values", [[None, None, None], [0.9, None, None], [0.1, 0.1, 0.1]])
def test_without_a_spread_there_is_no_word(tried: Any, values: list[float | None]) -> None:
    (one,) = held(tried({LOW: values}), fact())

    assert (one.standing, one.interval, one.open_trials) == (None, None, values.count(None))


def test_runs_that_fell_out_are_counted_and_pruned_ones_are_not(tried: Any) -> None:
    report = tried({LOW: [0.9, 0.1, 0.2]})
    first, second, third = report.trials
    trials = (first, replace(second, outcome="diverged"), replace(third, outcome="pruned"))

    (one,) = held(replace(report, trials=trials), fact())

    assert one.found is not None and (one.found.n, one.found.mean) == (1, 0.9)
    assert one.fell_out == FallenOut(1, 2)


def test_a_value_that_is_not_finite_is_counted_apart(tried: Any) -> None:
    report = tried(SPREAD)
    trials = (replace(report.trials[0], final={"val/accuracy": float("nan")}), *report.trials[1:])

    (one,) = held(replace(report, trials=trials), fact())

    assert one.found is not None and (one.found.n, one.without_value) == (2, 1)


@pytest.fixture
def curves(tried: Any) -> ReportStudy:
    """Ten evaluations, one every 10 steps and half an epoch; accuracy peaks at step 50, loss falls."""
    report = tried(SPREAD)
    steps = np.arange(10, 101, 10)
    shape = np.array([0.1, 0.2, 0.3, 0.4, 0.9, 0.5, 0.5, 0.6, 0.7, 0.8])
    series = {}
    for trial in report.trials:
        series[trial.number, "val/accuracy"] = (steps, shape + trial.seed / 100)
        series[trial.number, "val/loss"] = (steps, 1 - shape)
        series[trial.number, "epoch"] = (steps, steps / 20)
    return replace(report, series=series)


@pytest.mark.parametrize(
    ("changes", "mean"),
    [
        ({"at": At(step=20)}, 0.21),
        ({"at": At(epoch=1.0)}, 0.21),
        ({"at": At(step=25)}, 0.26),
        ({"at": At(epoch=5.0)}, 0.81),
        ({"of": "best"}, 0.91),
        ({"of": "best", "at": At(step=40)}, 0.41),
        ({"of": "mean of the last 2"}, 0.76),
        ({"of": "mean of the last 2", "at": At(epoch=1.0)}, 0.16),
        ({"of": "best", "metric": "val/loss"}, 0.1),
    ],
)
def test_moments_bests_and_means_are_read_from_the_curves(
    curves: ReportStudy, changes: dict[str, Any], mean: float
) -> None:
    (one,) = held(curves, fact(**changes))

    assert one.found is not None and one.found.mean == pytest.approx(mean)


@pytest.mark.parametrize(
    "changes",
    [{"at": At(step=5)}, {"at": At(step=200)}, {"at": At(epoch=9.0)}, {"of": "mean of the last 11"}],
)
def test_what_was_not_evaluated_has_no_value(curves: ReportStudy, changes: dict[str, Any]) -> None:
    (one,) = held(curves, fact(**changes))

    assert one.found is None and one.without_value == 3


@pytest.mark.parametrize(("last_step", "diverged"), [(10, 3), (100, 0)])
def test_a_trial_counts_as_it_ended_if_it_had_diverged_by_the_moment(curves: ReportStudy, last_step, diverged) -> None:
    ends = {"outcome": "diverged", "steps": last_step, "final": {"val/accuracy": 0.1}}
    trials = tuple(replace(trial, **ends) for trial in curves.trials)
    (as_measured,) = held(curves, fact(at=At(step=20)))

    (one,) = held(replace(curves, trials=trials), fact(at=At(step=20)))

    assert one.found is not None and as_measured.found is not None
    assert as_measured.found.mean != pytest.approx(0.1)
    expected = 0.1 if diverged else as_measured.found.mean
    assert (one.found.mean, one.fell_out.count) == (pytest.approx(expected), diverged)


def test_a_report_of_the_last_value_is_held_against_the_last_value(curves: ReportStudy) -> None:
    """Also where the final values of the study are means of several, which spread less."""
    study = curves.study.model_copy(update={"final": Final(mean_of=5)})

    (one,) = held(replace(curves, study=study), fact())

    assert one.found is not None and one.found.mean == pytest.approx(0.81)
    assert metrics_needed(study.model_copy(update={"reported": (fact(),)})) == ["epoch", "val/accuracy"]


def test_the_time_of_a_trial_that_ended_early_is_no_training_time(tried: Any) -> None:
    report = tried(SPREAD)
    trials = tuple(replace(trial, outcome="diverged") for trial in report.trials)

    (one,) = held(replace(report, trials=trials), fact(12.5, metric="elapsed_s"))

    assert (one.found, one.without_value, one.fell_out.count) == (None, 3, 3)


def test_training_time_is_that_of_the_trial(tried: Any) -> None:
    report = tried(SPREAD)
    trials = tuple(replace(trial, elapsed_s=100.0 + trial.seed) for trial in report.trials)

    (one,) = held(replace(report, trials=trials), fact(101.0, metric="elapsed_s"))

    assert one.found is not None and one.found.mean == 101.0


def test_cells_of_reported_numbers_are_read_and_shown(tried: Any) -> None:
    study = tried(SPREAD).study
    changed = study.model_copy(update={"reported": (fact(), fact(cell=HIGH, metric="val/loss", of="best"))})

    assert (named_cells(study), metrics_needed(study)) == (frozenset(), [])
    assert named_cells(changed) == {LOW, HIGH}
    assert metrics_needed(changed) == ["epoch", "val/accuracy", "val/loss"]


def test_the_analysis_of_a_study_holds_them_in_its_order(tried: Any) -> None:
    report = tried({LOW: [0.89, 0.9, 0.91], MIDDLE: [0.5, 0.51, 0.52]})
    study = report.study.model_copy(update={"reported": (fact(cell=MIDDLE), fact())})

    found = analyse(replace(report, study=study)).reported

    assert [one.reported.cell for one in found] == [MIDDLE, LOW]
