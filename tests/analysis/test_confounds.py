"""What differs between cells beside the factors is found, and nothing else is."""

from dataclasses import replace
from typing import Any

import pytest

from cifarsweep.analysis.confounds import confounds
from cifarsweep.analysis.results import cell_results
from cifarsweep.analysis.study import analyse
from cifarsweep.analysis.verdicts import verdicts
from cifarsweep.report.render import render_study
from cifarsweep.report.sections import confound_view
from cifarsweep.report.verdict_text import warning
from cifarsweep.spec.hypothesis import Faster

NO, YES = "skip=no", "skip=yes"


@pytest.fixture
def study(make: Any) -> Any:
    return make.study({"model.skip": (False, True)}, seeds=3)


def report_of(make: Any, study: Any, **of_yes: Any) -> Any:
    """Every trial done; those of one cell differ from those of the other in what is given."""
    trials = [make.trial(n, p.cell.name, p.seed) for n, p in enumerate(study.trials())]
    return make.report(study, [replace(one, **of_yes) if one.cell == YES else one for one in trials])


def found_in(report: Any) -> dict[str, dict[str, tuple[str, ...]]]:
    found = confounds(report.study, cell_results(report))
    return {one.what: {group.value: group.cells for group in one.groups} for one in found}


def test_a_study_whose_cells_differ_in_their_factor_alone_has_none(make: Any, study: Any) -> None:
    report = report_of(make, study)

    assert found_in(report) == {}
    assert "Nothing: steps, time" in confound_view(study, cell_results(report))["sentence"]


@pytest.mark.parametrize(
    ("change", "what", "values"),
    [
        ({"steps": 400}, "Steps", ("100", "400")),
        ({"elapsed_s": 25.0}, "Training time", ("12.5\u202fs", "25.0\u202fs")),
        ({"params": 2_000_000}, "Parameters", ("1.17\u202fM", "2\u202fM")),
        ({"flops": 1e9}, "FLOPs of one image", ("76\u202fM", "1\u202fG")),
        ({"versions": {"torch": "2.14", "python": "3.11"}}, "Version of torch", ("2.15.0", "2.14")),
        ({"versions": {"torch": "2.15.0"}}, "Version of python", ("3.11", "none")),
    ],
)
def test_what_is_measured_otherwise_in_one_cell_is_named(
    make: Any, study: Any, change: Any, what: str, values: Any
) -> None:
    found = found_in(report_of(make, study, **change))

    assert found == {what: {values[0]: (NO,), values[1]: (YES,)}}


def test_times_that_differ_by_less_than_a_tenth_are_no_difference(make: Any, study: Any) -> None:
    assert found_in(report_of(make, study, elapsed_s=13.7)) == {}
    assert "Training time" in found_in(report_of(make, study, elapsed_s=13.8))


def test_a_trial_that_diverged_early_does_not_change_the_steps_of_its_cell(make: Any, study: Any) -> None:
    report = report_of(make, study)
    diverged = replace(report.trials[0], outcome="diverged", steps=3)

    assert found_in(replace(report, trials=(diverged, *report.trials[1:]))) == {}


def test_trials_at_once_on_the_gpu_and_images_are_told(make: Any, study: Any) -> None:
    final = {"val/accuracy": 0.9, "gpu/slots_busy": 8.0}
    versions = {"torch": "2.15.0", "python": "3.11", "data cifar10": "feed"}
    report = report_of(make, study, final=final, versions=versions)
    alone = {"val/accuracy": 0.9, "gpu/slots_busy": 1.0}
    trials = [replace(one, final=alone) if one.cell == NO else one for one in report.trials]

    found = found_in(replace(report, trials=tuple(trials)))

    assert found["Trials at once on the GPU"] == {"1.0": (NO,), "8.0": (YES,)}
    assert found["Images of cifar10"] == {"none": (NO,), "feed": (YES,)}


def test_many_sizes_are_told_by_their_ends(make: Any) -> None:
    study = make.study({"batch_size": tuple(range(1, 8))}, seeds=1)
    trials = [make.trial(n, cell.name, 0, steps=700 // (n + 1)) for n, cell in enumerate(study.cells)]

    found = confounds(study, cell_results(make.report(study, trials)))[0]

    assert [(group.value, group.cells) for group in found.groups] == [
        ("100", ("batch_size=7",)),
        ("700", ("batch_size=1",)),
    ]
    assert found.ratio == pytest.approx(7)


def test_what_an_arm_sets_beside_the_factors_is_told(make: Any, study: Any) -> None:
    arm = study.cells[0].model_copy(
        update={"name": "big batch", "own_settings": study.cells[0].settings.model_copy(update={"batch_size": 512})}
    )
    study = study.model_copy(update={"cells": (*study.cells, arm)})

    assert found_in(make.report(study, []))["batch_size"] == {"128": (NO, YES), "512": ("big batch",)}


def test_every_attempt_that_trained_counts(make: Any, study: Any) -> None:
    def attempts(first_step: int) -> tuple[Any, ...]:
        before = make.attempt(1, device="A100", first_step=0, versions={"torch": "2.14", "data digits": "a"})
        return before, make.attempt(2, first_step=first_step, versions={"torch": "2.15", "data digits": "b"})

    found = found_in(report_of(make, study, attempts=attempts(40), versions={"torch": "2.15"}))

    assert found["Version of torch"][("2.14 and 2.15")] == found["Device"]["A100 and cpu"] == (YES,)
    assert found["Images of digits"] == {"none": (NO,), "a and b": (YES,)}
    assert "A100" not in str(found_in(report_of(make, study, attempts=attempts(0), versions={"torch": "2.15"})))


def test_times_of_different_devices_are_marked(make: Any, study: Any) -> None:
    race = Faster(
        kind="faster", claim="Sooner", a={"model.skip": True}, b={"model.skip": False}, target=0.5, by="elapsed_s"
    )
    study = study.model_copy(update={"hypotheses": (race, race.model_copy(update={"by": "steps"}))})
    report = make.finished(study)
    elsewhere = (make.attempt(1, device="NVIDIA H200"),)
    mixed = replace(
        report,
        trials=tuple(replace(one, attempts=elsewhere) if one.cell == YES else one for one in report.trials),
    )

    assert found_in(mixed)["Device"] == {"cpu": (NO,), "NVIDIA H200": (YES,)}
    assert "(NVIDIA H200, cpu)" in str(confound_view(study, cell_results(mixed))["timing"])
    by_time, by_steps = (warning(verdict) for verdict in verdicts(mixed))
    assert "different devices (NVIDIA H200, cpu)" in by_time and by_steps == ""
    assert by_time in render_study(analyse(mixed)) and "Time †" in render_study(analyse(mixed))
    assert confound_view(study, cell_results(report))["timing"] is None and "†" not in render_study(analyse(report))
    assert warning(verdicts(report)[0]) == ""
