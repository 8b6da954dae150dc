"""Reads the scalars of TensorBoard's event files of one folder, without values that a restart made void.

As in TensorBoard, a session that starts at a step is a restart: later steps of earlier files are void. If no session
is recorded, a file that begins a tag again is a restart too. Seconds of training are estimated from the times at which
values were written. Restarts, steps back of the clock, and intervals of more than ten minutes that are also ten times
as long as usual count nothing.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from pathlib import Path
from statistics import median_low
from typing import Any

from cifarsweep.export.event_records import Unreadable, records
from cifarsweep.export.tensorboard import PLUGIN, record_types
from cifarsweep.spec.types import Value
from cifarsweep.text import quoted

#: A longer interval, in seconds and in usual intervals, is a pause.
_PAUSE_S, _PAUSE_FACTOR = 600.0, 10
#: JavaScript has no larger integers.
_MOST_STEPS = 2**53
#: Tags that are named for each reason.
_NAMED = 3
_HPARAMS = "hparams"
#: Types of TensorFlow's types.proto.
_FLOAT, _DOUBLE = 1, 2


@dataclass(slots=True)
class LeftOut:
    """Counts of what an import can't take, by reason, with the tags or files."""

    counts: Counter[str] = field(default_factory=Counter)
    names: dict[str, dict[str, None]] = field(default_factory=dict)

    def add(self, reason: str, name: str, count: int = 1) -> None:
        """Count values of a tag, or a file."""
        self.counts[reason] += count
        self.names.setdefault(reason, {})[name] = None

    def update(self, other: LeftOut) -> None:
        """Add the counts of another folder."""
        for reason, count in other.counts.items():
            self.counts[reason] += count
            self.names.setdefault(reason, {}).update(other.names[reason])

    def sentences(self) -> Iterator[str]:
        """Yield a sentence for each reason, the most frequent first."""
        for reason, count in self.counts.most_common():
            names = list(self.names[reason])
            more = ", ..." if len(names) > _NAMED else ""
            yield f"left out: {reason}: {count:,} ({', '.join(map(quoted, names[:_NAMED]))}{more})"


@dataclass(slots=True)
class Point:
    """A value, and the seconds of training before it."""

    value: float
    elapsed_s: float


@dataclass(slots=True)
class Scalars:
    """The scalars of one folder, by tag and step, and what else its files say."""

    series: dict[str, dict[int, Point]] = field(default_factory=dict)
    hparams: dict[str, Value] = field(default_factory=dict)
    record: bytes = b""
    """The record of our own export, as JSON."""
    cut: list[tuple[Path, str]] = field(default_factory=list)
    """Files that could be read only in part, and why."""
    left_out: LeftOut = field(default_factory=LeftOut)
    _timeline: list[tuple[float, float]] = field(default_factory=list)
    """Times of the current session, in seconds since 1970, with the seconds of training before them."""
    _writers: dict[str, int] = field(default_factory=dict)
    """The writer of each tag: two may log to one folder at once, and a file has the tags of one."""


@dataclass(frozen=True, slots=True)
class _Value:
    """A value of a file."""

    tag: str
    step: int
    value: float
    moment: float


@dataclass(frozen=True, slots=True)
class _SessionStart:
    """A session that starts at a step; later steps of earlier values are void."""

    step: int


def read_folder(files: list[Path]) -> Scalars:
    """Read the event files of one folder. The result also notes what can't be read."""
    scalars = Scalars()
    for file in sorted(files, key=_age):
        _merge(scalars, list(_entries(file, scalars)))
    return scalars


