"""Studies of the shapes that a page must show well: crossed factors, a search, one cell, very many cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import lru_cache

import numpy as np

from cifarsweep.analysis.records import ClassCounts, ReportStudy, ReportTrial
from cifarsweep.spec.hypothesis import Greater
from cifarsweep.spec.levels import cell_name
from cifarsweep.spec.search_space import Choices, Range, Search
from cifarsweep.spec.study import Cell
from cifarsweep.spec.types import Value
from cifarsweep.store.records import Note
from support.studies import START, Maker

make = Maker()
CLASSES = ("aircraft", "bird", "cat", "deer")


def crossed() -> ReportStudy:
    """3 x 2 x 2 cells with 5 seeds: numbers, texts and switches as levels; the skip helps most at the highest rate."""
    factors = {"optimizer.lr": (0.03, 0.1, 0.3), "optimizer.name": ("sgd", "adamw"), "model.skip": (False, True)}
    gains = {0.03: 0.0, 0.1: 0.02, 0.3: 0.005}

    def quality(levels: Mapping[str, Value]) -> float:
        skip = 0.01 + 0.04 * (levels["optimizer.lr"] == 0.3) if levels["model.skip"] else 0.0
        return 0.88 + gains[float(str(levels["optimizer.lr"]))] + skip + 0.006 * (levels["optimizer.name"] == "adamw")

    study = make.study(factors, seeds=5, name="crossed", question="Which rate, optimizer and skip train best together?")
    report = make.finished(study, [quality(cell.levels) for cell in study.cells])
    return with_costs(with_classes(report))


def judged() -> ReportStudy:
    """The same with hypotheses, a failure, a takeover, another device, a trial that waits, and notes."""
    report = crossed()
    skip = ({"optimizer.lr": 0.3, "optimizer.name": "sgd", "model.skip": yes} for yes in (True, False))
    adamw = ({"optimizer.lr": 0.1, "model.skip": True, "optimizer.name": name} for name in ("adamw", "sgd"))
    hypotheses = tuple(
        Greater(kind="greater", claim=claim, a=a, b=b)
        for claim, (a, b) in {"The skip helps at the highest rate": skip, "AdamW is above SGD": adamw}.items()
    )
    trials = list(report.trials)
    error = 'Traceback (most recent call last):\n  File "train.py", line 3\nRuntimeError: CUDA error: out of memory'
    lost = {"outcome": None, "final": {}, "elapsed_s": None}
    failed = make.attempt(1, end="exception", error="RuntimeError: CUDA error: out of memory")
    trials[2] = replace(trials[2], attempts=(make.attempt(1, end="taken_over", host="node2"), make.attempt(2)))
    trials[4] = replace(trials[4], state="failed", error=error, attempts=(failed,), **lost)
    trials[5] = replace(trials[5], attempts=(make.attempt(1, device="NVIDIA H200"),), versions={"torch": "2.14.0"})
    trials[-1] = replace(trials[-1], state="queued", attempts=(), **lost)
    study = report.study.model_copy(update={"name": "judged", "hypotheses": hypotheses})
    notes = (Note(1, None, "The rate of AdamW is a guess.", START), Note(2, 5, "Somebody else was on this GPU.", START))
    return replace(report, study=study, trials=tuple(trials), own_notes=notes)


def searched() -> ReportStudy:
    """A search of 60 points over four parameters, a quarter of which was pruned and one of which diverged."""
    space = {
        "optimizer.lr": Range(low=1e-4, high=1.0, log=True),
        "optimizer.weight_decay": Range(low=1e-6, high=1e-2, log=True),
        "batch_size": Range(low=32, high=256, step=32),
        "optimizer.name": Choices(choices=("sgd", "adamw")),
    }
    base = make.study({}, seeds=1, name="searched", question="Which recipe trains best?").cells[0]
    rng = np.random.default_rng(60)
    cells, trials, series = [], [], {}
    for number in range(60):
        near = 0.3 if number < 20 else 0.15  # a sampler comes closer
        rate = 10 ** float(rng.normal(-1.5, 5 * near))
        levels: dict[str, Value] = {
            "optimizer.lr": float(f"{np.clip(rate, 1e-4, 1.0):.3g}"),
            "optimizer.weight_decay": float(f"{10 ** float(rng.uniform(-6, -2)):.3g}"),
            "batch_size": int(rng.integers(1, 9)) * 32,
            "optimizer.name": ("sgd", "adamw")[int(rng.integers(2))],
        }
        off = abs(np.log10(float(str(levels["optimizer.lr"]))) + 1.5)
        quality = float(np.clip(0.93 - 0.12 * off**2 + 0.01 * (levels["optimizer.name"] == "adamw"), 0.12, 0.95))
        pruned, diverged = quality < 0.7 and number % 2 == 0, number == 17
        settings = base.settings if isinstance(base, Cell) else None
        name = cell_name(levels, list(levels))
        cells.append(Cell(name=name, levels=levels, settings=settings))
        curves = make.curves(number, quality, points=40, until=0.4 if pruned else 1.0)
        series |= curves
        last = float(curves[number, "val/accuracy"][1][-1])
        final = {"val/accuracy": 0.1 if diverged else last, "train/loss": 0.3}
        outcome = "pruned" if pruned else "diverged" if diverged else "finished"
        trials.append(
            make.trial(number, name, 0, levels=levels, final=final, outcome=outcome, steps=160 if pruned else 400)
        )
    study = make.study({}, seeds=1, name="searched", question="Which recipe trains best?")
    search = Search(n_trials=60, pruner="median", space=space)
    # As a page has them: those with the best results have a line in its tables and figures.
    means = {trial.cell: trial.final["val/accuracy"] for trial in trials if trial.outcome != "pruned"}
    best = tuple(sorted((cell for cell in cells if cell.name in means), key=lambda cell: -means[cell.name])[:12])
    return make.report(study.model_copy(update={"cells": best, "search": search}), trials, series)


def single() -> ReportStudy:
    """One cell with three seeds."""
    return with_classes(make.finished(make.study({}, seeds=3, name="single", question="How good is the recipe?")))


def sixty() -> ReportStudy:
    """12 x 5 cells with two seeds, so that every figure is full."""
    factors = {
        "optimizer.lr": tuple(float(f"{10**exponent:.2g}") for exponent in np.linspace(-4, 0, 12)),
        "batch_size": (32, 64, 128, 256, 512),
    }
    study = make.study(factors, seeds=2, name="sixty", question="Which rate suits which batch size?")

    def quality(levels: Mapping[str, Value]) -> float:
        ideal = -2.5 + 0.4 * np.log2(int(str(levels["batch_size"])) / 32)
        return float(np.clip(0.93 - 0.1 * (np.log10(float(str(levels["optimizer.lr"]))) - ideal) ** 2, 0.11, 0.95))

    return with_costs(make.finished(study, [quality(cell.levels) for cell in study.cells], points=20))


EXAMPLES: Mapping[str, Callable[[], ReportStudy]] = {
    maker.__name__: lru_cache(maxsize=1)(maker) for maker in (crossed, judged, searched, single, sixty)
}


def with_costs(report: ReportStudy) -> ReportStudy:
    """Later cells take longer and more energy; GPUs were sampled."""
    places = {cell.name: place for place, cell in enumerate(report.study.cells)}
    series, trials = dict(report.series), []
    for trial in report.trials:
        times = 1 + places[trial.cell] / len(places)
        steps, elapsed = series[trial.number, "elapsed_s"]
        series[trial.number, "elapsed_s"] = (steps, elapsed * times)
        series[trial.number, "energy_j"] = (steps, steps * 10.0 * times)
        series[trial.number, "gpu/utilisation"] = (steps, np.full(steps.size, 0.8))
        final = {
            **trial.final,
            "train/accuracy": min(trial.final["val/accuracy"] + 0.03, 1.0),
            "energy_j": 6000.0 * times,
        }
        trials.append(replace(trial, final=final, elapsed_s=60.0 * times, attempts=(_attempt(60.0 * times),)))
    return replace(report, trials=tuple(trials), series=series)


def _attempt(seconds: float) -> object:
    return make.attempt(1, ended_at=START + timedelta(seconds=seconds + 2))


def with_classes(report: ReportStudy) -> ReportStudy:
    """With confusion counts of four classes."""
    return replace(
        report,
        confusion={cell.name: _counts(report.trials, cell.name) for cell in report.study.cells},
        class_names={"digits": CLASSES},
    )


def _counts(trials: tuple[ReportTrial, ...], cell: str) -> ClassCounts:
    """100 images of each class: the later a class, the harder."""
    size = len(CLASSES)
    recall = []
    for trial in (one for one in trials if one.cell == cell):
        hard = 0.04 * np.arange(size) * (1 + 0.1 * (trial.seed % 3))
        recall.append(np.clip(trial.final["val/accuracy"] + 0.05 - hard, 0, 1))
    hits = np.round(100 * np.array(recall)).astype(np.int64).sum(axis=0)
    counts = np.diag(hits) + np.roll(np.diag(100 * len(recall) - hits), 1, axis=1)
    return ClassCounts("digits", counts, np.array(recall))
