"""Writes a study's metrics as TensorBoard's event files: a run folder a trial, with exact values.

Beside the scalars a run holds a record of our own, under a plugin name that TensorBoard ignores: the trial's cell, its
levels and how it ended, so that an import restores it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import numpy as np
from pydantic import Field, model_validator

from cifarsweep.export.series import Curve, missing, points
from cifarsweep.spec.metrics import CONFUSION, ELAPSED
from cifarsweep.spec.settings import Frozen
from cifarsweep.spec.study import Prose, Study
from cifarsweep.spec.types import Outcome, TrialState, Value
from cifarsweep.store.columns import kind_of

if TYPE_CHECKING:
    from cifarsweep.store.trial_records import TrialRow

#: The event file of every run.
_EVENT_FILE = "events.out.tfevents.0.cifarsweep"
#: Safe beside them are letters and digits of any script.
_UNSAFE_IN_PATHS = re.compile(r"[^\w.=, -]+")
#: Bytes of a cell's part of a folder's name; file systems allow 255 for all of it.
_LONGEST = 160
#: Names our own record in an event file.
PLUGIN = "cifarsweep"
_RECORD_TAG = "cifarsweep/trial"


def record_types() -> tuple[Any, Any]:
    """The types Event and Summary. Raises OutputError if tensorboard is not installed."""
    try:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
    except ModuleNotFoundError:
        raise missing("tensorboard") from None
    return Event, Summary


class TrialRecord(Frozen):
    """The record of a trial and its study in an exported run."""

    study: str
    question: Annotated[Prose, Field(min_length=1)]
    factors: dict[str, Annotated[tuple[Value, ...], Field(min_length=1)]]
    number: Annotated[int, Field(ge=0)]
    cell: Annotated[Prose, Field(min_length=1, max_length=300)]
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    levels: dict[str, Value]
    state: TrialState
    outcome: Outcome | None
    final: dict[str, float | str]
    """The last metrics; numbers that JSON lacks are texts."""
    reused: str = ""
    """What it took over from which other trial, in words; empty if nothing."""

    @model_validator(mode="after")
    def _outcome_is_known(self) -> Self:
        if self.state is TrialState.DONE and self.outcome is None:
            raise ValueError("outcome: a trial that is done has one")
        return self


def write_runs(groups: Iterator[list[Curve]], folder: Path, study: Study) -> None:
    """Fill an empty folder with event files, a run a trial. Raises OutputError if tensorboard is not installed."""
    Event, _ = record_types()
    from tensorboard.summary.writer.record_writer import RecordWriter

    names: dict[str, str] = {}
    for group in groups:
        if not group:
            continue
        trial = group[0].trial
        run = folder / f"{_cell_name(trial.cell, names)}-seed={trial.seed}"
        run.mkdir()
        moment = _wall_times(group)
        with (run / _EVENT_FILE).open("wb") as file:
            writer = RecordWriter(file)
            writer.write(Event(wall_time=moment(0), file_version="brain.Event:2").SerializeToString())
            writer.write(Event(wall_time=moment(0), summary=_record(trial, study)).SerializeToString())
            for step, values in _by_step(group):
                event = Event(wall_time=moment(step), step=step, summary=_scalars(values))
                writer.write(event.SerializeToString())
            writer.flush()


def _cell_name(cell: str, names: dict[str, str]) -> str:
    """A unique name of a cell that is safe in any file system; `names` keeps those that were given."""
    if cell not in names:
        safe = _UNSAFE_IN_PATHS.sub("_", unicodedata.normalize("NFC", cell)).strip("._ ")
        safe = safe.encode()[:_LONGEST].decode(errors="ignore").strip("._ ") or "cell"
        # Some file systems ignore case.
        taken = {name.casefold() for name in names.values()}
        number, name = 1, safe
        while name.casefold() in taken:
            number += 1
            name = f"{safe}~{number}"
        names[cell] = name
    return names[cell]


def _record(trial: TrialRow, study: Study) -> Any:
    _, Summary = record_types()
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.types_pb2 import DT_STRING

    record = TrialRecord(
        study=study.name,
        question=study.question,
        factors=study.factors,
        number=trial.number,
        cell=trial.cell,
        seed=trial.seed,
        levels=dict(trial.levels),
        state=trial.state,
        outcome=trial.outcome,
        final={name: kind_of(value) or value for name, value in trial.final.items()},
        reused=trial.reused_text,
    )
    text = record.model_dump_json(exclude=None if trial.reuse else {"reused"})
    value = Summary.Value(
        tag=_RECORD_TAG,
        tensor=TensorProto(dtype=DT_STRING, string_val=[text.encode()]),
    )
    value.metadata.plugin_data.plugin_name = PLUGIN
    return Summary(value=[value])


def _scalars(values: Sequence[tuple[str, float]]) -> Any:
    """A summary of 64-bit numbers, as SummaryWriter writes them with `double_precision`."""
    _, Summary = record_types()
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.types_pb2 import DT_DOUBLE
    from tensorboard.plugins.scalar.metadata import create_summary_metadata

    metadata = create_summary_metadata("", "")
    return Summary(
        value=[
            Summary.Value(tag=tag, tensor=TensorProto(dtype=DT_DOUBLE, double_val=[number]), metadata=metadata)
            for tag, number in values
        ]
    )


def _by_step(group: Sequence[Curve]) -> Iterator[tuple[int, list[tuple[str, float]]]]:
    steps: dict[int, list[tuple[str, float]]] = {}
    # The metrics of pairs of classes would crowd out the others.
    for curve in (curve for curve in group if not curve.name.startswith(CONFUSION)):
        for step, value in points(curve):
            steps.setdefault(step, []).append((curve.name, value))
    yield from sorted(steps.items())


def _wall_times(group: Sequence[Curve]) -> Callable[[int], float]:
    """Seconds since 1970 by step: the trial's start plus its training time, without steps that were lost."""
    begun = group[0].trial.started_at
    start = begun.timestamp() if begun else 0.0
    elapsed = next((curve for curve in group if curve.name == ELAPSED), None)
    if elapsed is None:
        return lambda step: start
    return lambda step: start + float(np.interp(step, elapsed.steps, elapsed.values))
