"""The Typer application."""

from __future__ import annotations

from typing import Annotated

import typer

from cifarsweep.cli import (
    attend,
    control,
    create,
    dashboard,
    data,
    db,
    doctor,
    export,
    extend,
    import_tensorboard,
    launch,
    models,
    note,
    replay,
    report,
    settings,
    show,
    status,
    studies,
    worker,
)
from cifarsweep.cli.commands import Application
from cifarsweep.version import __version__

# Plain help: Rich's takes longer to import than everything else here together.
app = Application(
    name="cifarsweep",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"cifarsweep {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Answer questions about training image classifiers with evidence.

    Write a question as a study, start workers, open the report: create, worker, report.
    """


app.command("studies")(studies.studies)
app.command("models")(models.models)
app.command("settings")(settings.settings)
app.command("create")(create.create)
app.command("extend")(extend.extend)
app.command("worker")(worker.worker)
app.command("launch")(launch.launch)
app.command("attend", hidden=True)(attend.attend)
app.command("report")(report.report)
app.command("dashboard")(dashboard.dashboard)
app.command("status")(status.status)
app.command("show")(show.show)
app.command("note")(note.note)
app.command("export")(export.export)
app.command("import-tensorboard")(import_tensorboard.import_tensorboard)
app.command("replay")(replay.replay)
app.command("pause")(control.pause)
app.command("resume")(control.resume)
app.command("cancel")(control.cancel)
app.command("retry")(control.retry)
# Let -3 be a priority instead of an option.
app.command("priority", context_settings={"ignore_unknown_options": True})(control.priority)
app.command("doctor")(doctor.doctor)
app.add_typer(data.app, name="data")
app.add_typer(db.app, name="db")
