"""What people noted about a study and its trials, as files: a row for each note."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from cifarsweep.errors import OutputError
from cifarsweep.export.output import harmless, replacing, standard_output
from cifarsweep.export.series import missing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cifarsweep.store import Store
    from cifarsweep.store.records import Note

_COLUMNS = ("note", "trial", "written_at", "text")


def _rows(notes: Sequence[Note]) -> list[tuple[int, int | None, str, str]]:
    return [(one.note, one.trial, one.written_at.isoformat(timespec="seconds"), one.text) for one in notes]


def write_csv(notes: Sequence[Note], file: TextIO) -> None:
    """Write comma-separated values. Texts that a spreadsheet would run as formulas get an apostrophe in front."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows((*row[:-1], harmless(row[-1])) for row in _rows(notes))


def write_jsonl(notes: Sequence[Note], file: TextIO) -> None:
    """Write a JSON object a line."""
    file.writelines(json.dumps(dict(zip(_COLUMNS, row, strict=True))) + "\n" for row in _rows(notes))


def write_parquet(notes: Sequence[Note], path: Path) -> None:
    """Write Parquet. Raises OutputError if pyarrow is not installed."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError:
        raise missing("parquet") from None
    kinds = (pa.int64(), pa.int64(), pa.string(), pa.string())
    schema = pa.schema(list(zip(_COLUMNS, kinds, strict=True)))
    rows = [dict(zip(_COLUMNS, row, strict=True)) for row in _rows(notes)]
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path, compression="zstd")


def export_notes(store: Store, study: str, kind: str, names: Sequence[str], out: Path | None, *, force: bool) -> None:
    """Write them to `out`, or to standard output if it is None (csv and jsonl), as `tables.export` writes metrics.

    Raises OutputError for names of metrics, and for TensorBoard.
    """
    if names:
        raise OutputError("--metric is for metrics, and notes are of none; leave it out")
    if kind == "tensorboard":
        raise OutputError("tensorboard has no place for notes; choose --format csv, jsonl or parquet")
    notes = store.notes.of(study)
    if out is None:
        file = standard_output(kind, _TEXTS)
        _TEXTS[kind](notes, file)
        return
    with replacing(out, store, force=force) as path:
        if kind == "parquet":
            write_parquet(notes, path)
        else:
            with path.open("w", encoding="utf-8", newline="") as file:
                _TEXTS[kind](notes, file)


_TEXTS = {"csv": write_csv, "jsonl": write_jsonl}
