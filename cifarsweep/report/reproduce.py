"""How to reproduce a study: commands, code, images, and the environments of its trials."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from cifarsweep.analysis.records import ReportStudy
from cifarsweep.data.catalog import BUILT_IN, DataSetInfo
from cifarsweep.environment import without_database
from cifarsweep.formatting import plural
from cifarsweep.report.reuse_text import reused_text
from cifarsweep.spec.code import codes_of
from cifarsweep.spec.devices import devices_of
from cifarsweep.spec.program import Program
from cifarsweep.spec.provenance import PROGRAM_GIT, PROGRAM_PACKAGES, changes_text
from cifarsweep.spec.study import Study
from cifarsweep.spec.types import DATA_VERSION
from cifarsweep.spec.writer import study_toml
from cifarsweep.version import __version__

#: More trials than this are counted instead of named.
_NAMED = 12
_GIT_TIMEOUT_S = 5
#: Files of a program that a page lists.
_MOST_FILES = 200

#: Versions by name.
Environment = tuple[tuple[str, str], ...]


def environment_numbers(report: ReportStudy) -> dict[int, tuple[int, ...]]:
    """The environments that each started trial ran in, in order, numbered from 1 as the page lists them."""
    by_trial = _environments(report)
    numbers = {environment: number for number, (environment, _) in enumerate(_counted(by_trial), start=1)}
    return {trial: tuple(numbers[one] for one in found) for trial, found in by_trial.items() if found}


def _counted(by_trial: Mapping[int, Sequence[Environment]]) -> list[tuple[Environment, int]]:
    """Each environment with its number of trials, most trials first."""
    return Counter(environment for found in by_trial.values() for environment in found).most_common()


def _environments(report: ReportStudy) -> dict[int, list[Environment]]:
    """The environments of each trial; what is told apart is part of them only where trials differ in it.

    That are the digests of images, and commit and packages of a program.
    """
    digests: dict[str, set[str]] = {}
    for key, value in (item for trial in report.trials for found in trial.environments for item in found.items()):
        digests.setdefault(key, set()).add(value)
    apart = {key for key in digests if key.startswith(DATA_VERSION) or key in (PROGRAM_GIT, PROGRAM_PACKAGES)}
    same = {key for key in apart if len(digests[key]) == 1}
    environments = {
        trial.number: [
            tuple(sorted((key, value) for key, value in found.items() if key not in same))
            for found in trial.environments
        ]
        for trial in report.trials
    }
    return {number: [one for one in dict.fromkeys(found) if one] for number, found in environments.items()}


def _changed(report: ReportStudy) -> Iterator[str]:
    """Sentences on trials whose software, device or images changed between attempts."""
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
    """The variables of the section on reproduction."""
    study = report.written or report.study
    return {
        "commands": list(commands(report)),
        "file": f"{study.name}.toml",
        "toml": None if study.imported else study_toml(study),
        "sha256": study.sha256,
        "program": _program_view(study.program, report) if study.program else None,
        "own_code": _own_code(study),
        "code": f"cifarsweep {report.version}" if report.anonymous else code_version(),
        "anonymous": report.anonymous,
        "data": report.data_digest or None,
        "images": list(_images_text(report)),
        "environments": [
            {"text": ", ".join(f"{name} {version}" for name, version in found), "trials": plural(count, "trial")}
            for found, count in _counted(_environments(report))
        ],
        "changed": list(_changed(report)),
        "reused": reused_text(report),
    }


def commands(report: ReportStudy) -> Iterator[str]:
    """Command lines from the images to the replay of a trial."""
    name = report.study.name
    if report.study.imported:
        yield f"cifarsweep import-tensorboard DIR --as {name}"
        return
    if report.study.program is not None:
        yield from _program_commands(report)
        return
    for dataset in sorted({cell.settings.dataset for cell in report.study.cells}):
        if dataset not in BUILT_IN:
            found = _trained_on(report, dataset)
            yield f"cifarsweep data import {dataset} FOLDER{found.import_options if found else ''}"
        elif command := BUILT_IN[dataset].command:
            yield command
    on_gpu = any("cuda" in versions for trial in report.trials for versions in trial.environments)
    sources = "".join(f" --code {source}" for source in _sources(report.study))
    gpus = ",".join(map(str, range(max(devices_of(report.study), default=1))))
    worker = f"cifarsweep worker --study {name} {f'--gpu {gpus}' if on_gpu else '--cpu'}{sources}"
    yield f"cifarsweep create {name}.toml" + ("    # beside the files of its code" if report.study.code else "")
    extend = f"cifarsweep extend {name} --until-decided --max-seeds {report.looks[-1]}" if report.looks else None
    if extend:
        yield f"{extend}    # before the first look: plans them all"
    yield worker
    if extend:
        yield extend
        yield f"{worker}    # these two again until nothing is added"
    yield f"cifarsweep report {name}"
    # Prefer a trial in which nothing changed between attempts: the same bits are promised for such trials alone.
    if done := sorted((trial for trial in report.trials if trial.done), key=lambda trial: bool(trial.changed)):
        same = "does this trial come out the same, bit for bit?"
        question = "how near does this trial come, which changed on its way?" if done[0].changed else same
        several = f" --gpu {gpus}" if on_gpu and done[0].devices > 1 else ""
        yield f"cifarsweep replay {name}/{done[0].number}{several}{sources}    # {question}"


def _packages(study: Study) -> list[str]:
    """Name, version and digest of each package whose code it trains with."""
    codes = {code for cell in study.cells if cell.own_settings for code in codes_of(cell.own_settings)}
    return sorted(code for code in codes if " " in code)


def _sources(study: Study) -> list[str]:
    """What a worker names on its command line."""
    return [*(["."] if study.code else []), *(code.partition(" ")[0] for code in _packages(study))]


def _own_code(study: Study) -> list[str]:
    """The user's own files and packages with their digests, a line each."""
    files = study.code.files if study.code else ()
    return [*(f"{file.path} {file.sha256}" for file in files), *_packages(study)]


