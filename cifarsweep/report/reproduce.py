"""How to make a study again: the commands, the images, and what its trials ran with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from cifarsweep.data.catalog import BUILT_IN
from cifarsweep.report.code import code_version
from cifarsweep.report.source import ReportStudy, ReportTrial
from cifarsweep.report.study_file import study_toml
from cifarsweep.report.wording import plural, visible
from cifarsweep.spec.words import DATA_VERSION
from cifarsweep.text import verbatim

Environment = tuple[tuple[str, str], ...]


def environments(report: ReportStudy) -> list[tuple[Environment, int]]:
    """What trials ran with, versions by name, with the number of trials; most trials first."""
    return Counter(found for trial in report.trials if (found := _environment(trial))).most_common()


def environment_numbers(report: ReportStudy) -> Mapping[int, int]:
    """Which environment each trial that has begun ran in, by trial number, counted from 1."""
    places = {found: place for place, (found, _) in enumerate(environments(report), start=1)}
    return {trial.number: places[found] for trial in report.trials if (found := _environment(trial))}


def _environment(trial: ReportTrial) -> Environment:
    return tuple(sorted((k, v) for k, v in trial.versions.items() if not k.startswith(DATA_VERSION)))


def reproduce_view(report: ReportStudy) -> dict[str, Any]:
    """The variables of the section."""
    study = report.written or report.study
    return {
        "commands": list(commands(report)),
        "file": f"{study.name}.toml",
        "toml": None if study.imported else verbatim(study_toml(study)),
        "sha256": study.sha256,
        "code": code_version(),
        "data": visible(report.data_digest) if report.data_digest else None,
        "environments": [
            {"text": visible(", ".join(f"{k} {v}" for k, v in found)), "trials": plural(count, "trial")}
            for found, count in environments(report)
        ],
    }


def commands(report: ReportStudy) -> Iterator[str]:
    """The command lines, from the images to the check of a trial against its repetition."""
    name = report.study.name
    if report.study.imported:
        yield f"cifarsweep import-tensorboard DIR --as {name}"
        return
    for dataset in sorted({cell.settings.dataset for cell in report.study.cells}):
        if dataset not in BUILT_IN:
            yield f"cifarsweep data import {dataset} FOLDER"
        elif command := BUILT_IN[dataset].command:
            yield command
    on_gpu = any("cuda" in trial.versions for trial in report.trials)
    worker = f"cifarsweep worker --study {name} {'--gpu 0' if on_gpu else '--cpu'}"
    yield f"cifarsweep create {name}.toml"
    extend = f"cifarsweep extend {name} --until-decided --max-seeds {report.looks[-1]}" if report.looks else None
    if extend:
        yield f"{extend}    # before the first look: plans them all"
    yield worker
    if extend:
        yield extend
        yield f"{worker}    # these two again until nothing is added"
    yield f"cifarsweep report {name}"
    if done := [trial.number for trial in report.trials if trial.done]:
        yield f"cifarsweep replay {name}/{done[0]}    # does this trial come out the same, bit for bit?"
