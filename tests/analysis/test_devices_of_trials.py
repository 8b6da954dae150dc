"""Trials on several devices: what differs between cells, whose times compare, and what all devices cost together."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cifarsweep.analysis.comparison import compare
from cifarsweep.analysis.confounds import confounds
from cifarsweep.analysis.results import cell_results, costs
from cifarsweep.analysis.verdicts import verdicts
from cifarsweep.analysis.workload import workload
from cifarsweep.report.reproduce import commands
from cifarsweep.report.sections import confound_view, resource_table
from cifarsweep.report.trials_section import trials_view
from cifarsweep.report.verdict_text import warning
from cifarsweep.spec.devices import device_text, has_batch_norm
from cifarsweep.spec.hypothesis import Faster
from cifarsweep.spec.links import Candidate, Plan
from cifarsweep.spec.settings import ConvNet, ResNet9, Settings, ViT
from cifarsweep.store.times import TrainingTime
from cifarsweep.training.sharing import TrainingImages

GPU = {"cuda": "13.0"}
NO, YES = "skip=no", "skip=yes"
RACE = {"kind": "faster", "claim": "Sooner", "target": 0.5, "by": "elapsed_s"}


def on_devices(study: Any, *counts: int) -> Any:
    """The study whose cells take so many devices, one after the other."""
    pairs = zip(study.cells, counts, strict=True)
    cells = [
        cell.model_copy(update={"own_settings": cell.settings.model_copy(update={"devices": count})})
        for cell, count in pairs
    ]
    return study.model_copy(update={"cells": tuple(cells)})


def trained_on(make: Any, study: Any, **changes: Any) -> Any:
    """Every trial done on GPUs, as many as its cell takes."""
    report = make.finished(study)
    counts = {cell.name: cell.settings.devices for cell in study.cells}
    attempts = (make.attempt(1, device="NVIDIA H200", versions=GPU),)
    trials = (replace(one, devices=counts[one.cell], attempts=attempts, **changes) for one in report.trials)
    return replace(report, trials=tuple(trials))


@pytest.fixture
def arms(make: Any) -> Any:
    """Cells that differ in a factor, and in their devices beside it."""
    return on_devices(make.study({"model.skip": (False, True)}), 1, 2)


@pytest.fixture
def factor(make: Any) -> Any:
    return make.study({"devices": (1, 2, 4)})


def found_in(report: Any) -> dict[str, dict[str, tuple[str, ...]]]:
    found = confounds(report.study, cell_results(report))
    return {one.what: {group.value: group.cells for group in one.groups} for one in found}


def test_several_devices_are_called_by_their_number() -> None:
    assert device_text("NVIDIA H200", 1, GPU) == "NVIDIA H200" and device_text("", 2, GPU) == ""
    assert device_text("NVIDIA H200", 4, GPU) == "4 x NVIDIA H200"
    assert device_text("AMD EPYC", 2, {}) == "2 processes on AMD EPYC"
    found = [has_batch_norm(model) for model in (ConvNet(), ConvNet(norm="group"), ResNet9(), ViT(), ViT(stem="conv"))]
    assert found == [True, False, True, False, True]


def test_another_number_of_devices_is_told_unless_it_is_the_factor(make: Any, arms: Any, factor: Any) -> None:
    beside, asked = (found_in(trained_on(make, study)) for study in (arms, factor))

    assert beside["Device"] == {"NVIDIA H200": (NO,), "2 x NVIDIA H200": (YES,)}
    assert beside["devices"] == {"1": (NO,), "2": (YES,)}
    assert "Device" not in asked and "devices" not in asked


def test_where_devices_are_the_factor_the_page_says_what_they_change(make: Any, arms: Any, factor: Any) -> None:
    def sentence(study: Any) -> str:
        return str(confound_view(study, cell_results(trained_on(make, study)))["sentence"]).replace("\u00a0", " ")

    synchronised = make.study({"devices": (1, 2), "batch_norm": ("synchronised",)})

    assert "each device those of its own part of a batch" in sentence(factor)
    assert "and so do the last bits of a result" in sentence(synchronised)
    assert "number of devices" not in sentence(arms)


def test_times_of_different_numbers_of_devices_are_marked_unless_they_are_asked_about(
    make: Any, arms: Any, factor: Any
) -> None:
    def told(study: Any, key: str, a: Any, b: Any) -> str:
        race = Faster(**RACE, a={key: a}, b={key: b})  # type: ignore[arg-type]
        return warning(verdicts(trained_on(make, study.model_copy(update={"hypotheses": (race,)})))[0])

    assert "different devices (2 x NVIDIA H200, NVIDIA H200)" in told(arms, "model.skip", True, False)
    assert told(factor, "devices", 2, 1) == ""
    assert confound_view(arms, cell_results(trained_on(make, arms)))["timing"] is not None
    assert confound_view(factor, cell_results(trained_on(make, factor)))["timing"] is None


def test_two_studies_on_different_numbers_of_devices_compare_no_times(make: Any) -> None:
    study = make.study({"model.skip": (False, True)})
    alone, pairs = (trained_on(make, on_devices(study, count, count)) for count in (1, 2))

    found = compare(alone, pairs)

    assert not found.same_devices and compare(pairs, pairs).same_devices
    assert [(one.a, one.b) for one in found.differences if one.what == "device"] == [("NVIDIA H200", "2 x NVIDIA H200")]


def test_the_time_of_all_devices_is_a_cost_of_its_own(make: Any, factor: Any) -> None:
    results = cell_results(trained_on(make, factor, elapsed_s=100.0))
    found = {cost.name: cost.values for cost in costs(results)}

    assert found["device_s"] == (100.0, 200.0, 400.0) and "elapsed_s" not in found
    pairs = cell_results(trained_on(make, on_devices(factor, 2, 2, 2)))
    assert "device_s" not in {cost.name for cost in costs(pairs)}


def test_resources_have_the_speed_of_each_device(make: Any, factor: Any) -> None:
    report = trained_on(make, factor)
    speeds = {(trial.number, "images_per_s"): (np.array([50]), np.array([900.0])) for trial in report.trials}

    table = resource_table(replace(report, series=report.series | speeds), cell_results(report))

    assert table is not None and table["heads"][:2] == ["Images per second", "Images per second and device"]
    assert [row["values"][:2] for row in table["rows"]] == [["900", "900"], ["900", "450"], ["900", "225"]]


def test_rows_of_trials_and_commands_name_all_devices(make: Any, factor: Any) -> None:
    report = trained_on(make, factor)
    rows = trials_view(report, {}, report.trials)["rows"]

    assert {row["where"] for row in rows} == {f"node1, {each}NVIDIA H200" for each in ("", "2 x ", "4 x ")}
    assert rows[-1]["attempts"][0]["where"] == "node1, 4 x NVIDIA H200"
    assert "cifarsweep worker --study tried --gpu 0,1,2,3" in list(commands(report))
    of_four = replace(report, trials=report.trials[-1:])
    assert any(line.startswith("cifarsweep replay tried/8 --gpu 0,1,2,3 ") for line in commands(of_four))


def test_a_forecast_is_of_as_many_devices() -> None:
    one = Settings(epochs=2, batch_size=16)
    two = one.model_copy(update={"devices": 2})
    times = [TrainingTime(one, "fast", steps=14, seconds=8.0), TrainingTime(two, "fast", steps=14, seconds=5.0)]

    def seconds(*settings: Settings) -> Any:
        new = [Candidate(number, each, 0, "new") for number, each in enumerate(settings)]
        work = workload(new, Plan(), lambda settings: TrainingImages(112), lambda settings: 10, times)
        return None if work is None else work.seconds

    assert seconds(one) == {"fast": 8.0} and seconds(two) == {"fast (2 devices a trial)": 5.0}
    assert seconds(one, two) == {"fast (1 or 2 devices a trial)": 13.0}
    assert seconds(one.model_copy(update={"devices": 4})) == {}
