"""A step counts once in the costs of a study, and two trials that are one training are no two measurements."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from support.studies import ABOVE, ALIKE, FIRST, HIGH, LOW, MIDDLE

from cifarsweep.analysis.comparison import compare
from cifarsweep.analysis.confounds import confounds, unlike_times
from cifarsweep.analysis.results import cell_results
from cifarsweep.analysis.reuse import shared_steps, totals
from cifarsweep.analysis.verdicts import verdicts
from cifarsweep.report.comparison_page import lead
from cifarsweep.report.verdict_text import warning
from cifarsweep.spec.moments import At
from cifarsweep.spec.provenance import Source
from cifarsweep.store.trial_records import Reuse

VALUES = {LOW: [0.9, 0.91, 0.92], MIDDLE: [0.5, 0.51, 0.52], HIGH: [0.9, 0.91, 0.92]}
#: An attempt of the worker that copied a trial, on a device that trained nothing.
COPIED = {"first_step": 0, "device": "the claimer's"}


def reused(make: Any, report: Any, cell: str, steps: int = 100, **attempt: Any) -> Any:
    """The trials of a cell took so many steps over from those of LOW with their seeds."""
    own = (make.attempt(1, **COPIED),) if steps == 100 else (make.attempt(1, first_step=steps),)
    trials = [
        replace(one, reuse=make.reuse(f"tried/{one.seed}", steps, steps / 8, **attempt), attempts=own)
        if one.cell == cell
        else one
        for one in report.trials
    ]
    return replace(report, trials=tuple(trials))


def arrays(series: dict[Any, tuple[list[int], list[float]]]) -> dict[Any, Any]:
    return {key: (np.array(steps), np.array(values)) for key, (steps, values) in series.items()}


def test_a_study_that_took_nothing_over_has_trained_all(tried: Any) -> None:
    found = totals(tried(VALUES))

    assert found.trained == {"steps": 900, "elapsed_s": 9 * 12.5} and found.reused == {}


def test_totals_count_a_step_once(make: Any, tried: Any) -> None:
    report = reused(make, reused(make, tried(VALUES), HIGH), MIDDLE, steps=40)
    last = {"flops": 10.0, "energy_j": 50.0}
    trials = [
        replace(one, final={**one.final, **last}, reused={"flops": one.reused_steps / 10} if one.reuse else {})
        for one in report.trials
    ]

    found = totals(replace(report, trials=tuple(trials)))

    assert found.reused == {"steps": 3 * 140, "elapsed_s": 3 * 17.5, "flops": 3 * 14.0}
    assert found.trained == {"steps": 3 * 160, "elapsed_s": 3 * 20.0, "flops": 3 * 16.0, "energy_j": 9 * 50.0}
    assert (found.whole, found.begun) == (3, 3)


def test_steps_are_shared_through_every_trial_that_they_went_through(make: Any) -> None:
    trunk = make.trial(0, "a", 0)
    branch = make.trial(1, "b", 0, reuse=make.reuse("s/0", 60))
    twin = make.trial(2, "c", 0, reuse=Reuse((Source("s/1", 100), Source("s/0", 60)), 1.0, ()))
    other = make.trial(3, "d", 0, reuse=make.reuse("s/0", 30))

    pairs = [(trunk, branch), (branch, twin), (trunk, twin), (twin, other), (other, make.trial(4, "e", 0))]

    assert [shared_steps(*pair, ("s", "s")) for pair in pairs] == [60, 100, 60, 30, 0]
    assert shared_steps(trunk, branch, ("other", "s")) == 0


def test_times_are_those_of_the_machine_that_trained(make: Any, tried: Any) -> None:
    report = reused(make, tried(VALUES), HIGH, device="H200")

    found = {one.what: {group.value for group in one.groups} for one in confounds(report.study, cell_results(report))}

    assert found["Device"] == {"H200", "cpu"}
    assert unlike_times(report.trials).devices == ("H200", "cpu")  # type: ignore[union-attr]
    assert unlike_times(reused(make, tried(VALUES), HIGH).trials) is None


def test_a_branch_was_timed_on_both_machines(make: Any, tried: Any) -> None:
    report = reused(make, tried(VALUES), HIGH, steps=40, device="H200")

    assert [each.device for each in report.trials[-1].trained_by] == ["H200", "cpu"]
    assert report.trials[-1].changed == {"device": ("H200", "cpu")}


@pytest.mark.parametrize("test", [ABOVE, ALIKE], ids=["greater", "equivalent"])
def test_values_that_are_equal_by_construction_are_told(make: Any, tried: Any, test: Any) -> None:
    report = reused(make, tried(VALUES, test), HIGH)

    (verdict,) = verdicts(report)

    assert verdict.copies is not None and (verdict.copies.count, verdict.copies.of) == (3, 6)
    assert warning(verdict).startswith("Careful: 3 of the 6 trials that are compared are the same training as another")
    assert "equal by construction, which is no evidence" in warning(verdict)


def test_a_beginning_that_is_shared_leaves_the_ends_two_results(make: Any, tried: Any) -> None:
    (verdict,) = verdicts(reused(make, tried(VALUES, ABOVE), HIGH, steps=99))

    assert verdict.copies is None and warning(verdict) == ""


def test_at_a_moment_within_a_shared_beginning_values_are_equal_by_construction(make: Any, tried: Any) -> None:
    report = reused(make, tried(VALUES, *(ABOVE.model_copy(update={"at": At(step=at)}) for at in (50, 70))), HIGH, 60)
    series = {(one.number, "val/accuracy"): ([10, 100], [0.1, 0.9]) for one in report.trials}

    within, beyond = verdicts(replace(report, series=arrays(series)))

    assert "up to this moment" in warning(within) and warning(beyond) == ""


def test_times_that_were_measured_once_are_told(make: Any, tried: Any) -> None:
    by_steps = FIRST.model_copy(update={"by": "steps"})
    report = reused(make, tried(VALUES, FIRST, by_steps), HIGH, steps=40)
    steps = [10, 100]
    series = {(one.number, "val/accuracy"): (steps, [0.5, 0.9]) for one in report.trials}
    series |= {(one.number, "elapsed_s"): (steps, [1.0, 12.5]) for one in report.trials}

    by_time, by_step = verdicts(replace(report, series=arrays(series)))

    assert warning(by_time).startswith("Careful: 3 of the 6 trials that are compared have steps from the same training")
    assert "measured once, and times that are alike for that reason are no evidence" in warning(by_time)
    assert warning(by_step) == ""


def test_a_study_compared_with_the_one_that_it_took_its_trials_from(make: Any, tried: Any) -> None:
    a, b = tried(VALUES), tried(VALUES)
    b = replace(reused(make, b, HIGH), study=b.study.model_copy(update={"name": "again"}))
    from_a = [replace(one, reuse=make.reuse(f"tried/{one.number}")) if one.reuse else one for one in b.trials]
    b = replace(b, trials=tuple(from_a))

    found = compare(a, b)

    assert [match.copies for match in found.matches] == [0, 0, 3]
    assert "Careful: in 1 cell, 3 pairs of trials are one training, taken over bit for bit" in lead(found)
    assert "Careful" not in lead(compare(a, replace(b, database="sqlite:///another.db")))
