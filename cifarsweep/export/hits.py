"""Which images each trial got right at its last evaluation, as files: a row for each trial and accuracy.

CSV and JSON lines hold the bits in hexadecimal digits, Parquet holds the bytes: the first image is the highest bit of
the first byte, 1 where it was right.
"""

from __future__ import annotations

import base64
import csv
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TextIO

from cifarsweep.errors import OutputError
from cifarsweep.export.output import begun, harmless, replacing, standard_output
from cifarsweep.export.series import missing
from cifarsweep.spec.metrics import TEST_ACCURACY, VAL_ACCURACY
from cifarsweep.spec.types import TrialState

if TYPE_CHECKING:
    from cifarsweep.store import Store

#: The accuracies of which a trial keeps its hits, and trials that are read at a time.
_KEPT, _TRIALS = (VAL_ACCURACY, TEST_ACCURACY), 500


class HitRow(NamedTuple):
    """The images that a trial got right; the names of the fields are those of the columns."""

    trial: int
    cell: str
    seed: int
    name: str
    """Of the accuracy that they make up."""
    images: int
    bits: bytes


def hit_rows(store: Store, study: str, names: Sequence[str]) -> Iterator[HitRow]:
    """Yield the rows of a study by trial, of all accuracies if `names` is empty; none for trials that kept nothing.

    Raises UnknownStudy, or OutputError for the name of anything but an accuracy that is kept.
    """
    if unknown := sorted(set(names).difference(_KEPT)):
        raise OutputError(f"which images are right is kept of {' and '.join(_KEPT)}, not of {unknown[0]!r}")
    trials = [trial for trial in store.trials.all(study) if trial.state == TrialState.DONE]
    for start in range(0, len(trials), _TRIALS):
        some = {trial.number: trial for trial in trials[start : start + _TRIALS]}
        for (number, name), hits in sorted(store.metrics.hits(study, names or _KEPT, list(some)).items()):
            trial = some[number]
            yield HitRow(number, trial.cell, trial.seed, name, hits.images, base64.b64decode(hits.packed))


def write_csv(rows: Iterator[HitRow], file: TextIO) -> None:
    """Write comma-separated values. Texts that a spreadsheet would run as formulas get an apostrophe in front."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(HitRow._fields)
    writer.writerows(row._replace(cell=harmless(row.cell))[:-1] + (row.bits.hex(),) for row in rows)


def write_jsonl(rows: Iterator[HitRow], file: TextIO) -> None:
    """Write a JSON object a line."""
    file.writelines(json.dumps(row._asdict() | {"bits": row.bits.hex()}) + "\n" for row in rows)


def write_parquet(rows: Iterator[HitRow], path: Path) -> None:
    """Write Parquet. Raises OutputError if pyarrow is not installed."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError:
        raise missing("parquet") from None
    kinds = (pa.int64(), pa.string(), pa.int64(), pa.string(), pa.int64(), pa.binary())
    schema = pa.schema(list(zip(HitRow._fields, kinds, strict=True)))
    pq.write_table(pa.Table.from_pylist([row._asdict() for row in rows], schema=schema), path, compression="zstd")


def export_hits(store: Store, study: str, kind: str, names: Sequence[str], out: Path | None, *, force: bool) -> None:
    """Write them to `out`, or to standard output if it is None (csv and jsonl), as `tables.export` writes metrics."""
    if kind == "tensorboard":
        raise OutputError("tensorboard has no place for single images; choose --format csv, jsonl or parquet")
    rows = begun(hit_rows(store, study, names))
    if out is None:
        file = standard_output(kind, _TEXTS)
        _TEXTS[kind](rows, file)
        return
    with replacing(out, store, force=force) as path:
        if kind == "parquet":
            write_parquet(rows, path)
        else:
            with path.open("w", encoding="utf-8", newline="") as file:
                _TEXTS[kind](rows, file)


_TEXTS: dict[str, Callable[[Iterator[HitRow], TextIO], None]] = {"csv": write_csv, "jsonl": write_jsonl}
