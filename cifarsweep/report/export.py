"""A study's metrics as files for other programs, in long form: trial, cell, seed, name, step, value.

One trial is read at a time, so that a study of any size fits into memory. A file appears whole or not at all.
"""

from __future__ import annotations

import csv
import json
import math
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np
from numpy.typing import NDArray

from cifarsweep.errors import OutputError

if TYPE_CHECKING:
    from cifarsweep.store import Store
    from cifarsweep.store.records import TrialRow

COLUMNS = ("trial", "cell", "seed", "name", "step", "value")
#: What a spreadsheet takes for the beginning of a formula (https://owasp.org/www-community/attacks/CSV_Injection).
_FORMULA = re.compile(r"^[=+\-@\t\r\n]")


@dataclass(frozen=True, slots=True)
class Curve:
    """One metric of one trial: steps (int64, ascending) and values (float64)."""

    trial: TrialRow
    name: str
    steps: NDArray[np.int64]
    values: NDArray[np.float64]


def curves(store: Store, study: str, names: Sequence[str]) -> Iterator[list[Curve]]:
    """The curves of a study, those of one trial at a time; all metrics where `names` is empty.

    Raises UnknownStudy, or OutputError for a metric that the study has no row of.
    """
    known = store.metric_names(study)
    if unknown := sorted(set(names) - set(known)):
        raise OutputError(f"study {study!r} has no metric {unknown[0]!r}; it has: {', '.join(known) or 'none yet'}")
    for trial in store.trials(study):
        series = store.metrics(study, names or known, only=[trial.number])
        yield [Curve(trial, name, *found) for (_, name), found in sorted(series.items())]


def write_csv(found: Iterator[list[Curve]], file: TextIO) -> None:
    """Comma-separated values. Texts that a spreadsheet would run as formulas get an apostrophe in front."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for curve in _flat(found):
        trial, cell, name = curve.trial, _harmless(curve.trial.cell), _harmless(curve.name)
        writer.writerows((trial.number, cell, trial.seed, name, *point) for point in points(curve))


def write_jsonl(found: Iterator[list[Curve]], file: TextIO) -> None:
    """A JSON object a line. JSON has no nan or infinity: these are the texts "nan", "inf" and "-inf"."""
    for curve in _flat(found):
        labels = (curve.trial.number, curve.trial.cell, curve.trial.seed, curve.name)
        head = json.dumps(dict(zip(COLUMNS, labels, strict=False)))[:-1]
        for step, value in points(curve):
            number = repr(value) if math.isfinite(value) else f'"{value}"'
            file.write(f'{head}, "step": {step}, "value": {number}}}\n')


def write_parquet(found: Iterator[list[Curve]], path: Path) -> None:
    """Parquet, a row group a trial. Raises OutputError where pyarrow is not installed."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError:
        raise missing("parquet") from None
    kinds = (pa.int64(), pa.string(), pa.int64(), pa.string(), pa.int64(), pa.float64())
    schema = pa.schema(list(zip(COLUMNS, kinds, strict=True)))
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for group in found:
            if group:
                writer.write_table(pa.concat_tables([_table(pa, schema, curve) for curve in group]))


def _table(pa: Any, schema: Any, curve: Curve) -> Any:
    count, trial = len(curve.steps), curve.trial
    labels = (trial.number, trial.cell, trial.seed, curve.name)
    columns = [pa.repeat(pa.scalar(label, field.type), count) for label, field in zip(labels, schema, strict=False)]
    return pa.Table.from_arrays([*columns, pa.array(curve.steps), pa.array(curve.values)], schema=schema)


@contextmanager
def whole(path: Path, *, force: bool) -> Iterator[Path]:
    """A path to write to that takes the place of `path` at the end, and leaves nothing behind after an error.

    Raises OutputError where something is there already, unless `force`, or where the folder can't be written.
    """
    if path.exists() and not force:
        raise OutputError(f"{path} is there already; give another --out, or --force to replace it")
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove(partial)
        yield partial
        if path.is_dir():
            _remove(path)
        os.replace(partial, path)
    except OSError as error:
        raise OutputError(f"{path} can't be written: {error.strerror}") from None
    finally:
        _remove(partial)


def export(store: Store, study: str, kind: str, names: Sequence[str], out: Path | None, *, force: bool) -> None:
    """Write the study's metrics to `out`, or to standard output where it is None (csv and jsonl)."""
    found = curves(store, study, names)
    if kind in _TEXTS and out is None:
        _TEXTS[kind](found, sys.stdout)
        return
    if out is None:
        raise OutputError(f"{kind} can't go to standard output; name a path with --out")
    first = next(found, [])
    with whole(out, force=force) as path:
        rest = _again(first, found)
        if kind in _TEXTS:
            with path.open("w", encoding="utf-8", newline="") as file:
                _TEXTS[kind](rest, file)
        elif kind == "parquet":
            write_parquet(rest, path)
        else:
            from cifarsweep.report.tensorboard import write_runs

            write_runs(rest, path)


_TEXTS: dict[str, Callable[[Iterator[list[Curve]], TextIO], None]] = {"csv": write_csv, "jsonl": write_jsonl}


def _again(first: list[Curve], rest: Iterator[list[Curve]]) -> Iterator[list[Curve]]:
    yield first
    yield from rest


def _flat(found: Iterator[list[Curve]]) -> Iterator[Curve]:
    for group in found:
        yield from group


def points(curve: Curve) -> Iterator[tuple[int, float]]:
    """Step and value as Python's own numbers."""
    return zip(curve.steps.tolist(), curve.values.tolist(), strict=True)


def _harmless(text: str) -> str:
    return f"'{text}" if _FORMULA.match(text) else text


def missing(extra: str) -> OutputError:
    """What to say where a package is not installed."""
    return OutputError(f"{extra} needs one more package: pip install 'cifarsweep[{extra}]'")


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
