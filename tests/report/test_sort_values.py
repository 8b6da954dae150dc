"""What rows sort by: numbers by value, cells by their levels, nothing where nothing is known."""

import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cifarsweep.analysis.study import analyse
from cifarsweep.report.sort_values import cell_ranks, setting_value, sort_value
from cifarsweep.report.study_page import study_view
from cifarsweep.report.trials_section import differing_settings

NUMBERS = st.floats(allow_nan=False) | st.integers(-(10**9), 10**9)


@given(NUMBERS, NUMBERS)
def test_values_order_as_their_numbers(one: float, other: float) -> None:
    low, high = sorted((one, other))

    assert float(sort_value(low)) <= float(sort_value(high))


def test_what_is_missing_has_no_value() -> None:
    assert sort_value(None) == sort_value(math.nan) == setting_value(None) == ""
    assert sort_value(-math.inf) == "-Infinity"  # as JavaScript reads it
    assert [setting_value(value) for value in (0.1, 3, True, "sgd", (32, 64))] == ["0.1", "3", "yes", "sgd", "32-64"]


def test_cells_sort_by_their_levels_and_numbers_by_value() -> None:
    cells: dict[str, dict[str, Any]] = {
        "lr=0.1, net=b10": {"lr": 0.1, "net": "b10"},
        "lr=3e-2, net=b9": {"lr": 0.03, "net": "b9"},
        "lr=0.1, net=b9": {"lr": 0.1, "net": "b9"},
        "plain": {},
        "lr=none": {"lr": "none"},
    }

    ranks = cell_ranks(cells)

    assert sorted(ranks, key=ranks.__getitem__) == [
        "lr=3e-2, net=b9", "lr=0.1, net=b9", "lr=0.1, net=b10", "lr=none", "plain",
    ]  # fmt: skip


@given(st.lists(st.text(max_size=6), unique=True, max_size=8))
def test_cells_without_levels_sort_by_their_names_whatever_these_are(names: list[str]) -> None:
    ranks = cell_ranks({name: {} for name in names})

    assert sorted(ranks.values()) == list(range(len(names)))


def test_every_row_of_a_page_says_what_it_sorts_by(make: Any) -> None:
    study = make.study({"optimizer.lr": (0.1, 0.03)}, seeds=1)
    trials = [
        make.trial(0, "lr=0.1", 0, levels={"optimizer.lr": 0.1}, final={"val/accuracy": 0.87654}, steps=1200),
        make.trial(1, "lr=0.03", 0, levels={"optimizer.lr": 0.03}, state="queued", outcome=None, final={}, steps=0,
                   elapsed_s=None, attempts=()),
    ]  # fmt: skip
    report = make.report(study, trials)

    view = study_view(analyse(report))

    done, waiting = (row["sort"] for row in view["results"])
    assert done["mean"] == "0.87654" and done["time"] == "12.5"
    assert view["ranks"] == {"lr=0.1": 1, "lr=0.03": 0}
    assert waiting["mean"] == waiting["time"] == waiting["range"] == "" and waiting["n"] == "0"
    first, second = (row["sort"] for row in view["trials"]["rows"])
    assert first == {
        "cell": "1", "accuracy": "0.87654", "steps": "1200", "time": "12.5", "overhead": "1.5", "attempts": "1",
    }  # fmt: skip
    assert {name for name, value in second.items() if not value} == set(second) - {"cell"}
    assert differing_settings(report)["sorts"] == [("1", ["0.1"]), ("0", ["0.03"])]
