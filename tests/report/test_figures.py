"""Figures draw what the trials recorded; figures without data are left out."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from everything import counts, everything
from hypothesis import given, settings
from hypothesis import strategies as st
from support.studies import ABOVE, NEAR

from cifarsweep.analysis.results import CellResult, cell_results, pareto_front, reach
from cifarsweep.analysis.study import analyse, load_study
from cifarsweep.analysis.verdicts import verdicts
from cifarsweep.report.figures import class_payload, cost_payload, curve_payload, gap_payload, unpacked
from cifarsweep.report.marks import WIDTH, forest_mark
from cifarsweep.report.render import render_study
from cifarsweep.spec.hypothesis import Equivalent, Greater
from cifarsweep.spec.metrics import CONFUSION
from cifarsweep.spec.types import MetricRow, Outcome, TrialResult
from cifarsweep.stats import summary
from cifarsweep.stats.shares import Guess
from cifarsweep.store import Store


def result(make: Any, mean: float) -> CellResult:
    return CellResult(make.study({}).cells[0], (), summary([mean, mean]), None)


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(1, 9), st.floats(0, 1)), min_size=1, max_size=12))
def test_nobody_beats_the_front_and_the_front_beats_all_others(make: Any, points: list[tuple[float, float]]) -> None:
    results, costs = [result(make, mean) for _, mean in points], [cost for cost, _ in points]

    front = pareto_front(results, costs)

    def beats(one: int, other: int) -> bool:
        (cost, mean), (cost2, mean2) = points[one], points[other]
        return cost <= cost2 and mean >= mean2 and (cost < cost2 or mean > mean2)

    assert not [pair for pair in ((a, b) for a in range(len(points)) for b in front) if beats(*pair)]
    covered = {points[place] for place in front}
    assert all(point in covered or any(beats(one, place) for one in front) for place, point in enumerate(points))


def test_costs_are_those_in_which_cells_differ(make: Any) -> None:
    costs = {cost["name"]: cost for cost in cost_payload(cell_results(everything(make)))}

    assert list(costs) == ["elapsed_s", "energy_j"]  # parameters and FLOPs are the same in all cells
    assert costs["elapsed_s"]["values"] == [60.0, 120.0, 180.0, 240.0]
    assert costs["elapsed_s"]["front"] == [0, 1, 2]
    assert "cheapest first: 1 lr=0.001, skip=no; 2 lr=0.001, skip=yes; 3 lr=0.003" in costs["elapsed_s"]["told"]


def test_what_is_no_better_than_a_guess_is_on_no_front_however_cheap(make: Any) -> None:
    report = everything(make)

    def at_chance(*cells: int) -> list[dict[str, Any]]:
        names = [report.study.cells[place].name for place in cells]
        guess = {"guess": Guess(0.1, 1000), "final": {"val/accuracy": 0.1, "energy_j": 500.0}}
        trials = (replace(one, **guess) if one.cell in names else one for one in report.trials)
        return cost_payload(cell_results(replace(report, trials=tuple(trials))))

    some, every = at_chance(0), at_chance(0, 1, 2, 3)

    assert [cost["values"][0] for cost in some] == [60.0, 500.0] and [cost["front"] for cost in some] == [[1, 2]] * 2
    assert some[0]["told"].endswith("Left out: lr=0.001, skip=no, of which no trial trained.")
    assert every[0]["front"] == [] and every[0]["told"].startswith("No cell trained, so that there is no Pareto front.")


def test_what_diverged_costs_nothing_that_could_be_compared(make: Any) -> None:
    report = everything(make)
    dead = {"outcome": "diverged", "elapsed_s": 1.0}
    # All seeds of the first cell, one of the second.
    trials = [replace(one, **dead) if one.number in (0, 4, 8, 1) else one for one in report.trials]

    costs = cost_payload(cell_results(replace(report, trials=tuple(trials))))

    assert [(cost["name"], cost["values"]) for cost in costs] == [
        ("elapsed_s", [None, 120.0, 180.0, 240.0]), ("energy_j", [None, 12000.0, 18000.0, 24000.0]),
    ]  # fmt: skip
    assert [cost["front"] for cost in costs] == [[1, 2], [1, 2]]
    assert costs[0]["told"].endswith("Left out: lr=0.001, skip=no, whose trials all diverged and ended early.")


def test_gaps_need_both_accuracies(make: Any) -> None:
    found = gap_payload(cell_results(everything(make)))

    assert found is not None
    assert found[2] == [pytest.approx(0.97), pytest.approx(0.94, abs=0.03)]
    assert gap_payload(cell_results(make.finished(make.study()))) is None


def test_the_energy_and_the_flops_are_axes_and_resources_come_last_in_their_units(make: Any) -> None:
    payload = curve_payload(everything(make))

    assert [axis["name"] for axis in payload["axes"]] == ["epoch", "images", "elapsed_s", "flops", "energy_j"]
    named = [(metric["name"], metric["resource"], metric["unit"]) for metric in payload["metrics"]]
    assert named[-2:] == [("gpu/utilisation", True, "%"), ("gpu/memory_bytes", True, "GB")]
    assert max(unpacked(payload["metrics"][-1]["curves"][0]["mean"])) == 3.0


@pytest.mark.parametrize(("means", "low"), [([], None), ([0.9, 0.91, 0.92], None), ([0.9, 0.1, 0.92], 0.82)])
def test_what_is_far_below_the_rest(means: list[float], low: float | None) -> None:
    assert reach(means) == (low if low is None else pytest.approx(low))


def test_classes_have_means_intervals_and_matrices(make: Any) -> None:
    report = everything(make)

    payload = class_payload(report, cell_results(report))

    assert payload is not None
    assert payload["names"] == ["aircraft", "<b>bird</b>", "cat"]
    second = payload["cells"][1]
    assert unpacked(second["mean"]).tolist() == pytest.approx([0.9] * 3)
    assert unpacked(second["counts"]).reshape(3, 3)[0].tolist() == [18, 2, 0]


def test_matrices_are_of_the_best_cells_as_far_as_the_page_stays_light(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cifarsweep.report.figures._MOST_ENTRIES", 2 * 9)
    report = everything(make)

    payload = class_payload(report, cell_results(report))

    assert payload is not None
    assert [cell["counts"] is not None for cell in payload["cells"]] == [False, True, True, False]


def test_counts_come_from_the_database_and_strange_ones_are_left_out(make: Any, tmp_path: Any) -> None:
    names = ["0/0", "0/1", "1/1"], ["9/x"], ["99999/0"]
    with Store.open(f"sqlite:///{tmp_path}/results.db", upgrade=True) as store:
        store.studies.create(make.study({}, seeds=3))
        for each in names:
            lease = store.queue.claim("w")
            lease = store.queue.write(lease, [MetricRow(CONFUSION + name, 7, 3.0) for name in each])
            store.queue.finish(lease, [], None, TrialResult(Outcome.FINISHED, 7, {"val/accuracy": 0.5}, "cd" * 32))

        found = load_study(store, "tried").report.confusion
        page = render_study(load_study(store, "tried"))

    assert found["base"].counts.tolist() == [[3, 3], [0, 3]]
    assert found["base"].recall.tolist() == [[0.5, 1.0]]
    assert 'id="confusion-plot"' in page
    assert f"{CONFUSION}0" not in page  # no metric of the main figure


def test_a_class_without_images_has_no_accuracy(make: Any) -> None:
    report = everything(make)
    recall = np.array([[0.5, math.nan, 1.0], [0.7, math.nan, 1.0]])
    name = report.study.cells[0].name
    report = replace(report, confusion={name: replace(counts(10), recall=recall)})

    payload = class_payload(report, cell_results(report))

    assert payload is not None
    mean = unpacked(payload["cells"][0]["mean"])
    assert mean[0] == pytest.approx(0.6)
    assert math.isnan(mean[1])


def test_figures_without_data_are_not_on_the_page(make: Any) -> None:
    one = replace(make.finished(make.study({}, seeds=1)), series={})

    page = render_study(analyse(one))

    assert 'id="finals-plot"' in page
    left_out = ("curves-plot", "costs-plot", "gaps-plot", "classes-plot", "confusion-plot", "figure-resources")
    assert [name for name in left_out if f'id="{name}"' in page] == []
    assert 'class="heat"' not in page


def test_figures_are_numbered_in_their_order(make: Any) -> None:
    page = render_study(analyse(everything(make)))

    places = [page.find(f"<b>Figure {number}.</b>") for number in range(1, 10)]
    assert -1 not in places
    assert places == sorted(places)
    assert "<b>Figure 10.</b>" not in page


def test_a_verdict_has_its_interval_as_a_picture(make: Any) -> None:
    a, b = {"model.skip": True}, {"model.skip": False}
    study = make.study(
        {"model.skip": (False, True)},
        hypotheses=(
            Greater(kind="greater", claim="More.", a=a, b=b, margin=0.0),
            Equivalent(kind="equivalent", claim="Same.", a=a, b=b, margin=0.5),
        ),
    )
    more, same = (forest_mark(verdict) for verdict in verdicts(make.finished(study, [0.95, 0.90])))

    assert more is not None
    assert same is not None
    assert more["ends"][0] < more["estimate"] < more["ends"][1] <= more["mark"]  # below, where it is not shaded
    assert more["region"][0] == more["mark"]
    assert more["decisive"][1]["x"] <= more["mark"] and all(end["cap"] for end in same["decisive"])
    assert same["region"][0] < same["ends"][0] < same["ends"][1] < same["mark"] < sum(same["region"]) <= WIDTH


def test_the_thin_line_of_a_verdict_is_the_interval_that_decides(tried: Any) -> None:
    """Of three tests at the first of three looks it reaches beyond the 95 % interval."""
    claims = (ABOVE, ABOVE.model_copy(update={"margin": 0.1}), ABOVE.model_copy(update={"margin": 0.2}))
    (alone,), corrected = verdicts(tried(NEAR, ABOVE)), verdicts(tried(NEAR, *claims, plans=((3, 6, 12),)))[0]

    thick, thin = forest_mark(alone), forest_mark(corrected)

    assert thick is not None and thin is not None
    assert [end["x"] for end in thick["decisive"]] == thick["ends"], "one test, two-sided: both are of 95 %"
    assert thin["decisive"][0]["x"] < thin["ends"][0] < thin["ends"][1] < thin["decisive"][1]["x"]
    assert thin["decisive"][0]["x"] > 0 and thin["decisive"][1]["x"] < WIDTH
