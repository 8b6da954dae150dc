"""A study's metrics as files for other programs, in long form: trial, cell, seed, name, step, value."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterator, Sequence
from io import StringIO
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from cifarsweep.export.output import begun, harmless, replacing, standard_output
from cifarsweep.export.series import COLUMNS, REUSED, Curve, columns_of, curves, missing, points

if TYPE_CHECKING:
    from cifarsweep.store import Store

#: Rows of one group of a Parquet file.
_ROWS = 100_000


def write_csv(groups: Iterator[list[Curve]], file: TextIO, columns: Sequence[str]) -> None:
    """Write comma-separated values. Texts that a spreadsheet would run as formulas get an apostrophe in front."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    for curve in chain.from_iterable(groups):
        head = _csv_line(curve.trial.number, harmless(curve.trial.cell), curve.trial.seed, harmless(curve.name))
        rest = f",{_csv_line(curve.trial.reused_text)}" if REUSED in columns else ""
        file.writelines(f"{head},{step},{value}{rest}\n" for step, value in points(curve))


def _csv_line(*labels: object) -> str:
    line = StringIO()
    csv.writer(line, lineterminator="").writerow(labels)
    return line.getvalue()


def write_jsonl(groups: Iterator[list[Curve]], file: TextIO, columns: Sequence[str]) -> None:
    """Write a JSON object a line. JSON has no nan or infinity: these are the texts "nan", "inf" and "-inf"."""
    for curve in chain.from_iterable(groups):
        labels = (curve.trial.number, curve.trial.cell, curve.trial.seed, curve.name)
        head = json.dumps(dict(zip(COLUMNS, labels, strict=False)))[:-1]
        rest = f', "{REUSED}": {json.dumps(curve.trial.reused_text)}' if REUSED in columns else ""
        if np.isfinite(curve.values).all():
            file.writelines(f'{head}, "step": {step}, "value": {value}{rest}}}\n' for step, value in points(curve))
            continue
        for step, value in points(curve):
            number = repr(value) if math.isfinite(value) else f'"{value}"'
            file.write(f'{head}, "step": {step}, "value": {number}{rest}}}\n')


def write_parquet(groups: Iterator[list[Curve]], path: Path, columns: Sequence[str]) -> None:
    """Write Parquet with row groups of about `_ROWS` rows. Raises OutputError if pyarrow is not installed."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError:
        raise missing("parquet") from None
    kinds = (pa.int64(), pa.string(), pa.int64(), pa.string(), pa.int64(), pa.float64(), pa.string())
    schema = pa.schema(list(zip(columns, kinds, strict=False)))
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for group in _row_groups(chain.from_iterable(groups)):
            writer.write_table(_table(pa, schema, group))


def _row_groups(curves: Iterator[Curve]) -> Iterator[list[Curve]]:
    """Group the curves, and parts of long ones, by `_ROWS` rows; the last group has fewer."""
    group: list[Curve] = []
    room = _ROWS
    for curve in curves:
        start = 0
        while start < len(curve.steps):
            end = min(start + room, len(curve.steps))
            group.append(Curve(curve.trial, curve.name, curve.steps[start:end], curve.values[start:end]))
            room, start = room - (end - start), end
            if not room:
                yield group
                group, room = [], _ROWS
    if group:
        yield group


def _table(pa: Any, schema: Any, curves: Sequence[Curve]) -> Any:
    counts = [len(curve.steps) for curve in curves]
    indices = pa.array(np.repeat(np.arange(len(curves)), counts))
    labels = [(curve.trial.number, curve.trial.cell, curve.trial.seed, curve.name) for curve in curves]
    columns = [
        pa.array(column, field.type).take(indices)
        for column, field in zip(zip(*labels, strict=True), schema, strict=False)
    ]
    numbers = [np.concatenate([getattr(curve, of) for curve in curves]) for of in ("steps", "values")]
    reused = [pa.array([curve.trial.reused_text for curve in curves], pa.string()).take(indices)]
    return pa.Table.from_arrays([*columns, *map(pa.array, numbers), *reused][: len(schema)], schema=schema)


def export(store: Store, study: str, kind: str, names: Sequence[str], out: Path | None, *, force: bool) -> None:
    """Write the study's metrics to `out`, or to standard output if it is None (csv and jsonl).

    With `force` a file replaces one that is there. Folders are never replaced, nor is the database that is read.
    """
    trials = store.trials.all(study)
    groups, columns = begun(curves(store, study, names, trials)), columns_of(trials)
    if out is None:
        file = standard_output(kind, _TEXTS)
        _TEXTS[kind](groups, file, columns)
        return
    with replacing(out, store, force=force, folder=kind == "tensorboard") as path:
        if kind == "tensorboard":
            from cifarsweep.export.tensorboard import write_runs

            write_runs(groups, path, store.studies.get(study).spec)
        elif kind == "parquet":
            write_parquet(groups, path, columns)
        else:
            with path.open("w", encoding="utf-8", newline="") as file:
                _TEXTS[kind](groups, file, columns)


_TEXTS: dict[str, Callable[[Iterator[list[Curve]], TextIO, Sequence[str]], None]] = {
    "csv": write_csv,
    "jsonl": write_jsonl,
}
