"""What a search found: its points, the best so far, and the importance of its parameters."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.pages import EXAMPLES
from support.studies import Maker

from cifarsweep.analysis.records import ReportStudy
from cifarsweep.analysis.search import FEW, FEWEST, search_result
from cifarsweep.search import importances
from cifarsweep.spec.levels import cell_name
from cifarsweep.spec.search_space import Choices, PointResult, Range, Search
from cifarsweep.spec.study import Cell

SPACE = {"optimizer.lr": Range(low=1e-4, high=1.0, log=True), "optimizer.momentum": Range(low=0.0, high=0.99)}
make = Maker()


def searched(values: Any, seeds: int = 1, space: Any = SPACE, **changes: dict[int, Any]) -> ReportStudy:
    """A search with these accuracies by point; `changes` are fields of trials by the trial's number."""
    rng = np.random.default_rng(1)
    study = make.study({}, seeds=seeds)
    cells, trials = [], []
    for place, value in enumerate(values):
        levels = {key: round(float(each.low + rng.random() * (each.high - each.low)), 6) for key, each in space.items()}
        cells.append(Cell(name=cell_name(levels, list(levels)), levels=levels, settings=study.cells[0].settings))
        for seed in range(seeds):
            number = seeds * place + seed
            its = {key: found[number] for key, found in changes.items() if number in found}
            fields = {"levels": levels, "final": {"val/accuracy": value}} | its
            trials.append(make.trial(number, cells[-1].name, seed, **fields))
    search = Search(n_trials=len(cells), space=space)
    return make.report(study.model_copy(update={"cells": tuple(cells), "search": search}), trials)


def test_points_are_ranked_and_each_that_led_is_told() -> None:
    found = search_result(searched([0.5, 0.7, 0.6, 0.7, 0.9]))

    assert found is not None
    assert [point.name for point in found.ranked] == ["#4", "#1", "#3", "#2", "#0"]
    assert [point.name for point in found.leaders] == ["#0", "#1", "#4"]


def test_a_point_of_several_seeds_is_their_mean_and_has_the_number_of_its_first_trial() -> None:
    found = search_result(searched([0.5, 0.7], seeds=2, final={2: {"val/accuracy": 0.9}}))

    assert found is not None
    assert [(point.name, point.value, point.seeds) for point in found.points] == [
        ("#0", 0.5, 2),
        ("#2", pytest.approx(0.8), 2),
    ]


def test_what_was_pruned_fell_out_failed_or_is_open_is_no_candidate() -> None:
    ends = {
        "outcome": {1: "pruned", 2: "diverged", 3: None, 4: None},
        "state": {3: "failed", 4: "leased"},
        "final": {3: {}, 4: {}},
    }
    found = search_result(searched([0.5, 0.95, 0.1, 0.6, 0.6, 0.7], **ends))

    assert found is not None
    assert [point.state for point in found.points] == ["done", "pruned", "fell out", "failed", "open", "done"]
    assert [point.name for point in found.candidates] == ["#5", "#0"]
    assert [point.name for point in found.leaders] == ["#0", "#5"]


def test_a_point_with_a_seed_that_fell_out_is_ranked_and_no_candidate() -> None:
    found = search_result(searched([0.5, 0.9], seeds=2, outcome={3: "diverged"}))

    assert found is not None
    assert [point.name for point in found.ranked] == ["#2", "#0"]
    assert [point.name for point in found.candidates] == ["#0"]


def test_the_rate_that_makes_the_points_good_is_the_important_parameter() -> None:
    found = search_result(EXAMPLES["searched"]())

    assert found is not None and found.importance is not None
    assert next(iter(found.importance.shares)) == "optimizer.lr" and found.importance.shares["optimizer.lr"] > 0.8
    assert found.importance.beyond_chance == {"optimizer.lr"}
    assert (found.importance.best, found.importance.points, found.importance.uncertain) == (6, 55, False)


