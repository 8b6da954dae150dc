"""Reads TensorBoard's event files of one folder: what was written last, without what a restart made void.

A restart is seen as TensorBoard sees it, by a session that starts at a step, and where no session is told of, by a
file that begins a tag anew: from there on, what the earlier files say is void. Seconds of training are estimated from
the moments at which values were written. Restarts, steps back of the clock, and intervals of more than ten minutes that
are also ten times as long as usual count nothing.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median_low
from typing import Any

from cifarsweep.export.series import missing
from cifarsweep.spec.types import Value
from cifarsweep.text import quoted

#: An interval of more seconds, and of so many times the usual one, is no training.
_PAUSE_S, _PAUSE_FACTOR = 600.0, 10
#: A page knows no integers beyond.
_MOST_STEPS = 2**53
#: Of the kinds of things that are left out, tags are named up to here.
_NAMED = 3
#: Names our own record in an event file; see `tensorboard.py`.
PLUGIN = "cifarsweep"
_HPARAMS = "hparams"


def record_types() -> tuple[Any, Any]:
    """The types Event and Summary. Raises OutputError where tensorboard is not installed."""
    try:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
    except ModuleNotFoundError:
        raise missing("tensorboard") from None
    return Event, Summary


@dataclass(slots=True)
class LeftOut:
    """What an import can't take, counted by reason, with a few of the tags or files."""

    counts: Counter[str] = field(default_factory=Counter)
    names: dict[str, dict[str, None]] = field(default_factory=dict)

    def add(self, reason: str, name: str, count: int = 1) -> None:
        """Count something of the tag or file `name`."""
        self.counts[reason] += count
        self.names.setdefault(reason, {})[name] = None

    def update(self, other: LeftOut) -> None:
        """Count what another folder left out too."""
        for reason, count in other.counts.items():
            self.counts[reason] += count
            self.names.setdefault(reason, {}).update(other.names[reason])

    def sentences(self) -> Iterator[str]:
        """One for each reason, the most frequent first."""
        for reason, count in self.counts.most_common():
            names = list(self.names[reason])
            more = ", ..." if len(names) > _NAMED else ""
            yield f"left out: {reason}: {count:,} ({', '.join(map(quoted, names[:_NAMED]))}{more})"


@dataclass(slots=True)
class Point:
    """A value, and the seconds of training up to then."""

    value: float
    elapsed_s: float


@dataclass(slots=True)
class Scalars:
    """What the files of one folder hold."""

    series: dict[str, dict[int, Point]] = field(default_factory=dict)
    """By tag and step."""
    hparams: dict[str, Value] = field(default_factory=dict)
    record: bytes = b""
    """What our own export says of the trial, as JSON."""
    cut: list[tuple[Path, str]] = field(default_factory=list)
    """Files that are read up to some place only, and why."""
    left_out: LeftOut = field(default_factory=LeftOut)
    _timeline: list[tuple[float, float]] = field(default_factory=list)
    """Moments of the present session, in seconds since 1970, with the seconds of training up to then."""
    _writers: dict[str, int] = field(default_factory=dict)
    """Which tags go together, because one file has them: two writers may log to one folder at once."""


@dataclass(frozen=True, slots=True)
class _Written:
    """A value as a file has it."""

    tag: str
    step: int
    value: float
    moment: float


@dataclass(frozen=True, slots=True)
class _Start:
    """A session that starts at a step: later steps of what came before are void."""

    step: int


def read_folder(files: list[Path]) -> Scalars:
    """The scalars of the event files of one folder. What can't be read is noted in what is returned."""
    found = Scalars()
    for file in sorted(files, key=_by_number):
        _merge(found, list(_entries(file, found)))
    return found


