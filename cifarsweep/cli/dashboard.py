"""`dashboard`: the report's pages, live."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from cifarsweep.cli.options import DEFAULT_DATABASE, Database
from cifarsweep.errors import DashboardError, install_command


def dashboard(
    port: Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="0 takes a free one.")] = 8080,
    host: Annotated[str, typer.Option(metavar="HOST", help="Others than this machine's need --token.")] = "127.0.0.1",
    token: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT", envvar="CIFARSWEEP_TOKEN", help="Ask visitors for it; the variable hides it from `ps`."
        ),
    ] = None,
    db: Database = DEFAULT_DATABASE,
) -> None:
    """Serve the report's pages, live while workers train. It reads and never writes; Ctrl-C ends it."""
    try:
        from cifarsweep.dashboard.server import serve
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("starlette", "uvicorn", "anyio"):
            raise
        raise DashboardError(f"the dashboard needs more packages: {install_command('dashboard')}") from None

    serve(db, host, port, token, lambda url: typer.echo(f"{url} (Ctrl-C ends it)"))
    sys.stdout.flush()
    # Exit at once: a page that is still being rendered must not delay it, and nothing is left to write.
    os._exit(0)
