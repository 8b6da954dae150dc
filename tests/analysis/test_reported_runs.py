"""Runs of another study beside the cells that they stand for."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.studies import FAR, HIGH, LOW

from cifarsweep.analysis.records import OtherRun, OtherStudy, ReportStudy, Series
from cifarsweep.analysis.reported_runs import DrawnBy, cut, runs_found
from cifarsweep.analysis.study import StudyAnalysis, analyse
from cifarsweep.spec.moments import At
from cifarsweep.spec.reported_runs import ReportedRuns


def series(steps: Any, values: Any) -> Series:
    return np.asarray(steps, np.int64), np.asarray(values, np.float64)


def accuracy(last: int, every: int, ends: float = 0.8) -> Series:
    steps = np.arange(every, last + 1, every)
    return series(steps, ends * steps / last)


def run(name: str = "theirs", seed: int = 0, **curves: Series) -> OtherRun:
    named = {metric.replace("_", "/"): one for metric, one in curves.items()}
    return OtherRun(name, seed, frozenset(named), named)


def held(tried: Any, *runs: OtherRun, epoch_steps: float | None = 100, **changes: Any) -> ReportStudy:
    """Three rates, trained for 1,000 steps and evaluated every 100; `LOW` is held against the run `theirs`."""
    report = tried(FAR)
    found = ReportedRuns(**({"study": "backbone", "runs": {LOW: ("theirs",)}} | changes))
    trials = tuple(replace(trial, steps=1000) for trial in report.trials)
    curves = {}
    for trial in trials:
        curves[trial.number, "val/accuracy"] = accuracy(1000, 100, trial.final["val/accuracy"])
        if epoch_steps:
            curves[trial.number, "epoch"] = series([1000], [1000 / epoch_steps])
    study = report.study.model_copy(update={"reported_runs": found})
    other = OtherStudy(("theirs", "another"), runs)
    return replace(report, study=study, trials=trials, series=curves, other_study=other)


def drawn(report: ReportStudy) -> Any:
    found = runs_found(report)
    assert found is not None
    return found.curves[0]


@pytest.mark.parametrize(
    ("theirs", "by", "drawn_by", "last"),
    [
        (series([1000], [10.0]), None, DrawnBy.STEP, 1000),
        (series([1000], [9.0]), None, DrawnBy.STEP, 1000),
        (series([1000], [20.0]), None, DrawnBy.EPOCH, 2000),
        (series([1000], [20.0]), "step", DrawnBy.STEP, 1000),
        (series([1000], [9.0]), "epoch", DrawnBy.EPOCH, 900),
        (None, None, DrawnBy.UNKNOWN, 1000),
        (None, "epoch", DrawnBy.UNKNOWN, 1000),
        (series([], []), None, DrawnBy.UNKNOWN, 1000),
        (series([500, 1000], [0.0, 0.0]), None, DrawnBy.UNKNOWN, 1001),
    ],
)
def test_a_run_is_drawn_by_step_where_epochs_are_as_long_and_else_by_epoch(
    tried: Any, theirs: Series | None, by: Any, drawn_by: DrawnBy, last: int
) -> None:
    curves = {"val_accuracy": accuracy(1000, 100)} | ({} if theirs is None else {"epoch": theirs})

    found = drawn(held(tried, run(**curves), by=by))

    assert (found.drawn_by, found.curves["val/accuracy"][0][-1]) == (drawn_by, pytest.approx(last))


def test_steps_and_epochs_that_are_counted_from_zero_count_what_is_done(tried: Any) -> None:
    """As PyTorch Lightning records them: after the first epoch of 100 steps, step 99 of epoch 0."""
    epochs = series([49, 99, 100, 199, 200], [0, 0, 1, 1, 2])

    found = drawn(held(tried, run(val_accuracy=series([99, 199], [0.3, 0.5]), epoch=epochs), epoch_steps=50))

    assert found.drawn_by is DrawnBy.EPOCH
    assert found.curves["val/accuracy"][0] == pytest.approx([50, 100])


def test_a_row_compares_at_the_end_of_the_shorter_of_both(tried: Any) -> None:
    longer, shorter, equal = (accuracy(last, 100) for last in (2000, 500, 1000))

    facts = [
        analyse(held(tried, run(val_accuracy=one, epoch=series([100], [1.0])))).reported[0].reported
        for one in (longer, shorter, equal)
    ]

    assert [(fact.at, pytest.approx(fact.value)) for fact in facts] == [
        (At(step=1000), 0.4),
        (At(step=500), 0.8),
        (None, 0.8),
    ]


def test_runs_of_one_name_are_a_mean_and_each_name_has_a_row(tried: Any) -> None:
    runs = [run(seed=0, val_accuracy=accuracy(1000, 100, 0.7)), run(seed=1, val_accuracy=accuracy(1000, 100, 0.8))]
    report = held(tried, *runs, run("another", val_accuracy=accuracy(1000, 100)), runs={LOW: ("theirs", "another")})

    rows = [(row.of_run and row.of_run.run, row.reported.runs, row.reported.value) for row in analyse(report).reported]

    assert rows == [("theirs", 2, pytest.approx(0.75)), ("another", 1, pytest.approx(0.8))]


def test_rows_are_in_the_order_of_the_cells(tried: Any) -> None:
    runs = [run("theirs", val_accuracy=accuracy(1000, 100)), run("another", val_accuracy=accuracy(1000, 100))]

    rows = analyse(held(tried, *runs, runs={HIGH: ("theirs",), LOW: ("another",)})).reported

    assert [row.reported.cell for row in rows] == [LOW, HIGH]


def test_our_numbers_are_the_same_with_runs_and_without(tried: Any) -> None:
    with_runs = held(tried, run(val_accuracy=accuracy(1000, 10, 0.99), train_loss=accuracy(1000, 10)))
    without = replace(with_runs, study=tried(FAR).study, other_study=None)

    def ours(analysis: StudyAnalysis) -> Any:
        return analysis.results, analysis.verdicts, analysis.shown

    assert ours(analyse(with_runs)) == ours(analyse(without))


def test_what_is_missing_is_found(tried: Any) -> None:
    late = run("late", val_accuracy=accuracy(9000, 3000))
    bare = run("bare", train_loss=accuracy(1000, 10))
    report = held(tried, late, bare, runs={LOW: ("late", "nobody"), HIGH: ("bare",)})

    found = runs_found(report)

    assert found is not None and not found.absent
    assert (found.missing, found.late) == (("late", "nobody", "bare"), ("late",))
    assert found.lacking == {"val/accuracy": ("bare",)}
    assert analyse(report).reported == ()


def test_a_study_that_is_not_there_gives_no_curve_and_no_row(tried: Any) -> None:
    analysis = analyse(replace(held(tried), other_study=None))

    assert analysis.runs is not None and analysis.runs.absent and not analysis.runs.curves
    assert analysis.reported == ()


@given(last=st.integers(1, 50), until=st.floats(0, 60))
def test_a_curve_is_cut_between_two_points(last: int, until: float) -> None:
    steps = np.arange(1.0, last + 1)

    part = cut((steps, 2 * steps), until)

    if until < 1:
        assert part is None
    else:
        assert part is not None and part[0][-1] == min(until, last)
        assert (np.diff(part[0]) > 0).all() and part[1] == pytest.approx(2 * part[0])