def _by_number(file: Path) -> list[str | int]:
    """Names in the order in which they were made: their numbers are seconds, processes and counts."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", file.name)]


def _entries(file: Path, found: Scalars) -> Iterator[_Written | _Start]:
    Event, _ = record_types()
    from google.protobuf.message import DecodeError

    count = 0
    try:
        for record in _records(file):
            try:
                event = Event.FromString(record)
            except DecodeError:
                found.left_out.add("records that are no events of TensorBoard", file.name)
                continue
            count += 1
            yield from _of_event(event, found)
    except _Unreadable as error:
        if count:
            found.cut.append((file, str(error)))
        else:
            found.left_out.add(error.reason, file.name)


class _Unreadable(Exception):
    """A file that ends in the middle of a record, is damaged from somewhere on, or has no record that can be read."""

    def __init__(self, cut: str, reason: str = "files that are no event files of TensorBoard") -> None:
        super().__init__(cut)
        self.reason = reason


def _records(file: Path) -> Iterator[bytes]:
    from tensorboard.compat.tensorflow_stub import errors
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import PyRecordReader_New

    try:
        reader = PyRecordReader_New(str(file))
    except OSError as error:
        raise _Unreadable("", f"files that can't be read: {error.strerror or error}") from None
    except UnicodeError:
        raise _Unreadable("", "files in folders whose names are no UTF-8") from None
    try:
        while True:
            reader.GetNext()
            yield reader.record()
    except errors.OutOfRangeError:
        return
    except errors.DataLossError as error:
        cut = "truncated" in str(error)
        raise _Unreadable("ends in the middle of a record" if cut else "is damaged from a place on") from None
    finally:
        if reader.file_handle is not None:
            reader.file_handle.close()


def _of_event(event: Any, found: Scalars) -> Iterator[_Written | _Start]:
    if event.HasField("session_log") and event.session_log.status == event.session_log.START:
        yield _Start(event.step)
    for value in event.summary.value:
        if value.metadata.plugin_data.plugin_name == PLUGIN:
            found.record = b"".join(value.tensor.string_val)
        elif value.metadata.plugin_data.plugin_name == _HPARAMS:
            found.hparams |= _hparams(value.metadata.plugin_data.content)
        elif (number := _number(value, found.left_out)) is None:
            continue
        elif not 0 <= event.step < _MOST_STEPS:
            found.left_out.add(f"values at steps below 0 or from {_MOST_STEPS} on", value.tag)
        else:
            yield _Written(value.tag, event.step, number, event.wall_time)


def _number(value: Any, left_out: LeftOut) -> float | None:
    """The one number of a summary; what holds another thing is counted."""
    kind = value.WhichOneof("value")
    if kind == "simple_value":
        return float(value.simple_value)
    if kind != "tensor":
        if kind is not None:
            left_out.add({"histo": "histograms"}.get(kind, f"values of the kind {kind}"), value.tag)
        return None
    if math.prod(dim.size for dim in value.tensor.tensor_shape.dim) != 1:
        left_out.add("tensors that hold no single number", value.tag)
        return None
    from tensorboard.util.tensor_util import make_ndarray

    try:
        array = make_ndarray(value.tensor).reshape(-1)
        if array.dtype.kind in "fiu" and array.size == 1:
            return float(array[0])
    except Exception:  # of every kind, for types that numpy has not and for bytes of another length
        left_out.add("tensors of a type that can't be read", value.tag)
        return None
    left_out.add("tensors of a type that is no number", value.tag)
    return None


def _hparams(content: bytes) -> dict[str, Value]:
    """What SummaryWriter.add_hparams or Keras say a run was started with."""
    from google.protobuf.message import DecodeError
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    try:
        data = HParamsPluginData.FromString(content)
    except DecodeError:
        return {}
    found: dict[str, Value] = {}
    for name, value in data.session_start_info.hparams.items():
        kind = value.WhichOneof("kind")
        if kind in ("number_value", "string_value", "bool_value"):
            found[name] = getattr(value, kind)
    return found


def _merge(found: Scalars, entries: list[_Written | _Start]) -> None:
    """Put what a file says after what the files before it say."""
    first: dict[str, int] = {}
    for entry in entries:
        if isinstance(entry, _Written):
            first.setdefault(entry.tag, entry.step)
    again = first.keys() & found.series.keys()
    if again and not any(isinstance(entry, _Start) for entry in entries):
        writers = {found._writers[tag] for tag in again}
        others = {tag for tag, writer in found._writers.items() if writer in writers} - again
        # A file of a few tags may have been added later; one that has most of them is the run, begun anew.
        for tag in again | (others if len(others) <= len(again) else set()):
            _cut(found, tag, first[tag] if tag in again else max(first[one] for one in again))
    _join(found, first.keys(), again)
    begun = next((entry.moment for entry in entries if isinstance(entry, _Written)), math.nan)
    if again and begun > max((moment for moment, _ in found._timeline), default=begun):
        found._timeline.clear()
    _add(found, entries, again or found.series.keys())


def _join(found: Scalars, tags: Iterable[str], again: Collection[str]) -> None:
    joined = {found._writers[tag] for tag in again}
    number = min(joined, default=len(found._writers))
    for tag in [*tags, *(tag for tag, writer in found._writers.items() if writer in joined)]:
        found._writers[tag] = number


def _cut(found: Scalars, tag: str, step: int) -> None:
    kept = {at: point for at, point in found.series[tag].items() if at < step}
    if void := len(found.series[tag]) - len(kept):
        found.left_out.add("values that a restart made void", tag, void)
    found.series[tag] = kept


def _add(found: Scalars, entries: list[_Written | _Start], again: Collection[str]) -> None:
    limit = max(_PAUSE_S, _PAUSE_FACTOR * _usual(entries))
    before, elapsed = None, 0.0
    for entry in entries:
        if isinstance(entry, _Start):
            for tag in found.series:
                _cut(found, tag, entry.step)
            continue
        moment = entry.moment if math.isfinite(entry.moment) and entry.moment > 0 else None
        if moment is not None:
            if before is None:
                elapsed = _begun(found, moment, limit, again)
            elif 0 < moment - before <= limit:
                elapsed += moment - before
            before = moment
            found._timeline.append((moment, elapsed))
        points = found.series.setdefault(entry.tag, {})
        if entry.step in points and points[entry.step].value != entry.value:
            found.left_out.add("values of a step that was written again", entry.tag)
        points[entry.step] = Point(entry.value, elapsed)


def _usual(entries: list[_Written | _Start]) -> float:
    """The usual interval between two steps, in seconds."""
    moments = [entry for entry in entries if isinstance(entry, _Written) and math.isfinite(entry.moment)]
    firsts = [one for one, other in zip(moments, [None, *moments], strict=False) if not other or one.step != other.step]
    gaps = [later.moment - one.moment for one, later in zip(firsts, firsts[1:], strict=False)]
    rising = [gap for gap in gaps if gap > 0]
    return median_low(rising) if rising else 0.0


def _begun(found: Scalars, moment: float, limit: float, again: Collection[str]) -> float:
    """Seconds of training before the first value of a file: what was kept of tags, or what another writer has then."""
    moments = [at for at, _ in found._timeline]
    if moments and min(moments) <= moment <= max(moments) + limit:
        at, elapsed = max(one for one in found._timeline if one[0] <= moment)
        return elapsed + moment - at
    found._timeline.clear()
    return max((point.elapsed_s for tag in again for point in found.series[tag].values()), default=0.0)


def seconds(series: Mapping[str, Mapping[int, Point]]) -> dict[int, float]:
    """Seconds of training by step, none later than those of a later step: `add_hparams` writes step 0 at the end."""
    found: dict[int, float] = {}
    for points in series.values():
        for step, point in points.items():
            found[step] = max(point.elapsed_s, found.get(step, 0.0))
    after = math.inf
    for step in sorted(found, reverse=True):
        after = found[step] = min(after, found[step])
    return found
