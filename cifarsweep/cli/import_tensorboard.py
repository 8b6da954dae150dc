"""`import-tensorboard`: old runs as a study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cifarsweep.cli.db import report_upgrade
from cifarsweep.cli.options import DEFAULT_DATABASE, Database, key_values

#: Tags that a message names.
_LISTED = 30


def import_tensorboard(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of run folders with event files.")],
    name: Annotated[str, typer.Option("--as", metavar="NAME", help="What to call the study.")],
    rename: Annotated[
        list[str] | None, typer.Option(metavar="OLD=NEW", help="Call a tag otherwise; repeat for more.")
    ] = None,
    db: Database = DEFAULT_DATABASE,
) -> None:
    """Import TensorBoard runs as trials that are done.

    A run folder is a trial, its name the cell; `seed=3` or `_s3` in the name is the seed. Folders of add_scalars and
    add_hparams, and train and validation, are parts of their run. To stand beside new trials, accuracies must be called
    val/accuracy: --rename test_acc=val/accuracy; those above 1 are taken as percent. What `export` wrote comes back as
    it was. Training time is estimated from the moments at which values were written, without pauses and restarts.
    """
    from cifarsweep.export.tensorboard_import import imported_study, read_runs
    from cifarsweep.spec.metrics import VAL_ACCURACY
    from cifarsweep.store import Store

    names = key_values(rename or (), "--rename", "OLD=NEW")
    imported = read_runs(folder, names)
    runs = imported.runs
    changes = [*(f"{old} is called {new}" for old, new in names.items()), *imported.changes]
    study = imported_study(name, folder, runs, changes)
    with Store.open(db, upgrade=True) as store:
        report_upgrade(store)
        count = store.studies.add_finished(study, runs)
    typer.echo(f"{name}: {count} trials of {len(study.cells)} cells imported")
    for note in (*imported.notes, *imported.changes, *imported.left_out.sentences()):
        typer.echo(f"note: {note}", err=True)
    if not any(row.name == VAL_ACCURACY for run in runs for row in run.rows):
        tags = sorted({row.name for run in runs for row in run.rows})
        more = ", ..." if len(tags) > _LISTED else ""
        listed = ", ".join(tags[:_LISTED]) + more
        typer.echo(f"note: no tag is {VAL_ACCURACY}, the metric of reports; there are: {listed}", err=True)
