"""`export`: a study's metrics as files for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from cifarsweep.cli import completion
from cifarsweep.cli.options import DEFAULT_DATABASE, Database

_SUFFIX = {"csv": ".csv", "jsonl": ".jsonl", "parquet": ".parquet", "tensorboard": "-tensorboard"}


def export(
    study: Annotated[str, typer.Argument(metavar="STUDY", autocompletion=completion.studies)],
    kind: Annotated[
        Literal["csv", "jsonl", "parquet", "tensorboard"], typer.Option("--format", help="What to write.")
    ] = "csv",
    out: Annotated[
        str | None, typer.Option(metavar="PATH", help="Where to; - is standard output. [default: STUDY.csv etc.]")
    ] = None,
    metric: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only this metric; repeat for more.")] = None,
    hits: Annotated[
        bool, typer.Option("--hits", help="Which images each trial got right, in place of its metrics.")
    ] = False,
    notes: Annotated[bool, typer.Option("--notes", help="What was noted, in place of metrics.")] = False,
    db: Database = DEFAULT_DATABASE,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write every metric row of a study.

    A row has trial, cell, seed, name, step and value.

    Parquet and TensorBoard need the extras of that name. For TensorBoard, the counts of which class was taken for which
    are left out.

    With --hits a row for each trial and accuracy, with a bit an image of the last evaluation: trial, cell, seed, name,
    images, bits. With --notes a row for each note: note, trial, written_at, text.
    """
    from cifarsweep.export.hits import export_hits
    from cifarsweep.export.own_notes import export_notes
    from cifarsweep.export.tables import export as export_metrics
    from cifarsweep.store import Store

    if hits and notes:
        raise typer.BadParameter("give --hits or --notes, not both")
    part = "-hits" if hits else "-notes" if notes else ""
    path = None if out == "-" else Path(f"{study}{part}{_SUFFIX[kind]}" if out is None else out)
    write = export_hits if hits else export_notes if notes else export_metrics
    with Store.open(db, read_only=True) as store:
        write(store, study, kind, metric or (), path, force=force)
    if path is not None:
        typer.echo(path)
