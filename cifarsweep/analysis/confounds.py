"""What differs between the cells beside the factors, so that a difference in results may come from it instead."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from cifarsweep.analysis.records import ReportTrial
from cifarsweep.analysis.results import CellResult
from cifarsweep.formatting import duration, magnitude, ratio_text
from cifarsweep.spec.metrics import CPU_SLOTS, GPU_SLOTS
from cifarsweep.spec.settings import flat_settings
from cifarsweep.spec.study import Study, level_text
from cifarsweep.spec.types import DATA_VERSION, Value

#: By what share the numbers of trials that a device had at once may differ before they count.
_SLOTS_APART = 0.2
#: More values than this are told as lowest and highest.
_GROUPS = 4
_NOT_SET = "not set"


@dataclass(frozen=True, slots=True)
class Group:
    """Cells that share a value."""

    value: str
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Confound:
    """One thing that differs."""

    what: str
    groups: tuple[Group, ...]
    """One for each value; where there are many numbers, the cell with the lowest and the one with the highest."""
    ratio: float | None = None
    """Highest over lowest, where they stand for many."""


@dataclass(frozen=True, slots=True)
class UnlikeTimes:
    """Why training times do not compare: they are of several devices, or more trials shared the device in some."""

    devices: tuple[str, ...] = ()
    slots: tuple[float, float] | None = None
    """The fewest and the most trials that a device had at once."""


@dataclass(frozen=True, slots=True)
class _Measure:
    """A number that each trial has, and by what share its cell means may differ before it counts."""

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
    """Everything that differs between cells beside the study's factors, of what is recorded.

    Measured things are means over the trials that came to their end, of the cells that have any.
    """
    return [*_settings(study), *_measured(results), *_surroundings(results)]


def _settings(study: Study) -> Iterator[Confound]:
    """Settings that arms set beside the factors. What one family of models does not have follows from its name."""
    if not study.factors or study.imported:
        return
    cells = {cell.name: flat_settings(cell.settings) for cell in study.cells}
    for key in dict.fromkeys(key for settings in cells.values() for key in settings):
        if key in study.factors or not all(key in settings for settings in cells.values()):
            continue
        found = {name: _level(settings[key]) for name, settings in cells.items()}
        if len(set(found.values())) > 1:
            yield Confound(key, _groups(found))


def _level(value: Value) -> str:
    return _NOT_SET if value is None else level_text(value)


def _measured(results: Sequence[CellResult]) -> Iterator[Confound]:
    for measure in _MEASURES:
        found: dict[str, float] = {}
        for result in results:
            values = [value for trial in result.trials if trial.trained and (value := measure.of(trial)) is not None]
            if values:
                found[result.cell.name] = sum(values) / len(values)
        if found and max(found.values()) - min(found.values()) > measure.tolerance * min(found.values()):
            yield _spread(measure, found)


def _spread(measure: _Measure, found: Mapping[str, float]) -> Confound:
    texts = {cell: measure.text(value) for cell, value in found.items()}
    if len(set(texts.values())) <= _GROUPS:
        return Confound(measure.what, _groups(texts))
    least, most = min(found, key=found.__getitem__), max(found, key=found.__getitem__)
    ratio = found[most] / found[least] if found[least] > 0 else None
    return Confound(measure.what, tuple(Group(texts[cell], (cell,)) for cell in (least, most)), ratio)


def _surroundings(results: Sequence[CellResult]) -> Iterator[Confound]:
    """Devices and versions of all attempts that trained; what is mixed alike in every cell is told as well."""
    by_cell = {result.cell.name: [trial for trial in result.trials if trial.done] for result in results}
    by_cell = {name: trials for name, trials in by_cell.items() if trials}
    yield from _mixed("Device", {name: devices(trials) for name, trials in by_cell.items()})
    ran_with = {cell: [each for trial in trials for each in trial.environments] for cell, trials in by_cell.items()}
    for key in sorted({key for found in ran_with.values() for versions in found for key in versions}):
        values = {cell: {versions.get(key, "none") for versions in found} for cell, found in ran_with.items()}
        what = f"Images of {key.removeprefix(DATA_VERSION)}" if key.startswith(DATA_VERSION) else f"Version of {key}"
        yield from _mixed(what, values)


def _mixed(what: str, values: Mapping[str, set[str]]) -> Iterator[Confound]:
    if len(set().union(*values.values())) > 1:
        yield Confound(what, _groups({cell: " and ".join(sorted(found)) for cell, found in values.items()}))


def _groups(values: Mapping[str, str]) -> tuple[Group, ...]:
    cells: dict[str, list[str]] = {}
    for cell, value in values.items():
        cells.setdefault(value, []).append(cell)
    return tuple(Group(value, tuple(names)) for value, names in cells.items())


def devices(trials: Iterable[ReportTrial]) -> set[str]:
    """The models of device that these trials were trained on."""
    return {attempt.device for trial in trials for attempt in trial.trained_by if attempt.device}


def timing_note(results: Sequence[CellResult]) -> str | None:
    """Why training times can't be compared between cells; None where all ran on one model of device."""
    found = sorted(devices(trial for result in results for trial in result.trials if trial.done))
    if len(found) < 2:
        return None
    return f"Times are of different devices ({', '.join(found)}): they tell devices apart as much as cells."


def unlike_times(trials: Sequence[ReportTrial]) -> UnlikeTimes | None:
    """How the trials' times were measured differently, if they were; every attempt's device counts."""
    found = tuple(sorted(devices(trials)))
    if len(found) > 1:
        return UnlikeTimes(devices=found)
    busy = [slots for trial in trials if (slots := _slots(trial)) is not None]
    if busy and max(busy) > (1 + _SLOTS_APART) * min(busy):
        return UnlikeTimes(slots=(min(busy), max(busy)))
    return None


def _slots(trial: ReportTrial) -> float | None:
    on_gpu = trial.last(GPU_SLOTS)
    return trial.last(CPU_SLOTS) if on_gpu is None else on_gpu


def spread_text(confound: Confound) -> str:
    """How far apart the two ends of many numbers are."""
    return f"a factor of {ratio_text(confound.ratio)}" if confound.ratio is not None else ""
