"""Studies of a user's own program, whose files are made up, and reports of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cifarsweep.analysis.records import ReportStudy, Series
from cifarsweep.spec.levels import cell_name, crossed
from cifarsweep.spec.program import Program, ProgramFile
from cifarsweep.spec.study import Cell, Study
from support.studies import Maker

FILES = (ProgramFile(path="mynet/net.py", sha256="b" * 64), ProgramFile(path="train.py", sha256="a" * 64))
COMMAND = ("python", "train.py", "--lr", "{lr}", "--seed", "{seed}")
#: Versions of an attempt.
RAN_WITH = {"python": "3.11.2", "program git": "0123456789ab", "program packages": "c" * 64}


def program_study(metric: str = "val/accuracy", seeds: int = 3, **changes: Any) -> Study:
    """Three rates, a width that all share, and an optimizer that is a text."""
    factors = changes.pop("factors", {"lr": (0.1, 0.03, 0.01)})
    fixed = {"width": 64, "optimizer.name": "sgd"}
    cells = tuple(
        Cell(name=cell_name(levels, list(factors)), levels=levels, settings=None, parameters=fixed | levels)
        for levels in crossed(factors)
    )
    fields = {"name": "own", "question": "Which rate trains my net best?", "factors": factors, "cells": cells}
    program = Program(command=COMMAND, files=FILES, metric=metric)
    return Study(**(fields | {"seeds": tuple(range(seeds)), "program": program} | changes))


def program_report(
    study: Study,
    values: Sequence[float],
    steps: int = 5,
    *,
    versions: Mapping[str, str] = RAN_WITH,
    spread: float = 0.01,
) -> ReportStudy:
    """Every trial done, with so many logged steps; `values` are the final ones, by cell."""
    assert study.program is not None
    make, metric = Maker(), study.metric
    trials, series = [], dict[tuple[int, str], Series]()
    places = {cell.name: place for place, cell in enumerate(study.cells)}
    for number, planned in enumerate(study.trials()):
        value = values[places[planned.cell.name]] + spread * planned.seed
        at = np.arange(1, steps + 1, dtype=np.int64)
        series[number, metric] = at, value + (at[::-1] - 1) * 0.01
        series[number, "lines"] = at, at * 2.0
        series[number, "elapsed_s"] = at, at * 1.5
        attempt = make.attempt(1, first_step=0, versions=versions)
        fields = {"levels": planned.cell.levels, "final": {metric: value, "lines": steps * 2.0}, "metric": metric}
        fields |= {"params": None, "flops": None, "steps": steps, "attempts": (attempt,), "versions": versions}
        trials.append(make.trial(number, planned.cell.name, planned.seed, **fields))
    return make.report(study, trials, series)
