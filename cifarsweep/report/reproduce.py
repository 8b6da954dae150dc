"""How to make a study again: the commands, the code, the images, and what its trials ran with."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from cifarsweep.analysis.records import ReportStudy, ReportTrial
from cifarsweep.data.catalog import BUILT_IN
from cifarsweep.environment import without_database
from cifarsweep.formatting import plural
from cifarsweep.spec.provenance import changes_text
from cifarsweep.spec.types import DATA_VERSION
from cifarsweep.spec.writer import study_toml
from cifarsweep.version import __version__

#: More trials than this are counted rather than named.
_NAMED = 12

Environment = tuple[tuple[str, str], ...]


def environments(report: ReportStudy) -> list[tuple[Environment, int]]:
    """What trials ran with, versions by name, with the number of trials; most trials first.

    Images are among them where the trials of the study had different ones.
    """
    mixed = _mixed_data(report)
    return Counter(found for trial in report.trials for found in _environments(trial, mixed)).most_common()


def environment_numbers(report: ReportStudy) -> Mapping[int, tuple[int, ...]]:
    """Which environments each trial that has begun ran in, one after the other, by its number; counted from 1."""
    mixed = _mixed_data(report)
    places = {found: place for place, (found, _) in enumerate(environments(report), start=1)}
    numbers = {trial.number: [places[found] for found in _environments(trial, mixed)] for trial in report.trials}
    return {number: tuple(found) for number, found in numbers.items() if found}


def _mixed_data(report: ReportStudy) -> set[str]:
    """The data sets of which trials had different images, as versions name them."""
    digests: dict[str, set[str]] = {}
    for key, sha256 in (item for trial in report.trials for each in trial.environments for item in each.items()):
        if key.startswith(DATA_VERSION):
            digests.setdefault(key, set()).add(sha256)
    return {key for key, found in digests.items() if len(found) > 1}


def _environments(trial: ReportTrial, mixed: Collection[str]) -> list[Environment]:
    found = [
        tuple(sorted((k, v) for k, v in versions.items() if k in mixed or not k.startswith(DATA_VERSION)))
        for versions in trial.environments
    ]
    return [each for each in dict.fromkeys(found) if each]


def _changed(report: ReportStudy) -> Iterator[str]:
    """Which trials changed their software, device or images on their way, and what follows from it."""
    found: dict[str, list[int]] = {}
    for trial in report.trials:
        if trial.changed:
            found.setdefault(changes_text(trial.changed), []).append(trial.number)
    for text, numbers in found.items():
        which = f"Trial {numbers[0]} was" if len(numbers) == 1 else f"{plural(len(numbers), 'trial')} were"
        named = f" (trials {', '.join(map(str, numbers))})" if 1 < len(numbers) <= _NAMED else ""
        yield (
            f"{which} continued with something else than before{named}: {text}. The same bits are not promised "
            f"for {'it' if len(numbers) == 1 else 'them'}: a repetition may differ."
        )


def reproduce_view(report: ReportStudy) -> dict[str, Any]:
    """The variables of the section."""
    study = report.written or report.study
    return {
        "commands": list(commands(report)),
        "file": f"{study.name}.toml",
        "toml": None if study.imported else study_toml(study),
        "sha256": study.sha256,
        "code": code_version(),
        "data": report.data_digest or None,
        "environments": [
            {"text": ", ".join(f"{k} {v}" for k, v in found), "trials": plural(count, "trial")}
            for found, count in environments(report)
        ],
        "changed": [text for text in _changed(report)],
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
    on_gpu = any("cuda" in versions for trial in report.trials for versions in trial.environments)
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
    # Of a trial that changed nothing on its way, where there is one: for the others nothing is promised.
    if done := sorted((trial for trial in report.trials if trial.done), key=lambda trial: bool(trial.changed)):
        same = "does this trial come out the same, bit for bit?"
        question = "how near does this trial come, which changed on its way?" if done[0].changed else same
        yield f"cifarsweep replay {name}/{done[0].number}    # {question}"


_PATIENCE_S = 5


@lru_cache(maxsize=1)
def code_version() -> str:
    """The version, with its commit where the package runs from a checkout or was installed from one. Never fails."""
    commit = _of_checkout(Path(__file__).parents[2]) or _of_install()
    return f"cifarsweep {__version__}, commit {commit}" if commit else f"cifarsweep {__version__}"


def _of_checkout(root: Path) -> str | None:
    # Only its own: an environment may stand inside the checkout of something else.
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=_PATIENCE_S, check=False, env=without_database()
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return (ended.stdout.strip() or None) if ended.returncode == 0 else None


def _of_install() -> str | None:
    """As pip writes it down (https://packaging.python.org/en/latest/specifications/direct-url/)."""
    try:
        origin = json.loads(distribution("cifarsweep").read_text("direct_url.json") or "{}")
        commit = origin.get("vcs_info", {}).get("commit_id")
    except (PackageNotFoundError, OSError, ValueError, AttributeError):
        return None
    return commit[:12] if isinstance(commit, str) else None
