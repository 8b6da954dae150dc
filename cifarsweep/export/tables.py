"""A study's metrics as files for other programs, in long form: trial, cell, seed, name, step, value."""

from __future__ import annotations

import csv
import json
import math
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from io import StringIO, TextIOWrapper
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from cifarsweep.errors import OutputError
from cifarsweep.export.series import COLUMNS, Curve, curves, missing, points
from cifarsweep.files import exists, part
from cifarsweep.text import data_output

if TYPE_CHECKING:
    from cifarsweep.store import Store

#: As much of a path as a message shows.
_LONGEST_SHOWN = 200
#: Rows of one group of a Parquet file.
_ROWS = 100_000
#: The beginning of a formula in a spreadsheet (https://owasp.org/www-community/attacks/CSV_Injection).
_FORMULA = re.compile(r"^[=+\-@\t\r\n]")


def write_csv(groups: Iterator[list[Curve]], file: TextIO) -> None:
    """Write comma-separated values. Texts that a spreadsheet would run as formulas get an apostrophe in front."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for curve in chain.from_iterable(groups):
        head = _csv_line(curve.trial.number, _harmless(curve.trial.cell), curve.trial.seed, _harmless(curve.name))
        file.writelines(f"{head},{step},{value}\n" for step, value in points(curve))


def _csv_line(*labels: object) -> str:
    line = StringIO()
    csv.writer(line, lineterminator="").writerow(labels)
    return line.getvalue()


def write_jsonl(groups: Iterator[list[Curve]], file: TextIO) -> None:
    """Write a JSON object a line. JSON has no nan or infinity: these are the texts "nan", "inf" and "-inf"."""
    for curve in chain.from_iterable(groups):
        labels = (curve.trial.number, curve.trial.cell, curve.trial.seed, curve.name)
        head = json.dumps(dict(zip(COLUMNS, labels, strict=False)))[:-1]
        if np.isfinite(curve.values).all():
            file.writelines(f'{head}, "step": {step}, "value": {value}}}\n' for step, value in points(curve))
            continue
        for step, value in points(curve):
            number = repr(value) if math.isfinite(value) else f'"{value}"'
            file.write(f'{head}, "step": {step}, "value": {number}}}\n')


def write_parquet(groups: Iterator[list[Curve]], path: Path) -> None:
    """Write Parquet with row groups of about `_ROWS` rows. Raises OutputError if pyarrow is not installed."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError:
        raise missing("parquet") from None
    kinds = (pa.int64(), pa.string(), pa.int64(), pa.string(), pa.int64(), pa.float64())
    schema = pa.schema(list(zip(COLUMNS, kinds, strict=True)))
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
    return pa.Table.from_arrays([*columns, *map(pa.array, numbers)], schema=schema)


def export(store: Store, study: str, kind: str, names: Sequence[str], out: Path | None, *, force: bool) -> None:
    """Write the study's metrics to `out`, or to standard output if it is None (csv and jsonl).

    With `force` a file replaces one that is there. Folders are never replaced, nor is the database that is read.
    """
    groups = curves(store, study, names)
    if out is None:
        _to_standard_output(groups, kind)
        return
    # An unknown metric is refused before the file is begun.
    first = next(groups, [])
    if _is_database(out, store):
        raise OutputError(f"{out} is the database that is read; give another --out")
    with _replacing(out, force=force, folder=kind == "tensorboard") as path:
        if kind == "tensorboard":
            from cifarsweep.export.tensorboard import write_runs

            write_runs(chain([first], groups), path, store.studies.get(study).spec)
        elif kind == "parquet":
            write_parquet(chain([first], groups), path)
        else:
            with path.open("w", encoding="utf-8", newline="") as file:
                _TEXTS[kind](chain([first], groups), file)


def _is_database(out: Path, store: Store) -> bool:
    from cifarsweep.store.url import parse_url

    url = parse_url(store.shown_url)
    with suppress(OSError):
        return url.get_backend_name() == "sqlite" and out.samefile(str(url.database))
    return False


@contextmanager
def _replacing(out: Path, *, force: bool, folder: bool) -> Iterator[Path]:
    """Yield a path to write to, which replaces `out` at the end. Raises OutputError if that must not be replaced."""
    target = Path(os.path.realpath(out))
    shown = str(out) if len(str(out)) <= _LONGEST_SHOWN else f"{str(out)[:_LONGEST_SHOWN]}..."

    def check() -> None:
        if exists(target) and (folder or not target.is_file()):
            raise OutputError(f"{shown} is there already, and only a file replaces a file; give another --out")
        if exists(target) and not force:
            raise OutputError(f"{shown} is there already; give another --out, or --force to replace it")

    try:
        check()
        target.parent.mkdir(parents=True, exist_ok=True)
        with part(target, folder=folder) as written:
            yield written
            # Again: minutes may have passed.
            check()
            os.replace(written, target)
    except OSError as error:
        raise OutputError(f"{shown} can't be written: {error.strerror or error}") from None


def _to_standard_output(groups: Iterator[list[Curve]], kind: str) -> None:
    if kind not in _TEXTS:
        raise OutputError(f"{kind} can't go to standard output; name a path with --out")
    if sys.stdout is None:
        raise OutputError("standard output is closed; name a path with --out")
    output = data_output()
    if isinstance(output, TextIOWrapper):
        # As in a file, whatever the terminal's encoding is: names of cells must not change.
        output.reconfigure(encoding="utf-8", newline="")
    _TEXTS[kind](groups, output)


_TEXTS: dict[str, Callable[[Iterator[list[Curve]], TextIO], None]] = {"csv": write_csv, "jsonl": write_jsonl}


def _harmless(text: str) -> str:
    return f"'{text}" if _FORMULA.match(text) else text
