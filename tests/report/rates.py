"""A study of three rates, with what its cells end at, and what may be claimed of them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from cifarsweep.analysis.records import ReportStudy
from cifarsweep.spec.hypothesis import Equivalent, Faster, Greater

FACTORS = {"optimizer.lr": (0.1, 0.2, 0.3)}
LOW, MIDDLE, HIGH = CELLS = ["lr=0.1", "lr=0.2", "lr=0.3"]
Values = Mapping[str, Sequence[float | None]]

ABOVE = Greater(kind="greater", claim="High is above low", a=HIGH, b=LOW)
ALIKE = Equivalent(kind="equivalent", claim="High matches low", a=HIGH, b=LOW, margin=0.01)
FIRST = Faster(kind="faster", claim="High is there first", a=HIGH, b=LOW, target=0.8, by="elapsed_s")

NEAR = {LOW: [0.914, 0.916, 0.915], MIDDLE: [0.5, 0.51, 0.52], HIGH: [0.912, 0.915, 0.914]}
FAR = {LOW: [0.1, 0.101, 0.1], MIDDLE: [0.5, 0.51, 0.52], HIGH: [0.9, 0.91, 0.905]}
UNDECIDED = {LOW: [0.9, 0.91, 0.92], MIDDLE: [0.5, 0.511, 0.519], HIGH: [0.93, 0.9, 0.925]}


def study_of_rates(make: Any, values: Values, *hypotheses: Any, **changes: Any) -> ReportStudy:
    """With the accuracies given by cell, one a seed; None for a trial that waits."""
    study = make.study(FACTORS, hypotheses=hypotheses)
    pairs = [(cell, seed, value) for cell in values for seed, value in enumerate(values[cell])]
    trials = [
        make.trial(number, cell, seed, final={"val/accuracy": value})
        if value is not None
        else make.trial(number, cell, seed, state="queued", outcome=None, final={})
        for number, (cell, seed, value) in enumerate(pairs)
    ]
    return replace(make.report(study, trials), **({"classes": {"digits": 10}} | changes))
