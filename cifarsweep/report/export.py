"""A study's metrics as files for other programs, in long form: trial, cell, seed, name, step, value.

One trial is read at a time, so that a study of any size fits into memory.
"""

from __future__ import annotations

import csv
import json
import math
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np
from numpy.typing import NDArray

from cifarsweep.errors import OutputError, install_command
from cifarsweep.report.target import Target
from cifarsweep.spec.words import CONFUSION
from cifarsweep.text import data_output

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
        # One for each pair of classes would bury the others.
        listed = ", ".join(name for name in known if not name.startswith(CONFUSION)) or "none yet"
        raise OutputError(f"study {study!r} has no metric {unknown[0]!r}; it has: {listed}")
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


def export(store: Store, study: str, kind: str, names: Sequence[str], out: Path | None, *, force: bool) -> None:
    """Write the study's metrics to `out`, or to standard output where it is None (csv and jsonl).

    With `force` it takes the place of an export that is there; nothing else is ever replaced.
    """
    found = curves(store, study, names)
    if out is None:
        _to_standard_output(found, kind)
        return
    first = next(found, [])
    target = Target(out, force, folder=kind == "tensorboard", database=_file(store))
    with target.whole() as path:
        _write(_again(first, found), kind, path)


def _to_standard_output(found: Iterator[list[Curve]], kind: str) -> None:
    if kind not in _TEXTS:
        raise OutputError(f"{kind} can't go to standard output; name a path with --out")
    if sys.stdout is None:
        raise OutputError("standard output is closed; name a path with --out")
    output = data_output()
    if isinstance(output, TextIOWrapper):
        # As in a file, whatever the terminal speaks: a name of a cell must not change on its way.
        output.reconfigure(encoding="utf-8", newline="")
    _TEXTS[kind](found, output)


def _file(store: Store) -> Path | None:
    """The SQLite file of the store, if it is one."""
    from cifarsweep.store.address import parse_url

    url = parse_url(store.shown_url)
    return Path(str(url.database)) if url.get_backend_name() == "sqlite" else None


def _write(found: Iterator[list[Curve]], kind: str, path: Path) -> None:
    if kind in _TEXTS:
        with path.open("w", encoding="utf-8", newline="") as file:
            _TEXTS[kind](found, file)
    elif kind == "parquet":
        write_parquet(found, path)
    else:
        from cifarsweep.report.tensorboard import write_runs

        write_runs(found, path)


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
    return OutputError(f"{extra} needs one more package: {install_command(extra)}")
