"""`report` and `status`: look at what the database holds; nothing here writes to it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cifarsweep.cli.options import DEFAULT_DATABASE, Database, Json, console
from cifarsweep.errors import UnknownStudy

if TYPE_CHECKING:
    from rich.console import RenderableType

    from cifarsweep.store import Store
    from cifarsweep.store.records import StudyStatus

#: Seconds between two looks of `status --watch`.
_WATCH_EVERY_S = 2.0


def report(
    study: Annotated[list[str] | None, typer.Argument(metavar="[STUDY]...", help="All of them where left out.")] = None,
    db: Database = DEFAULT_DATABASE,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the pages go.")] = Path("reports"),
    single_file: Annotated[bool, typer.Option("--single-file", help="Pages that need no file beside them.")] = False,
) -> None:
    """Write one offline page a study and an index, and print the results."""
    from cifarsweep.report.collect import collect
    from cifarsweep.report.pages import write_pages
    from cifarsweep.report.terminal import results_table
    from cifarsweep.store import Store

    with Store.open(db, read_only=True) as store:
        names = study or [row.name for row in store.studies()]
        if not names:
            raise UnknownStudy(f"{store.shown_url}: holds no study yet; create one with `cifarsweep create demo`")
        found = [collect(store, name) for name in names]
    paths = write_pages(found, out, single_file=single_file)
    screen = console()
    for each in found:
        screen.print(results_table(each))
    for path in paths:
        typer.echo(path)


def status(
    study: Annotated[str | None, typer.Argument(metavar="[STUDY]", help="All of them where left out.")] = None,
    db: Database = DEFAULT_DATABASE,
    watch: Annotated[bool, typer.Option("--watch", help="Look again every two seconds, until Ctrl-C.")] = False,
    as_json: Json = False,
) -> None:
    """Show how far the studies are, and who works on them.

    With --json: one object for one study, else a list of them.
    """
    from cifarsweep.store import Store

    with Store.open(db, read_only=True) as store:
        if as_json:
            found = [status_fields(each) for each in store.status(study)]
            typer.echo(json.dumps(found[0] if len(found) == 1 else found, indent=2))
        elif watch:
            _watch(store, study)
        else:
            console().print(_status_tables(store.status(study)))


def _watch(store: Store, study: str | None) -> None:
    from rich.live import Live

    with Live(_status_tables(store.status(study)), console=console(), auto_refresh=False) as live:
        while True:
            live.update(_status_tables(store.status(study)), refresh=True)
            time.sleep(_WATCH_EVERY_S)


def status_fields(found: StudyStatus) -> dict[str, Any]:
    """One study's status as plain values: counts of every state, and its workers."""
    workers = [
        {
            "worker": worker.worker_id,
            "host": worker.host,
            "device": worker.device,
            "trial": worker.trial,
            "attempt": worker.attempt,
            "step": worker.step,
            "last_beat_s": worker.last_beat_s,
            "expired": worker.expired,
        }
        for worker in found.workers
    ]
    return {"study": found.study, "trials": dict(found.trials), "workers": workers}


def _status_tables(found: list[StudyStatus]) -> RenderableType:
    from rich.console import Group
    from rich.table import Table

    trials = Table(title="Studies", title_justify="left")
    trials.add_column("study")
    for state in found[0].trials if found else ():
        trials.add_column(state, justify="right")
    for each in found:
        trials.add_row(each.study, *(str(count) for count in each.trials.values()))
    return Group(trials, _worker_table(found))


def _worker_table(found: list[StudyStatus]) -> RenderableType:
    from rich.markup import escape
    from rich.table import Table

    table = Table(
        "worker", "device", "trial", "attempt", "step", "last beat", title="Trials under way", title_justify="left"
    )
    for each in found:
        for worker in each.workers:
            beat = "lease ran out" if worker.expired else f"{worker.last_beat_s:.0f} s ago"
            trial = f"{each.study}/{worker.trial}"
            table.add_row(
                escape(worker.worker_id), escape(worker.device), trial, str(worker.attempt), f"{worker.step:,}", beat
            )
    return table if table.row_count else "no trial is under way"
