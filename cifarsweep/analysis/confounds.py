"""Finds what differs between cells beside the factors, and could explain a difference in results instead."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from cifarsweep.analysis.records import ReportTrial
from cifarsweep.analysis.results import CellResult
from cifarsweep.formatting import duration, magnitude
from cifarsweep.spec.devices import has_batch_norm
from cifarsweep.spec.levels import level_text
from cifarsweep.spec.metrics import CPU_SLOTS, GPU_SLOTS
from cifarsweep.spec.provenance import PROGRAM_GIT, PROGRAM_PACKAGES
from cifarsweep.spec.study import Study
from cifarsweep.spec.types import DATA_VERSION

#: The numbers of trials that share a device differ if one is more than this share above the other.
_SLOTS_APART = 0.2
#: Of more values than this, the lowest and the highest are listed.
_GROUPS = 4
_NOT_SET = "not set"
#: The setting that says how many devices share each batch.
DEVICES = "devices"


@dataclass(frozen=True, slots=True)
class Group:
    """Cells that share a value."""

    value: str
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Confound:
    """One thing that differs between cells."""

    what: str
    groups: tuple[Group, ...]
    """One for each value; of many numbers, the cells with the lowest and the highest."""
    ratio: float | None = None
    """Highest over lowest, of many numbers."""


@dataclass(frozen=True, slots=True)
class UnlikeTimes:
    """Why training times do not compare: devices differ, or the numbers of trials that shared a device do."""

    devices: tuple[str, ...] = ()
    slots: tuple[float, float] | None = None
    """The fewest and the most trials that shared a device."""


@dataclass(frozen=True, slots=True)
class _Measure:
    """A number that each trial has, and the share by which means of cells may differ without being listed."""

    what: str
    of: Callable[[ReportTrial], float | None]
    text: Callable[[float], str]
    tolerance: float = 0.0


_MEASURES = (
    _Measure("Steps", lambda trial: trial.steps, lambda value: f"{value:,.0f}"),
    _Measure("Training time", lambda trial: trial.elapsed_s, duration, 0.1),
    _Measure("Parameters", lambda trial: trial.params, magnitude),
    _Measure("FLOPs of one image", lambda trial: trial.flops, magnitude),
    _Measure(
        "Trials at once on the GPU", lambda trial: trial.last(GPU_SLOTS), lambda value: f"{value:.1f}", _SLOTS_APART
    ),
)


def confounds(study: Study, results: Sequence[CellResult]) -> list[Confound]:
    """Everything recorded that differs between cells beside the study's factors.

    Measured numbers are means over the trials that trained to their end.
    """
    return [*_settings(study), *_measured(results), *_environment(results, counted=not asks_for_devices(study))]


def asks_for_devices(study: Study) -> bool:
    """Whether the number of devices is a factor, so that a difference in it is what the study is about."""
    return DEVICES in study.factors


def normalises_by_device(study: Study) -> bool:
    """Whether the number of devices, a factor, changes which images batch norm measures: each its part of a batch."""
    known = [cell.own_settings for cell in study.cells if cell.own_settings is not None]
    parts = (its for its in known if its.devices > 1 and its.batch_norm == "device")
    return asks_for_devices(study) and any(has_batch_norm(its.model) is not False for its in parts)


def _settings(study: Study) -> Iterator[Confound]:
    """Settings or parameters that arms set beside the factors, of those that all cells have."""
    if not study.factors or study.imported:
        return
    cells = {cell.name: cell.flat for cell in study.cells}
    for key in dict.fromkeys(key for settings in cells.values() for key in settings):
        if key in study.factors or not all(key in settings for settings in cells.values()):
            continue
        texts = {
            name: _NOT_SET if settings[key] is None else level_text(settings[key]) for name, settings in cells.items()
        }
        if len(set(texts.values())) > 1:
            yield Confound(key, _groups(texts))


def _measured(results: Sequence[CellResult]) -> Iterator[Confound]:
    for measure in _MEASURES:
        means: dict[str, float] = {}
        for result in results:
            values = [value for trial in result.trained if (value := measure.of(trial)) is not None]
            if values:
                means[result.cell.name] = sum(values) / len(values)
        if means and max(means.values()) - min(means.values()) > measure.tolerance * min(means.values()):
            yield _spread(measure, means)


def _spread(measure: _Measure, means: Mapping[str, float]) -> Confound:
    texts = {cell: measure.text(value) for cell, value in means.items()}
    if len(set(texts.values())) <= _GROUPS:
        return Confound(measure.what, _groups(texts))
    least, most = min(means, key=means.__getitem__), max(means, key=means.__getitem__)
    ratio = means[most] / means[least] if means[least] > 0 else None
    return Confound(measure.what, tuple(Group(texts[cell], (cell,)) for cell in (least, most)), ratio)


def _environment(results: Sequence[CellResult], *, counted: bool) -> Iterator[Confound]:
    """Devices and versions of all attempts that trained, even if they are mixed in every cell."""
    by_cell = {result.cell.name: [trial for trial in result.trials if trial.done] for result in results}
    by_cell = {name: trials for name, trials in by_cell.items() if trials}
    yield from _mixed("Device", {name: devices(trials, counted=counted) for name, trials in by_cell.items()})
    ran_with = {cell: [found for trial in trials for found in trial.environments] for cell, trials in by_cell.items()}
    for key in sorted({key for environments in ran_with.values() for versions in environments for key in versions}):
        values = {cell: {versions.get(key, "none") for versions in each} for cell, each in ran_with.items()}
        yield from _mixed(_version_name(key), values)


def _version_name(key: str) -> str:
    if key.startswith(DATA_VERSION):
        return f"Images of {key.removeprefix(DATA_VERSION)}"
    return {PROGRAM_GIT: "Commit of the program", PROGRAM_PACKAGES: "Packages of the program"}.get(
        key, f"Version of {key}"
    )


def _mixed(what: str, values: Mapping[str, set[str]]) -> Iterator[Confound]:
    if len(set().union(*values.values())) > 1:
        yield Confound(what, _groups({cell: " and ".join(sorted(mixed)) for cell, mixed in values.items()}))


def _groups(values: Mapping[str, str]) -> tuple[Group, ...]:
    cells: dict[str, list[str]] = {}
    for cell, value in values.items():
        cells.setdefault(value, []).append(cell)
    return tuple(Group(value, tuple(names)) for value, names in cells.items())


def devices(trials: Iterable[ReportTrial], *, counted: bool = True) -> set[str]:
    """The devices that trained these trials: models and, if `counted`, how many trained a trial (`2 x NVIDIA H200`)."""
    if counted:
        return {text for trial in trials for text in trial.device_texts}
    return {attempt.device for trial in trials for attempt in trial.trained_by if attempt.device}


def unlike_times(trials: Sequence[ReportTrial], *, counted: bool = True) -> UnlikeTimes | None:
    """How the times of trials were measured differently, if they were; `counted` as in `devices`."""
    models = tuple(sorted(devices(trials, counted=counted)))
    if len(models) > 1:
        return UnlikeTimes(devices=models)
    busy = [slots for trial in trials if (slots := _slots(trial)) is not None]
    if busy and max(busy) > (1 + _SLOTS_APART) * min(busy):
        return UnlikeTimes(slots=(min(busy), max(busy)))
    return None


def _slots(trial: ReportTrial) -> float | None:
    on_gpu = trial.last(GPU_SLOTS)
    return trial.last(CPU_SLOTS) if on_gpu is None else on_gpu