def test_importance_is_the_same_again_and_whatever_the_order_of_parameters() -> None:
    report = EXAMPLES["searched"]()
    search = report.study.search
    assert search is not None
    turned = search.model_copy(update={"space": dict(reversed(search.space.items()))})

    shares = [
        list(found.importance.shares.items())
        for each in (search, search, turned)
        if (found := search_result(replace(report, study=report.study.model_copy(update={"search": each}))))
        and found.importance
    ]

    assert shares[0] == shares[1] == shares[2] and len(shares) == 3


def test_importance_takes_ten_points_and_is_uncertain_below_thirty() -> None:
    few, some, many = (search_result(searched(np.linspace(0.5, 0.9, n).tolist())) for n in (FEWEST - 1, FEWEST, FEW))

    assert few is not None and few.importance is None
    assert some is not None and some.importance is not None and some.importance.uncertain
    assert many is not None and many.importance is not None and not many.importance.uncertain


def test_importance_of_points_that_are_all_alike_is_not_told() -> None:
    found = search_result(searched([0.9] * 40))

    assert found is not None and found.importance is None


def test_points_outside_of_the_space_do_not_count() -> None:
    report = searched(np.linspace(0.5, 0.9, 12).tolist())
    narrow = Search(n_trials=12, space=SPACE | {"optimizer.momentum": Range(low=2.0, high=3.0)})

    found = search_result(replace(report, study=report.study.model_copy(update={"search": narrow})))

    assert found is not None and found.importance is None and len(found.ranked) == 12


@settings(max_examples=15)
@given(st.lists(st.floats(-1e6, 1e6), min_size=12, max_size=12, unique=True), st.booleans())
def test_importances_are_shares_of_one(values: list[float], less: bool) -> None:
    space = {"a": Range(low=0, high=11), "b": Choices(choices=(True, 1, "x")), "c": Choices(choices=("only",))}
    points = [
        PointResult({"a": n, "b": (True, 1, "x")[n % 3], "c": "only"}, "complete", value)
        for n, value in enumerate(values)
    ]

    found = importances(Search(n_trials=12, space=space), points, 5, less_is_better=less)

    assert set(found) == set(space) and sum(one.share for one in found.values()) == pytest.approx(1)
    assert all(one.share >= 0 for one in found.values())
    assert (found["c"].share, found["c"].beyond_chance) == (0, False)


def test_less_is_better_finds_what_makes_values_small() -> None:
    search = Search(n_trials=40, space={"a": Range(low=0, high=39), "b": Range(low=0, high=39)})
    points = [PointResult({"a": n, "b": (7 * n) % 40}, "complete", float(n)) for n in range(40)]
    turned = [replace(point, value=-(point.value or 0.0)) for point in points]

    assert importances(search, points, 5, less_is_better=True) == importances(search, turned, 5)
    assert importances(search, points, 5, less_is_better=True)["a"].share > 0.6


@pytest.mark.long
def test_of_searches_without_an_important_parameter_one_in_twenty_says_that_there_is_one() -> None:
    rng = np.random.default_rng(5)
    search = Search(n_trials=40, space={"a": Range(low=1e-4, high=1.0, log=True), "b": Choices(choices=("x", "y"))})
    said = 0
    for _ in range(100):
        points = [
            PointResult({"a": float(10 ** rng.uniform(-4, 0)), "b": "xy"[rng.integers(2)]}, "complete", rng.normal())
            for _ in range(40)
        ]
        said += any(one.beyond_chance for one in importances(search, points, 5).values())

    assert said <= 12  # more is improbable: 0.2 % of a rate of 5 %


def test_best_must_leave_others() -> None:
    search = Search(n_trials=3, space={"a": Range(low=0, high=9)})
    points = [PointResult({"a": n}, "complete", float(n)) for n in range(3)]

    with pytest.raises(ValueError, match="best: must be from 1 to 2, not 3"):
        importances(search, points, 3)


def test_outliers_lie_beyond_what_figures_show() -> None:
    found = search_result(searched([0.1, 0.9, 0.91, 0.92, 0.93]))

    assert found is not None and found.shown is not None
    low, high = found.shown
    assert high == 0.93 and low == pytest.approx(0.91 - 4 * 0.02)


def test_a_study_that_compares_has_no_search() -> None:
    assert search_result(make.finished(make.study())) is None