def _age(file: Path) -> list[str | int]:
    """A sort key that follows the times, processes and counts in the names."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", file.name)]


def _entries(file: Path, scalars: Scalars) -> Iterator[_Value | _SessionStart]:
    Event, _ = record_types()
    from google.protobuf.message import DecodeError

    count = 0
    try:
        for record in records(file):
            try:
                event = Event.FromString(record)
            except DecodeError:
                scalars.left_out.add("records that are no events of TensorBoard", file.name)
                continue
            count += 1
            yield from _event_entries(event, scalars)
    except Unreadable as error:
        if count:
            scalars.cut.append((file, str(error)))
        else:
            scalars.left_out.add(error.reason, file.name)


def _event_entries(event: Any, scalars: Scalars) -> Iterator[_Value | _SessionStart]:
    if event.HasField("session_log") and event.session_log.status == event.session_log.START:
        yield _SessionStart(event.step)
    for value in event.summary.value:
        plugin = value.metadata.plugin_data.plugin_name if value.HasField("metadata") else ""
        if plugin == PLUGIN:
            scalars.record = b"".join(value.tensor.string_val)
        elif plugin == _HPARAMS:
            scalars.hparams |= _hparams(value.metadata.plugin_data.content)
        elif (number := _number(value, scalars.left_out)) is None:
            continue
        elif not 0 <= event.step < _MOST_STEPS:
            scalars.left_out.add(f"values at steps below 0 or from {_MOST_STEPS} on", value.tag)
        else:
            yield _Value(value.tag, event.step, number, event.wall_time)


def _number(value: Any, left_out: LeftOut) -> float | None:
    """The number of a summary. Summaries that hold no single number are counted, and give None."""
    kind = value.WhichOneof("value")
    if kind == "simple_value":
        return float(value.simple_value)
    if kind != "tensor":
        if kind is not None:
            left_out.add({"histo": "histograms"}.get(kind, f"values of the kind {kind}"), value.tag)
        return None
    tensor = value.tensor
    if math.prod(dim.size for dim in tensor.tensor_shape.dim) != 1:
        left_out.add("tensors that hold no single number", value.tag)
        return None
    # As make_ndarray reads them, which takes ten times as long.
    numbers: Any = tensor.double_val if tensor.dtype == _DOUBLE else tensor.float_val if tensor.dtype == _FLOAT else ()
    if len(numbers) == 1 and not tensor.tensor_content:
        return float(numbers[0])
    from tensorboard.util.tensor_util import make_ndarray

    try:
        array = make_ndarray(tensor).reshape(-1)
        if array.dtype.kind in "fiu" and array.size == 1:
            return float(array[0])
    except Exception:  # of any kind, for types that numpy lacks and for bytes of another length
        left_out.add("tensors of a type that can't be read", value.tag)
        return None
    left_out.add("tensors of a type that is no number", value.tag)
    return None


def _hparams(content: bytes) -> dict[str, Value]:
    """The hyperparameters that SummaryWriter.add_hparams or Keras wrote."""
    from google.protobuf.message import DecodeError
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    try:
        data = HParamsPluginData.FromString(content)
    except DecodeError:
        return {}
    hparams: dict[str, Value] = {}
    for name, value in data.session_start_info.hparams.items():
        kind = value.WhichOneof("kind")
        if kind in ("number_value", "string_value", "bool_value"):
            hparams[name] = getattr(value, kind)
    return hparams


def _merge(scalars: Scalars, entries: list[_Value | _SessionStart]) -> None:
    """Add the entries of the next file."""
    first: dict[str, int] = {}
    for entry in entries:
        if isinstance(entry, _Value):
            first.setdefault(entry.tag, entry.step)
    again = first.keys() & scalars.series.keys()
    if again and not any(isinstance(entry, _SessionStart) for entry in entries):
        writers = {scalars._writers[tag] for tag in again}
        others = {tag for tag, writer in scalars._writers.items() if writer in writers} - again
        # A file with few of the tags may have been added later; one with most of them is the run, begun again.
        for tag in again | (others if len(others) <= len(again) else set()):
            _void_from(scalars, tag, first[tag] if tag in again else max(first[other] for other in again))
    _join_writers(scalars, first.keys(), again)
    begun = next((entry.moment for entry in entries if isinstance(entry, _Value)), math.nan)
    if again and begun > max((moment for moment, _ in scalars._timeline), default=begun):
        scalars._timeline.clear()
    _add(scalars, entries, again or scalars.series.keys())


def _join_writers(scalars: Scalars, tags: Iterable[str], again: Collection[str]) -> None:
    joined = {scalars._writers[tag] for tag in again}
    number = min(joined, default=len(scalars._writers))
    for tag in [*tags, *(tag for tag, writer in scalars._writers.items() if writer in joined)]:
        scalars._writers[tag] = number


def _void_from(scalars: Scalars, tag: str, step: int) -> None:
    kept = {at: point for at, point in scalars.series[tag].items() if at < step}
    if void := len(scalars.series[tag]) - len(kept):
        scalars.left_out.add("values that a restart made void", tag, void)
    scalars.series[tag] = kept


def _add(scalars: Scalars, entries: list[_Value | _SessionStart], again: Collection[str]) -> None:
    limit = max(_PAUSE_S, _PAUSE_FACTOR * _usual_interval(entries))
    before, elapsed = None, 0.0
    for entry in entries:
        if isinstance(entry, _SessionStart):
            for tag in scalars.series:
                _void_from(scalars, tag, entry.step)
            continue
        moment = entry.moment if math.isfinite(entry.moment) and entry.moment > 0 else None
        if moment is not None:
            if before is None:
                elapsed = _elapsed_before(scalars, moment, limit, again)
            elif 0 < moment - before <= limit:
                elapsed += moment - before
            before = moment
            scalars._timeline.append((moment, elapsed))
        points = scalars.series.setdefault(entry.tag, {})
        if entry.step in points and points[entry.step].value != entry.value:
            scalars.left_out.add("values of a step that was written again", entry.tag)
        points[entry.step] = Point(entry.value, elapsed)


def _usual_interval(entries: list[_Value | _SessionStart]) -> float:
    """The median interval between two steps, in seconds."""
    values = [entry for entry in entries if isinstance(entry, _Value) and math.isfinite(entry.moment)]
    firsts = [next(group) for _, group in groupby(values, lambda entry: entry.step)]
    gaps = [later.moment - earlier.moment for earlier, later in pairwise(firsts)]
    return median_low([gap for gap in gaps if gap > 0] or [0.0])


def _elapsed_before(scalars: Scalars, moment: float, limit: float, again: Collection[str]) -> float:
    """Seconds of training before a file's first value: those of the values kept, or of another writer at that time."""
    moments = [at for at, _ in scalars._timeline]
    if moments and min(moments) <= moment <= max(moments) + limit:
        at, elapsed = max(point for point in scalars._timeline if point[0] <= moment)
        return elapsed + moment - at
    scalars._timeline.clear()
    return max((point.elapsed_s for tag in again for point in scalars.series[tag].values()), default=0.0)


def seconds(series: Mapping[str, Mapping[int, Point]]) -> dict[int, float]:
    """Seconds of training by step, never above those of a later step: `add_hparams` writes step 0 at the end."""
    elapsed: dict[int, float] = {}
    for points in series.values():
        for step, point in points.items():
            elapsed[step] = max(point.elapsed_s, elapsed.get(step, 0.0))
    after = math.inf
    for step in sorted(elapsed, reverse=True):
        after = elapsed[step] = min(after, elapsed[step])
    return elapsed
