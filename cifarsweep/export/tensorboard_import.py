"""Imports runs from TensorBoard's event files: their metrics, and the study that they become."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import ValidationError

from cifarsweep.errors import DataError, SpecError
from cifarsweep.export.event_files import LeftOut, Point, seconds
from cifarsweep.export.run_folders import Part, cell_and_seed, escaped, run_parts
from cifarsweep.export.tensorboard import TrialRecord
from cifarsweep.spec.levels import level_key
from cifarsweep.spec.metrics import ELAPSED, ENERGY, EPOCH, FLOPS, IMAGES, LARGEST_CLASS, VAL_IMAGES, is_share
from cifarsweep.spec.study import Cell, Study
from cifarsweep.spec.types import MetricRow, TrialState
from cifarsweep.store.records import FinishedRun
from cifarsweep.text import quoted

_LONGEST_NAME = 64
_MOST_LISTED, _LONGEST_TOLD = 30, 3000
#: Metrics that reports draw curves against or tell of a network: never below zero, nan or infinite.
_AMOUNTS = frozenset({EPOCH, IMAGES, ELAPSED, FLOPS, ENERGY, "params", "flops_per_image", VAL_IMAGES, LARGEST_CLASS})
#: A share may be a little above one by rounding.
_ABOVE_ONE, _MOST_PERCENT = 1.001, 100.001

#: The values of one run by name and step.
Values = dict[str, dict[int, float]]


@dataclass(frozen=True, slots=True)
class Run(FinishedRun):
    """The scalars of one old run."""

    path: Path
    record: TrialRecord | None = None
    """The record of our own export, if there is one."""


@dataclass(slots=True)
class Imported:
    """The runs below a folder, and notes for the user."""

    runs: list[Run] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)
    """Values that differ from the files: percent that became shares."""
    left_out: LeftOut = field(default_factory=LeftOut)


@dataclass(slots=True)
class _Series:
    """One curve of a run, which may still be renamed."""

    tag: str
    part: str
    """The part of the run that wrote it, such as `train`; empty for the run itself."""
    folder: str
    name: str
    points: Mapping[int, Point]


def read_runs(folder: Path, names: Mapping[str, str]) -> Imported:
    """Read the runs below a folder: one for each folder with event files that is no part of another run.

    `names` gives tags other names. Raises DataError if there is no run, no run has a tag of `names`, or two runs would
    be the same trial.
    """
    imported = Imported()
    series: dict[Path, list[_Series]] = {}
    parts = run_parts(folder, imported.left_out)
    for path, own in parts.items():
        for part in own:
            imported.left_out.update(part.scalars.left_out)
            imported.notes += [
                f"{quoted(str(file))} {why}; what came before is imported" for file, why in part.scalars.cut
            ]
        series[path] = _series(own, imported.left_out)
    if not any(series.values()):
        raise _nothing(folder, imported.left_out)
    _rename(series, names, folder)
    records = {path: _record(own, imported.left_out) for path, own in parts.items()}
    values = {path: _values(curves, records[path] is None, imported.left_out) for path, curves in series.items()}
    foreign = [path for path in values if records[path] is None]
    imported.changes += _percent_to_shares([series[path] for path in foreign], [values[path] for path in foreign])
    for path, own in parts.items():
        run = _run(path, folder, own, values[path], records[path], imported.left_out)
        if run.rows:
            imported.runs.append(run)
        elif not any(path in other.parents for other in parts) and not any(
            part.scalars.left_out.counts for part in own
        ):
            imported.left_out.add("runs without a value that can be imported", path.name)
    if not imported.runs:
        raise _nothing(folder, imported.left_out)
    # Exported trials return in the order of their numbers.
    imported.runs.sort(key=lambda run: run.record.number if run.record else math.inf)
    _check_twice(imported.runs)
    return imported


def _nothing(folder: Path, left_out: LeftOut) -> DataError:
    said = f"{quoted(str(folder))}: holds no scalars in event files of TensorBoard (*tfevents*) that can be imported"
    return DataError("; ".join([said, *left_out.sentences()]))


def _check_twice(runs: Sequence[Run]) -> None:
    seen: dict[tuple[str, int], Run] = {}
    for run in runs:
        if (same := seen.setdefault((run.cell, run.seed), run)) is not run:
            how = "import them apart" if run.record and same.record else "rename one of them"
            raise DataError(
                f"{quoted(str(run.path))} and {quoted(str(same.path))} are both {run.cell!r} with seed {run.seed}; "
                f"{how}"
            )


def _series(parts: Sequence[Part], left_out: LeftOut) -> list[_Series]:
    by_name: dict[str, _Series] = {}
    for part in parts:
        for tag, points in part.scalars.series.items():
            name = part.metric(tag)
            if not points:
                continue
            if name in by_name:
                left_out.add("values of a folder below a run whose tag the run has itself", tag, len(points))
            else:
                by_name[name] = _Series(tag, part.name, part.folder.name, name, points)
    return list(by_name.values())


def _rename(runs: Mapping[Path, list[_Series]], names: Mapping[str, str], folder: Path) -> None:
    """Rename the series of all runs. Raises DataError if that is not possible."""
    for old, new in names.items():
        if not _can_name(new):
            raise DataError(f"--rename {old}={new}: a metric's name has 1 to {_LONGEST_NAME} printable characters")
        if not any([_rename_one(series, path, old, new) for path, series in runs.items()]):
            tags = sorted({curve.name for series in runs.values() for curve in series})
            more = ", ..." if len(tags) > _MOST_LISTED else ""
            listed = ", ".join(tags[:_MOST_LISTED])
            raise DataError(
                f"{quoted(str(folder))}: no run has the tag {old!r} that --rename names; there are: {listed}{more}"
            )


def _rename_one(series: Sequence[_Series], path: Path, old: str, new: str) -> bool:
    matches = [
        curve for curve in series if old in (curve.name, f"{curve.part}/{curve.tag}", f"{curve.folder}/{curve.tag}")
    ]
    if not matches:
        matches = [curve for curve in series if curve.tag == old]
    if len(matches) > 1:
        # The parts of a run that Keras wrote have the same tags: val/accuracy is that of the part `val`.
        fitting = [curve for curve in matches if curve.part and new.startswith(f"{curve.part}/")]
        if len(fitting) != 1:
            options = " or ".join(f"--rename {curve.name}={new}" for curve in matches)
            raise DataError(f"{quoted(str(path))}: several parts of the run have the tag {old!r}; write {options}")
        matches = fitting
    for curve in matches:
        if any(other.name == new and other is not curve for other in series):
            raise DataError(
                f"{quoted(str(path))}: has a tag {new!r} beside {old!r}; rename it as well, or to another name"
            )
        curve.name = new
    return bool(matches)


def _can_name(name: str) -> bool:
    return 0 < len(name) <= _LONGEST_NAME and name.isprintable()


def _values(series: Sequence[_Series], estimated: bool, left_out: LeftOut) -> Values:
    """The values that a database can keep, with seconds of training, `estimated` if the run has none."""
    values: Values = {}
    for curve in series:
        if _can_name(curve.name):
            values[curve.name] = {step: point.value for step, point in curve.points.items()}
        else:
            reason = "values of tags that can't name a metric, unless --rename gives them another name"
            left_out.add(reason, curve.name, len(curve.points))
    for name in sorted(_AMOUNTS & values.keys()):
        kept = {step: value for step, value in values[name].items() if math.isfinite(value) and value >= 0}
        if bad := len(values[name]) - len(kept):
            left_out.add("values that are no amount", name, bad)
        values[name] = kept
    if ELAPSED in values and _falls(values[ELAPSED]):
        left_out.add("values of a training time that falls", ELAPSED, len(values.pop(ELAPSED)))
    if estimated and not values.get(ELAPSED):
        values[ELAPSED] = seconds({str(index): curve.points for index, curve in enumerate(series)})
    return {name: points for name, points in values.items() if points}


def _falls(points: Mapping[int, float]) -> bool:
    values = [points[step] for step in sorted(points)]
    return any(later < value for value, later in zip(values, values[1:], strict=False))


def _percent_to_shares(runs: Sequence[Sequence[_Series]], values: Sequence[Values]) -> Iterator[str]:
    """Divide accuracies in percent by 100, for all runs with the same tag; yield a sentence for each change."""
    tops: dict[tuple[str, str], list[tuple[float, Values]]] = {}
    lows: Counter[str] = Counter()
    for series, named in zip(runs, values, strict=True):
        for curve in series:
            numbers = [value for value in named.get(curve.name, {}).values() if not math.isnan(value)]
            if is_share(curve.name) and numbers:
                tops.setdefault((f"{curve.part}/{curve.tag}", curve.name), []).append((max(numbers), named))
                lows[curve.name] += min(numbers) < 0
    for (_, name), tagged in tops.items():
        top = max(value for value, _ in tagged)
        if top <= _ABOVE_ONE:
            continue
        if top > _MOST_PERCENT or lows[name]:
            yield f"{name} has values that are neither shares nor percent (up to {top:g}); they stay as they are"
            continue
        small = sum(value <= _ABOVE_ONE for value, _ in tagged)
        beside = f"; {small} of {len(tagged)} runs have none above 1: check that these are percent too" if small else ""
        yield f"{name} has values up to {top:g}: taken as percent and divided by 100{beside}"
        for _, named in tagged:
            named[name] = {step: value / 100 for step, value in named[name].items()}


def _record(parts: Sequence[Part], left_out: LeftOut) -> TrialRecord | None:
    text = next((part.scalars.record for part in parts if part.scalars.record), b"")
    try:
        return TrialRecord.model_validate_json(text) if text else None
    except ValidationError:
        left_out.add("records of an export that can't be read", str(parts[0].folder))
        return None


def _run(
    path: Path, root: Path, parts: Sequence[Part], values: Values, record: TrialRecord | None, left_out: LeftOut
) -> Run:
    rows = tuple(
        MetricRow(name, step, points[step]) for name, points in sorted(values.items()) for step in sorted(points)
    )
    if set(values) == {ELAPSED}:
        rows = ()
    if record is None:
        label = path.relative_to(root).as_posix()
        hparams = {name: value for part in parts for name, value in part.scalars.hparams.items()}
        cell, seed = cell_and_seed(root.resolve().name if label == "." else label, hparams)
        return Run(cell, seed, rows, path)
    run = Run(record.cell, record.seed, rows, path, record)
    if record.state is not TrialState.DONE:
        return replace(run, state=TrialState.CANCELLED, outcome=None)
    try:
        final = {name: float(value) for name, value in record.final.items()}
    except ValueError:
        left_out.add("last metrics of an export that can't be read", str(path))
        return replace(run, outcome=record.outcome)
    return replace(run, outcome=record.outcome, final=final)


def imported_study(name: str, folder: Path, runs: Sequence[Run], changes: Sequence[str] = ()) -> Study:
    """The study of imported runs: a cell for each name, and nothing to train. Raises SpecError for a bad name.

    Its page names the `changes`.
    """
    changed = f" Changed at the import: {escaped('; '.join(changes)[:_LONGEST_TOLD])}." if changes else ""
    levels = {run.cell: run.record.levels if run.record else {} for run in reversed(runs)}
    names = dict.fromkeys(run.cell for run in runs)
    cells = tuple(Cell(name=cell, levels=levels[cell], settings=None) for cell in names)
    own = _common_record(runs)
    try:
        return Study(
            name=name,
            question=own.question if own else f"What did the runs in {escaped(folder.resolve().name)} come to?",
            source=(
                "Imported from TensorBoard logs: trained elsewhere, with settings that are not known here"
                + (", but for the factors." if own and own.factors else ".")
                + ("" if own else f" {TIMES}")
                + changed
            ),
            factors=own.factors if own else {},
            cells=cells,
            seeds=tuple(sorted({run.seed for run in runs})),
            imported=True,
        )
    except ValidationError:
        raise SpecError(f"--as {name!r}: a study's name has letters, digits, '.', '_' and '-', at most 64") from None


TIMES = (
    "Where the logs have no elapsed_s, training times are estimated from the moments at which values were written: "
    "restarts, steps back of the clock, and pauses of more than ten minutes that are ten times as long as usual do not "
    "count."
)


def _common_record(runs: Sequence[Run]) -> TrialRecord | None:
    """The record of the runs' study, if they are all of one, with levels that it knows."""
    record = runs[0].record
    if record is None:
        return None
    allowed = {key: {level_key(level) for level in levels} for key, levels in record.factors.items()}
    for run in runs:
        other = run.record
        if other is None or (other.study, other.question, other.factors) != (
            record.study,
            record.question,
            record.factors,
        ):
            return None
        if any(level_key(other.levels[key]) not in allowed[key] for key in allowed.keys() & other.levels.keys()):
            return None
    return record