def _trained_on(report: ReportStudy, dataset: str) -> DataSetInfo | None:
    """The data set on this machine, if trials were trained on its images."""
    found = report.images.get(dataset)
    return found if found and found.sha256 in (report.data_digest or "") else None


def _images_text(report: ReportStudy) -> Iterator[str]:
    """What is known of images of the user's own."""
    for name in report.images:
        if found := _trained_on(report, name):
            yield (
                f"{name}: {found.shape}, {found.train:,} for training and {found.test:,} for testing, "
                f"{len(found.classes):,} classes"
            )


def _program_commands(report: ReportStudy) -> Iterator[str]:
    name = report.study.name
    yield f"cifarsweep create {name}.toml    # beside the files of the program"
    yield f"cifarsweep worker --study {name} --program {name}.toml"
    yield f"cifarsweep report {name}"
    if done := [trial for trial in report.trials if trial.done]:
        question = "does this trial come out the same?"
        yield f"cifarsweep replay {name}/{done[0].number} --program {name}.toml    # {question}"


def _commit_text(version: str) -> str:
    """`COMMIT, all committed`, or `COMMIT with changes`, as a worker recorded it."""
    return version if " " in version else f"{version}, with all committed"


def _program_view(program: Program, report: ReportStudy) -> dict[str, Any]:
    ran = [found for trial in report.trials for found in trial.environments]
    commits, packages = (
        sorted({found[key] for found in ran if key in found}) for key in (PROGRAM_GIT, PROGRAM_PACKAGES)
    )
    return {
        "commits": "; ".join(map(_commit_text, commits)) or ("in no git repository" if ran else None),
        "packages": "; ".join(f"sha256 {digest}" for digest in packages),
        "command": shlex.join(program.command),
        "sha256": program.sha256,
        "count": plural(len(program.files), "file"),
        "files": [f"{file.sha256}  {file.path}" for file in program.files[:_MOST_FILES]],
        "more": len(program.files) - _MOST_FILES,
    }


@lru_cache(maxsize=1)
def code_version() -> str:
    """The version, and the commit if the package runs from a checkout or was installed from one. Never fails."""
    commit = _of_checkout(Path(__file__).parents[2]) or _of_install()
    return f"cifarsweep {__version__}, commit {commit}" if commit else f"cifarsweep {__version__}"


def _of_checkout(root: Path) -> str | None:
    # Ask for this checkout alone: an environment may lie inside the checkout of another project.
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=_GIT_TIMEOUT_S, check=False, env=without_database()
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return (ended.stdout.strip() or None) if ended.returncode == 0 else None


def _of_install() -> str | None:
    """Read the commit that pip recorded (https://packaging.python.org/en/latest/specifications/direct-url/)."""
    try:
        origin = json.loads(distribution("cifarsweep").read_text("direct_url.json") or "{}")
        commit = origin.get("vcs_info", {}).get("commit_id")
    except (PackageNotFoundError, OSError, ValueError, AttributeError):
        return None
    return commit[:12] if isinstance(commit, str) else None
