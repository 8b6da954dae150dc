"""`status`: how far the studies are, and which workers train. It only reads the database."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cifarsweep.cli import completion
from cifarsweep.cli.json_output import print_json
from cifarsweep.cli.options import DEFAULT_DATABASE, Database, Json, console
from cifarsweep.cli.status_tables import status_tables, study_line
from cifarsweep.errors import StoreUnavailable
from cifarsweep.text import one_line

if TYPE_CHECKING:
    from rich.console import RenderableType

    from cifarsweep.store import Store
    from cifarsweep.store.status_records import StudyStatus

#: Seconds between two polls.
_EVERY_S = 1.0


def status(
    study: Annotated[
        str | None, typer.Argument(metavar="STUDY", help="All of them if left out.", autocompletion=completion.studies)
    ] = None,
    db: Database = DEFAULT_DATABASE,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again every second, until Ctrl-C.")] = False,
    every: Annotated[bool, typer.Option("--all", help="Give studies that are over a row each too.")] = False,
    as_json: Json = False,
) -> None:
    """Show how far the studies are, and who trains them.

    While one goes on, those that are over share a line; --all gives them rows. With --json: one object for one study,
    else a list of all of them.
    """
    from cifarsweep.store import Store

    if watch and as_json:
        raise typer.BadParameter("--watch is for people and --json for programs: give one of them")
    with Store.open(db, read_only=True) as store:
        if as_json:
            studies = [status_fields(row) for row in store.studies.status(study, live=True)]
            print_json("status", studies[0] if len(studies) == 1 else studies)
        elif watch:
            follow(store, study, every=every)
        else:
            console().print(status_tables(store.studies.status(study, live=True), every=every))


def status_fields(status: StudyStatus) -> dict[str, Any]:
    """One study's status as plain values: counts of every state, its pace, and its workers."""
    workers = [
        {
            "worker": worker.worker_id,
            "host": worker.host,
            "device": worker.device,
            "trial": worker.trial,
            "attempt": worker.attempt,
            "step": worker.step,
            "total_steps": worker.total_steps,
            "newest": {name: v if math.isfinite(v) else str(v) for name, v in worker.newest.items()},
            "last_beat_s": worker.last_beat_s,
            "expired": worker.expired,
            "slot": worker.slot,
            "images_per_s": worker.images_per_s,
        }
        for worker in status.workers
    ]
    pace = {"trials_per_h": status.trials_per_h, "images_per_s": status.images_per_s, "left_s": status.left_s}
    search = {"to_ask": status.to_ask, "held": status.held, "wish": status.stop_request, "pruned": status.pruned}
    spent = {"done_s": status.done_s, "reused": status.reused, "reused_s": status.reused_s}
    known = {"study": status.study, "trials": dict(status.trials), **search, **pace, **spent, "workers": workers}
    return known | {"unreadable": status.unreadable or None}


def follow(store: Store, study: str | None, *, every: bool = False) -> None:
    """Poll until Ctrl-C: draw tables on a terminal, print changes elsewhere."""
    screen = console()
    polls = _polls(store, study)
    try:
        if screen.is_terminal:
            from rich.live import Live

            with Live(_picture(next(polls), every), console=screen, auto_refresh=False) as live:
                for poll in polls:
                    live.update(_picture(poll, every), refresh=True)
        else:
            for line in _changes(polls):
                screen.print(f"{_now()} {line}", markup=False, highlight=False, soft_wrap=True)
    except KeyboardInterrupt:
        return


@dataclass(frozen=True, slots=True)
class _Poll:
    """The last answer of the database, and a sentence if it has not answered since."""

    studies: list[StudyStatus]
    away: str = ""


def _polls(store: Store, study: str | None) -> Iterator[_Poll]:
    """Poll for ever. Raises StoreUnavailable only at the first poll: later ones still have the last answer to show."""
    from cifarsweep.store.status_records import pause_after

    poll, took_s = _Poll(store.studies.status(study, live=True)), 0.0
    while True:
        yield poll
        time.sleep(pause_after(took_s, _EVERY_S))
        began, took_s = time.monotonic(), 0.0
        try:
            poll = _Poll(store.studies.status(study, live=True))
            took_s = time.monotonic() - began
        except StoreUnavailable as error:
            poll = _Poll(poll.studies, poll.away or f"the database is away since {_now()}: {error}")


def _now() -> str:
    return time.strftime("%H:%M:%S")


def _picture(poll: _Poll, every: bool) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    tables = status_tables(poll.studies, every=every)
    return Group(tables, Text(poll.away, style="yellow")) if poll.away else tables


def _changes(polls: Iterator[_Poll]) -> Iterator[str]:
    before: dict[str, str] = {}
    away = ""
    for poll in polls:
        if poll.away != away:
            yield poll.away or "the database is back"
        now = {status.study: study_line(status) for status in poll.studies}
        for name, line in now.items():
            if before.get(name) != line:
                yield f"{one_line(name)}: {line}"
        before, away = now, poll.away
