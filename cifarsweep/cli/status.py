"""`status`: look at what the database holds; nothing here writes to it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cifarsweep.cli import watching
from cifarsweep.cli.options import DEFAULT_DATABASE, Database, Json, console

if TYPE_CHECKING:
    from cifarsweep.store.records import StudyStatus


def status(
    study: Annotated[str | None, typer.Argument(metavar="[STUDY]", help="All of them where left out.")] = None,
    db: Database = DEFAULT_DATABASE,
    watch: Annotated[bool, typer.Option("--watch", help="Look again every second, until Ctrl-C.")] = False,
    as_json: Json = False,
) -> None:
    """Show how far the studies are, and who works on them.

    With --json: one object for one study, else a list of them.
    """
    from cifarsweep.store import Store

    if watch and as_json:
        raise typer.BadParameter("--watch is for people and --json for programs: give one of them")
    with Store.open(db, read_only=True) as store:
        if as_json:
            found = [status_fields(each) for each in store.status(study, speeds=True)]
            typer.echo(json.dumps(found[0] if len(found) == 1 else found, indent=2))
        elif watch:
            watching.watch(store, study)
        else:
            console().print(watching.status_tables(store.status(study, speeds=True)))


def status_fields(found: StudyStatus) -> dict[str, Any]:
    """One study's status as plain values: counts of every state, its pace, and its workers."""
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
            "slot": worker.slot,
            "images_per_s": worker.images_per_s,
        }
        for worker in found.workers
    ]
    pace = {"trials_per_h": found.trials_per_h, "images_per_s": found.images_per_s, "left_s": found.left_s}
    search = {"to_ask": found.to_ask, "held": found.held, "wish": found.wish, "pruned": found.pruned}
    known = {"study": found.study, "trials": dict(found.trials), **search, **pace, "workers": workers}
    return known | {"unreadable": found.unreadable or None}
