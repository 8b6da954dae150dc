"""Event files of TensorBoard: a study's metrics out, the scalars of old runs in.

The files hold 32-bit floats: a value comes back with about seven digits.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from cifarsweep.data.text import shown
from cifarsweep.errors import DataError, SpecError
from cifarsweep.report.export import Curve, missing, points
from cifarsweep.report.target import EVENT_FILE
from cifarsweep.spec.study import Cell, Study
from cifarsweep.spec.words import CONFUSION, ELAPSED, MetricRow
from cifarsweep.store.records import FinishedRun

if TYPE_CHECKING:
    from cifarsweep.store.records import TrialRow

#: With the space that names of cells have behind a comma: they come back at an import.
_UNSAFE_IN_PATHS = re.compile(r"[^A-Za-z0-9._=, -]+")
#: `seed=3`, `seed_3`, `s3` at the end or between separators.
_SEED = re.compile(r"(?:^|[-_./, ])(?:seed|s)[=_-]?(\d{1,9})(?=$|[-_./, ])", re.IGNORECASE)
_LONGEST_NAME = 64


@dataclass(frozen=True, slots=True)
class Run(FinishedRun):
    """The scalars of one old run."""

    path: Path
    truncated: bool
    """Its file ends in the middle of a record, as where a run was killed."""
    tags: frozenset[str]
    """Its scalars as its files call them."""


def write_runs(found: Iterator[list[Curve]], folder: Path) -> None:
    """Make `folder` a TensorBoard log, a run a trial. Raises OutputError where tensorboard is not installed."""
    Event, Summary = _records()
    from tensorboard.summary.writer.record_writer import RecordWriter

    folder.mkdir(exist_ok=True)
    for group in found:
        if not group:
            continue
        run = folder / _run_name(group[0].trial, folder)
        run.mkdir()
        moment = _wall_times(group)
        with (run / EVENT_FILE).open("wb") as file:
            writer = RecordWriter(file)
            writer.write(Event(wall_time=moment(0), file_version="brain.Event:2").SerializeToString())
            for step, values in _by_step(group):
                summary = Summary(value=[Summary.Value(tag=tag, simple_value=number) for tag, number in values])
                writer.write(Event(wall_time=moment(step), step=step, summary=summary).SerializeToString())
            writer.flush()


def read_runs(folder: Path, names: Mapping[str, str]) -> list[Run]:
    """The runs below a folder, one for each folder with event files; `names` says what to call a tag instead.

    Raises DataError where there is none, a file is damaged, a name is too long, no run has a tag of `names`, or two
    runs would be the same trial.
    """
    folders = _run_folders(folder)
    runs = [run for each in folders if (run := _run(each, folder, names)).rows]
    if not runs:
        raise DataError(f"{shown(str(folder))}: holds no scalars in event files of TensorBoard (*tfevents*)")
    if unseen := sorted(set(names) - {tag for run in runs for tag in run.tags}):
        tags = sorted({tag for run in runs for tag in run.tags})
        raise DataError(f"{folder}: no run has the tag {unseen[0]!r} that --rename names; there are: {', '.join(tags)}")
    seen: dict[tuple[str, int], Run] = {}
    for run in runs:
        if (same := seen.setdefault((run.cell, run.seed), run)) is not run:
            raise DataError(
                f"{run.path} and {same.path} are both {run.cell!r} with seed {run.seed}; rename one of them"
            )
    return runs


def _run_folders(folder: Path) -> list[Path]:
    try:
        os.listdir(folder)  # rglob finds nothing where it can't look, and since Python 3.13 says nothing of it
        return sorted({file.parent for file in folder.rglob("*tfevents*") if file.is_file()})
    except OSError as error:
        raise DataError(f"{shown(str(folder))}: can't be read: {error.strerror}") from None


@dataclass(slots=True)
class _Scalars:
    """What the files of one run hold, so far. Where a run began again, its later values stand."""

    names: Mapping[str, str]
    values: dict[tuple[str, int], float] = field(default_factory=dict)
    moments: dict[int, float] = field(default_factory=dict)
    """When a step was written, in seconds since 1970."""
    tags: set[str] = field(default_factory=set)

    def rows(self) -> tuple[MetricRow, ...]:
        begun = min(self.moments.values(), default=0.0)
        elapsed = {(ELAPSED, step): moment - begun for step, moment in self.moments.items()}
        return tuple(MetricRow(name, step, value) for (name, step), value in sorted((elapsed | self.values).items()))


def _run(folder: Path, root: Path, names: Mapping[str, str]) -> Run:
    scalars = _Scalars(names)
    whole = [_read(file, scalars) for file in sorted(folder.glob("*tfevents*"))]
    label = folder.relative_to(root).as_posix()
    cell, seed = _cell_and_seed(root.resolve().name if label == "." else label)
    return Run(cell, seed, scalars.rows(), folder, truncated=not all(whole), tags=frozenset(scalars.tags))


def _cell_and_seed(label: str) -> tuple[str, int]:
    """Split the seed off the name of a run: what is left names the cell; seed 0 where no seed is in it."""
    found = list(_SEED.finditer(label))
    if not found:
        return label[:300], 0
    last = found[-1]
    cell = (label[: last.start()] + label[last.end() :]).strip("-_./, ")
    return (cell or "run")[:300], int(last[1])


def _read(file: Path, scalars: _Scalars) -> bool:
    """Add the scalars of a file; False where it ends in the middle of a record."""
    Event, _ = _records()
    from google.protobuf.message import DecodeError
    from tensorboard.compat.tensorflow_stub import errors
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import PyRecordReader_New

    reader = PyRecordReader_New(str(file))
    try:
        while True:
            reader.GetNext()
            _add(Event.FromString(reader.record()), file, scalars)
    except errors.OutOfRangeError:
        return True
    except errors.DataLossError as error:
        if "truncated" in str(error):
            return False
        raise DataError(f"{file}: is damaged ({error.message}); nothing was imported") from None
    except DecodeError as error:
        raise DataError(f"{file}: holds a record that is no event ({error}); nothing was imported") from None
    finally:
        reader.file_handle.close()


def _add(event: Any, file: Path, scalars: _Scalars) -> None:
    for value in event.summary.value:
        name = scalars.names.get(value.tag, value.tag)
        if (number := _scalar(value)) is None:
            continue
        if not 0 < len(name) <= _LONGEST_NAME or not name.isprintable():
            raise DataError(f"{file}: the tag {name[:80]!r} can't name a metric; give it a name with --rename OLD=NEW")
        scalars.tags.add(value.tag)
        scalars.values[name, event.step] = number
        scalars.moments[event.step] = event.wall_time


def _scalar(value: Any) -> float | None:
    """The number of a summary; None for pictures, histograms and texts."""
    if value.HasField("simple_value"):
        return float(value.simple_value)
    if value.HasField("tensor") and not value.tensor.tensor_shape.dim:
        from tensorboard.util.tensor_util import make_ndarray

        array = make_ndarray(value.tensor)
        return float(array) if array.dtype.kind in "fiu" else None
    return None


def _records() -> tuple[Any, Any]:
    try:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
    except ModuleNotFoundError:
        raise missing("tensorboard") from None
    return Event, Summary


def _run_name(trial: TrialRow, folder: Path) -> str:
    """A name that is safe in any file system, ends in the seed, and is not taken yet."""
    cell = _UNSAFE_IN_PATHS.sub("_", trial.cell).strip("._ ")[:80] or "cell"
    name = f"{cell}-seed={trial.seed}"
    return f"{cell}-{trial.number}-seed={trial.seed}" if (folder / name).exists() else name


def _by_step(group: Sequence[Curve]) -> Iterator[tuple[int, list[tuple[str, float]]]]:
    steps: dict[int, list[tuple[str, float]]] = {}
    # Thousands of names with one point each would bury the curves.
    for curve in (curve for curve in group if not curve.name.startswith(CONFUSION)):
        for step, value in points(curve):
            steps.setdefault(step, []).append((curve.name, value))
    yield from sorted(steps.items())


def imported_study(name: str, folder: Path, runs: Sequence[Run]) -> Study:
    """The study that old runs become: a cell for each name, and nothing to train. Raises SpecError for a bad name."""
    cells = tuple(Cell(name=cell, levels={}, settings=None) for cell in dict.fromkeys(run.cell for run in runs))
    try:
        return Study(
            name=name,
            question=f"What did the runs in {folder.resolve().name} come to?",
            source="Imported from TensorBoard logs: trained elsewhere, with settings that are not known here.",
            cells=cells,
            seeds=tuple(sorted({run.seed for run in runs})),
            imported=True,
        )
    except ValidationError:
        raise SpecError(f"--as {name!r}: a study's name has letters, digits, '.', '_' and '-', at most 64") from None


def _wall_times(group: Sequence[Curve]) -> Callable[[int], float]:
    """Seconds since 1970 by step: the trial's start and its training time, without what was lost in between."""
    begun = group[0].trial.started_at
    start = begun.timestamp() if begun else 0.0
    elapsed = next((curve for curve in group if curve.name == ELAPSED), None)
    if elapsed is None:
        return lambda step: start
    return lambda step: start + float(np.interp(step, elapsed.steps, elapsed.values))
