"""`status`: how far the studies are, and which workers train. It only reads the database."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cifarsweep.cli.json_output import print_json
from cifarsweep.cli.options import DEFAULT_DATABASE, Database, Json, console
from cifarsweep.errors import StoreUnavailable
from cifarsweep.formatting import duration, state_text
from cifarsweep.spec.types import FINAL_STATES, StopRequest, TrialState
from cifarsweep.text import one_line

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

    from cifarsweep.store import Store
    from cifarsweep.store.status_records import StudyStatus, WorkerStatus

#: Seconds between two polls.
_EVERY_S = 1.0


def status(
    study: Annotated[str | None, typer.Argument(metavar="STUDY", help="All of them if left out.")] = None,
    db: Database = DEFAULT_DATABASE,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again every second, until Ctrl-C.")] = False,
    as_json: Json = False,
) -> None:
    """Show how far the studies are, and who trains them.

    With --json: one object for one study, else a list of them.
    """
    from cifarsweep.store import Store

    if watch and as_json:
        raise typer.BadParameter("--watch is for people and --json for programs: give one of them")
    with Store.open(db, read_only=True) as store:
        if as_json:
            studies = [status_fields(row) for row in store.studies.status(study, speeds=True)]
            print_json("status", studies[0] if len(studies) == 1 else studies)
        elif watch:
            follow(store, study)
        else:
            console().print(status_tables(store.studies.status(study, speeds=True)))


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


def follow(store: Store, study: str | None) -> None:
    """Poll until Ctrl-C: draw tables on a terminal, print changes elsewhere."""
    screen = console()
    polls = _polls(store, study)
    try:
        if screen.is_terminal:
            from rich.live import Live

            with Live(_picture(next(polls)), console=screen, auto_refresh=False) as live:
                for poll in polls:
                    live.update(_picture(poll), refresh=True)
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
    poll = _Poll(store.studies.status(study, speeds=True))
    while True:
        yield poll
        time.sleep(_EVERY_S)
        try:
            poll = _Poll(store.studies.status(study, speeds=True))
        except StoreUnavailable as error:
            poll = _Poll(poll.studies, poll.away or f"the database is away since {_now()}: {error}")


def _now() -> str:
    return time.strftime("%H:%M:%S")


def _picture(poll: _Poll) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    tables = status_tables(poll.studies)
    return Group(tables, Text(poll.away, style="yellow")) if poll.away else tables


def _changes(polls: Iterator[_Poll]) -> Iterator[str]:
    before: dict[str, str] = {}
    away = ""
    for poll in polls:
        if poll.away != away:
            yield poll.away or "the database is back"
        now = {status.study: _line(status) for status in poll.studies}
        for name, line in now.items():
            if before.get(name) != line:
                yield f"{one_line(name)}: {line}"
        before, away = now, poll.away


def _line(status: StudyStatus) -> str:
    counts = [f"{status.trials[TrialState.DONE]} of {_planned(status)} done"]
    others = ((state, count) for state, count in status.trials.items() if count and state is not TrialState.DONE)
    counts[0] += f" ({status.reused} reused)" if status.reused else ""
    counts += [f"{count} {state_text(state)}" for state, count in others]
    counts += [_held_points(status)] if status.held else []
    return "; ".join([", ".join(counts), *filter(None, _pace(status))])


def _held_points(status: StudyStatus) -> str:
    """The points that a search will not ask for, in words."""
    return f"{status.held} points {'paused' if status.stop_request is StopRequest.PAUSE else 'given up'}"


def _planned(status: StudyStatus) -> int:
    return sum(status.trials.values()) + status.to_ask


def _pace(status: StudyStatus) -> tuple[str, str, str]:
    """Trials an hour, images a second and time left; empty if unknown."""
    hourly, images, left = status.trials_per_h, status.images_per_s, status.left_s
    return (
        f"{hourly:,.1f} trials/h" if hourly is not None else "",
        f"{images:,.0f} images/s" if images is not None else "",
        f"{duration(left)} left" if left is not None else "",
    )


def status_tables(studies: Sequence[StudyStatus]) -> RenderableType:
    """Studies with their progress, and below them the trials under way."""
    from rich.console import Group
    from rich.text import Text

    left_out = [Text(status.unreadable, style="yellow") for status in studies if status.unreadable]
    return Group(_study_table(studies), _worker_table(studies), *left_out)


def _study_table(studies: Sequence[StudyStatus]) -> Table:
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    table = Table(title="Studies", title_justify="left")
    table.add_column("study", overflow="fold")
    table.add_column("ended", min_width=10)
    # Rare states have a column only if a trial is in one, so that the table mostly fits into eighty columns.
    usual = (TrialState.DONE, TrialState.LEASED, TrialState.QUEUED)
    states = [*usual, *(s for s in TrialState if s not in usual and any(status.trials[s] for status in studies))]
    searching = any(status.to_ask for status in studies)
    for name in [*states, *(["to ask"] if searching else [])]:
        table.add_column(state_text(name), justify="right")
    table.add_column("pace")
    for status in studies:
        ended = sum(status.trials[state] for state in FINAL_STATES)
        bar = ProgressBar(total=max(_planned(status), 1), completed=ended, width=10)
        counts = [_count(status, state) for state in states] + ([str(status.to_ask)] if searching else [])
        pace = [*_pace(status), _held_points(status) if status.held else ""]
        table.add_row(one_line(status.study), bar, *counts, ", ".join(filter(None, pace)))
    return table


def _count(status: StudyStatus, state: TrialState) -> str:
    kinds = [(status.pruned, "pruned"), (status.reused, "reused")] if state is TrialState.DONE else []
    told = ", ".join(f"{count} {what}" for count, what in kinds if count)
    return f"{status.trials[state]} ({told})" if told else str(status.trials[state])


def _worker_table(studies: Sequence[StudyStatus]) -> RenderableType:
    from rich.table import Table

    columns = ("worker", "host", "device", "slot", "trial", "attempt", "step", "last beat")
    table = Table(*columns, title="Trials under way", title_justify="left")
    for status in studies:
        for worker in status.workers:
            slot = "" if worker.slot is None else str(worker.slot)
            names = (worker.worker_id, worker.host, worker.device, slot, f"{status.study}/{worker.trial}")
            table.add_row(*map(one_line, names), str(worker.attempt), f"{worker.step:,}", _heartbeat(worker))
    if table.row_count:
        return table
    waiting = any(status.trials[TrialState.QUEUED] or status.to_ask for status in studies)
    return "no trial is under way" + ("; `cifarsweep worker` takes what is queued" if waiting else "")


def _heartbeat(worker: WorkerStatus) -> Text:
    """The last heartbeat, in red if the lease has run out."""
    from rich.text import Text

    ago = "before the machine started" if worker.last_beat_s is None else f"{worker.last_beat_s:.0f} s ago"
    return Text(f"{ago}, lease ran out", style="red") if worker.expired else Text(ago)
