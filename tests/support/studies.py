"""Studies with made-up trials: learning curves with seed noise, as training would leave them; and three rates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import numpy as np
import pytest

from cifarsweep.analysis.records import ReportStudy, ReportTrial, Series
from cifarsweep.spec.hypothesis import Equivalent, Faster, Greater
from cifarsweep.spec.levels import cell_name, crossed
from cifarsweep.spec.provenance import Source
from cifarsweep.spec.settings import Settings, flat_settings
from cifarsweep.spec.study import Cell, Study
from cifarsweep.spec.types import TrialState
from cifarsweep.spec.validation import nested
from cifarsweep.stats.shares import Guess
from cifarsweep.store import Store
from cifarsweep.store.trial_records import AttemptRow, Reuse

START = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
LR_AND_SKIP = {"optimizer.lr": (3e-3, 1e-3, 3e-4), "model.skip": (False, True)}


class Maker:
    """Builds reports; every part has a default."""

    def study(self, factors: Mapping[str, Any] | None = None, seeds: int = 3, **changes: Any) -> Study:
        factors = LR_AND_SKIP if factors is None else factors
        base = flat_settings(Settings(epochs=5, dataset="digits"))
        cells = []
        for levels in list(crossed(factors)) or [{}]:
            settings = Settings.model_validate_json(_json(nested(base | dict(levels), "scene")))
            cells.append(Cell(name=cell_name(levels, list(factors)), levels=dict(levels), settings=settings))
        fields = {"name": "tried", "question": "Which rate trains best?", "factors": dict(factors)}
        return Study(**(fields | {"cells": tuple(cells), "seeds": tuple(range(seeds))} | changes))

    def trial(self, number: int, cell: str, seed: int, **changes: Any) -> ReportTrial:
        fields: dict[str, Any] = {
            "levels": {}, "state": "done", "outcome": "finished", "final": {"val/accuracy": 0.9, "val/loss": 0.3},
            "steps": 100, "elapsed_s": 12.5, "params": 1_170_000, "flops": 7.6e7, "attempts": (self.attempt(1),),
            "error": None, "versions": {"torch": "2.15.0", "python": "3.11"},
        }  # fmt: skip
        return ReportTrial(number=number, cell=cell, seed=seed, **(fields | changes))

    def attempt(self, number: int, **changes: Any) -> AttemptRow:
        fields = {"host": "node1", "device": "cpu", "started_at": START, "ended_at": START + timedelta(seconds=14)}
        known = {"worker_id": "w", "versions": {}, "end": "done", "first_step": None, "error": "", "traceback": ""}
        return AttemptRow(attempt=number, **(fields | known | changes))

    def reuse(self, name: str, steps: int = 100, seconds: float = 12.5, **attempt: Any) -> Reuse:
        """What a trial took over from the trial of that name, which trained it in one attempt."""
        return Reuse((Source(name, steps),), seconds, (self.attempt(1, first_step=0, **attempt),))

    def report(self, study: Study, trials: Sequence[ReportTrial], series: Mapping[Any, Series] = {}) -> ReportStudy:
        return ReportStudy(
            study=study, trials=tuple(trials), series=series, made_at=START, database="sqlite:///x.db", version="0.1.0"
        )

    def curves(self, number: int, quality: float, points: int = 60, until: float = 1.0) -> dict[Any, Series]:
        """Metrics of one trial whose accuracy comes close to `quality`, with noise of its own seed."""
        rng = np.random.default_rng(number)
        steps = np.arange(1, round(points * until) + 1, dtype=np.int64) * 10
        shape = 1 - np.exp(-5 * steps / (10 * points))
        noise = rng.normal(0, 0.01, steps.size).cumsum() / np.sqrt(np.arange(1, steps.size + 1)) + rng.normal(0, 0.006)
        accuracy = np.clip(0.1 + (quality - 0.1) * shape + noise * shape, 0, 1)
        every = slice(4, None, 5)
        return {
            (number, "train/loss"): (steps, 2.3 * (1 - 0.9 * shape * quality) + np.abs(noise)),
            (number, "train/accuracy"): (steps, np.clip(accuracy + 0.02, 0, 1)),
            (number, "val/accuracy"): (steps[every], accuracy[every]),
            (number, "epoch"): (steps, steps / 100),
            (number, "images"): (steps, steps * 64.0),
            (number, "elapsed_s"): (steps, steps * (0.02 + 0.002 * rng.random())),
        }

    def finished(self, study: Study, qualities: Sequence[float] | None = None, points: int = 60) -> ReportStudy:
        """Every trial done, with curves; each cell a little worse than the one before."""
        places = {cell.name: place for place, cell in enumerate(study.cells)}
        trials: list[ReportTrial] = []
        series: dict[Any, Series] = {}
        for number, planned in enumerate(study.trials()):
            place = places[planned.cell.name]
            quality = qualities[place] if qualities else 0.97 - 0.02 * place
            series |= self.curves(number, quality, points)
            final = {name: float(series[number, name][1][-1]) for name in ("val/accuracy", "train/loss")}
            trials.append(
                self.trial(
                    number, planned.cell.name, planned.seed, levels=planned.cell.levels, final=final, steps=points * 10
                )
            )
        return self.report(study, trials, series)


def _json(tree: Any) -> str:
    import json

    return json.dumps(tree)


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


def judged_on(report: ReportStudy, images: int) -> ReportStudy:
    """The same, with accuracies that are of so many images of ten classes."""
    return replace(report, trials=tuple(replace(one, guess=Guess(0.1, images)) for one in report.trials))


@pytest.fixture(scope="session")
def make() -> Maker:
    return Maker()


@pytest.fixture
def tried(make: Maker) -> Callable[..., ReportStudy]:
    """A study of three rates with the accuracies given by cell, as `study_of_rates` builds it."""
    return partial(study_of_rates, make)


WAITING = {"state": "queued", "outcome": None, "final": {}, "elapsed_s": None}
FAILED = {"state": "failed", "outcome": None, "final": {}, "error": "RuntimeError: no"}
SKIP, PLAIN = "skip=yes", "skip=no"


def accuracy(value: float) -> dict[str, Any]:
    return {"final": {"val/accuracy": value}}


@pytest.fixture
def mixed(make: Any) -> Any:
    """skip=no: two seeds, one of them diverged, and one failed; skip=yes: one done, two waiting."""
    study = make.study({"model.skip": (False, True)})
    trials = [
        make.trial(0, PLAIN, 0, **accuracy(0.8)),
        make.trial(1, SKIP, 0, **accuracy(0.7), elapsed_s=20.0),
        make.trial(2, PLAIN, 1, outcome="diverged", **accuracy(0.1)),
        make.trial(3, SKIP, 1, **WAITING),
        make.trial(4, PLAIN, 2, **FAILED),
        make.trial(5, SKIP, 2, **WAITING),
    ]
    return make.report(study, trials)


def count_open(store: Store, *studies: str) -> int:
    """How many trials are queued or leased, of those studies or of all."""
    found = [status for status in store.studies.status() if not studies or status.study in studies]
    return sum(status.trials[state] for status in found for state in (TrialState.QUEUED, TrialState.LEASED))
