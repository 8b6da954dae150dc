"""`export`: a study's metrics as files for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from cifarsweep.cli.options import DEFAULT_DATABASE, Database

_SUFFIX = {"csv": ".csv", "jsonl": ".jsonl", "parquet": ".parquet", "tensorboard": "-tensorboard"}


def export(
    study: Annotated[str, typer.Argument(metavar="STUDY")],
    kind: Annotated[
        Literal["csv", "jsonl", "parquet", "tensorboard"], typer.Option("--format", help="What to write.")
    ] = "csv",
    out: Annotated[
        str | None, typer.Option(metavar="PATH", help="Where to; - is standard output. [default: STUDY.csv etc.]")
    ] = None,
    metric: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only this metric; repeat for more.")] = None,
    db: Database = DEFAULT_DATABASE,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write every metric row of a study: trial, cell, seed, name, step, value.

    Parquet and TensorBoard need the extras of that name. For TensorBoard, the counts of which class was taken for which
    are left out.
    """
    from cifarsweep.export.tables import export as write
    from cifarsweep.store import Store

    path = None if out == "-" else Path(study + _SUFFIX[kind] if out is None else out)
    with Store.open(db, read_only=True) as store:
        write(store, study, kind, metric or (), path, force=force)
    if path is not None:
        typer.echo(path)
