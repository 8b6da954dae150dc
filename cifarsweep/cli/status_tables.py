"""The tables of `status`, on a screen of any width: where a table is too wide, one of fewer columns, or lines."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from cifarsweep.formatting import duration, state_text
from cifarsweep.spec.metrics import TRAIN_LOSS, VAL_ACCURACY
from cifarsweep.spec.types import FINAL_STATES, StopRequest, TrialState
from cifarsweep.text import one_line

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.table import Table
    from rich.text import Text

    from cifarsweep.store.status_records import StudyStatus, WorkerStatus

#: Titles of columns, each with how Rich draws it.
_Columns: TypeAlias = Sequence[tuple[str, dict[str, Any]]]

#: Studies that are named where they share a line.
_NAMED = 5
#: The columns of a trial under way that go first where a screen is narrow.
_DROPPED = ("host", "device", "worker", "attempt", "slot", "last beat", "loss")
#: Wider than any table.
_ANY = 10_000
_RIGHT: dict[str, Any] = {"justify": "right"}


def status_tables(studies: Sequence[StudyStatus], *, every: bool = False) -> RenderableType:
    """Studies with their progress, and below them the trials under way.

    While one study goes on, those that are over share a line, unless `every` one is to have a row.
    """
    from rich.console import Group
    from rich.text import Text

    going_on = [status for status in studies if not _is_over(status)]
    shown, folded = (studies, []) if every or not going_on else (going_on, [one for one in studies if _is_over(one)])
    lines = [Text(_folded_text(folded))] if folded else []
    left_out = [Text(status.unreadable, style="yellow") for status in studies if status.unreadable]
    return Group(_study_table(shown), *lines, _worker_table(studies), *left_out)


def study_line(status: StudyStatus) -> str:
    """One study in a line, without its name."""
    counts = [f"{status.trials[TrialState.DONE]} of {_planned(status)} done"]
    others = ((state, count) for state, count in status.trials.items() if count and state is not TrialState.DONE)
    counts[0] += f" ({status.reused} reused)" if status.reused else ""
    counts += [f"{count} {state_text(state)}" for state, count in others]
    counts += [_held_points(status)] if status.held else []
    return "; ".join([", ".join(counts), *filter(None, _pace(status))])


def _planned(status: StudyStatus) -> int:
    return sum(status.trials.values()) + status.to_ask


def _held_points(status: StudyStatus) -> str:
    """The points that a search will not ask for, in words."""
    return f"{status.held} points {'paused' if status.stop_request is StopRequest.PAUSE else 'given up'}"


def _pace(status: StudyStatus) -> tuple[str, str, str]:
    """Trials an hour, images a second and time left; empty if unknown."""
    hourly, images, left = status.trials_per_h, status.images_per_s, status.left_s
    return (
        f"{hourly:,.1f} trials/h" if hourly is not None else "",
        f"{images:,.0f} images/s" if images is not None else "",
        f"{duration(left)} left" if left is not None else "",
    )


def _is_over(status: StudyStatus) -> bool:
    return not status.unreadable and _ended(status) == _planned(status)


def _ended(status: StudyStatus) -> int:
    return sum(status.trials[state] for state in FINAL_STATES)


def _folded_text(studies: Sequence[StudyStatus]) -> str:
    """Name the newest of the studies that are over, with how their trials ended; `studies` is oldest first."""
    named = [f"{one_line(status.study)} ({_ends(status)})" for status in studies[::-1][:_NAMED]]
    more = len(studies) - len(named)
    rest = f" and {more} more" if more else ""
    return f"over: {', '.join(named)}{rest}; --all shows {'them' if len(studies) > 1 else 'it'}"


def _ends(status: StudyStatus) -> str:
    counts = [f"{status.trials[state]} {state}" for state in FINAL_STATES if status.trials[state]]
    return ", ".join(counts) or "no trial"


@dataclass(frozen=True, slots=True)
class _Fitting:
    """The first of several renderables that the screen has room for, or the last one."""

    candidates: Sequence[Callable[[], RenderableType]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        from rich.measure import Measurement

        whole = options.update(width=_ANY, max_width=_ANY)
        for make in self.candidates[:-1]:
            if Measurement.get(console, whole, found := make()).maximum <= options.max_width:
                yield found
                return
        yield self.candidates[-1]()


def _table(title: str, columns: _Columns, rows: Sequence[Sequence[RenderableType]], *dropped: str) -> Table:
    """A table without the `dropped` columns."""
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    kept = [at for at, (name, _) in enumerate(columns) if name not in dropped]
    for at in kept:
        name, how = columns[at]
        table.add_column(name, **how)
    for row in rows:
        table.add_row(*(row[at] for at in kept))
    return table


def _lines(title: str, lines: Sequence[RenderableType]) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    return Group(Text(title, style="italic"), *lines)


def _study_table(studies: Sequence[StudyStatus]) -> RenderableType:
    from rich.progress_bar import ProgressBar

    # Rare states have a column only if a trial is in one.
    usual = (TrialState.DONE, TrialState.LEASED, TrialState.QUEUED)
    states = [*usual, *(s for s in TrialState if s not in usual and any(status.trials[s] for status in studies))]
    searching = any(status.to_ask for status in studies)
    counted = [*map(state_text, states), *(["to ask"] if searching else [])]
    columns: list[tuple[str, dict[str, Any]]] = [("study", {"overflow": "fold"}), ("ended", {"min_width": 10})]
    columns += [*((name, _RIGHT) for name in counted), ("pace", {})]

    def rows(between: str) -> list[list[RenderableType]]:
        found: list[list[RenderableType]] = []
        for status in studies:
            bar = ProgressBar(total=max(_planned(status), 1), completed=_ended(status), width=10)
            counts = [_count(status, state) for state in states] + ([str(status.to_ask)] if searching else [])
            told = [*_pace(status), _held_points(status) if status.held else ""]
            found.append([one_line(status.study), bar, *counts, between.join(filter(None, told))])
        return found

    title = "Studies"
    return _Fitting(
        [
            lambda: _table(title, columns, rows(", ")),
            lambda: _table(title, columns, rows(", "), "ended"),
            lambda: _table(title, columns, rows("\n"), "ended"),
            lambda: _lines(title, [f"{one_line(status.study)}: {study_line(status)}" for status in studies]),
        ]
    )


def _count(status: StudyStatus, state: TrialState) -> str:
    kinds = [(status.pruned, "pruned"), (status.reused, "reused")] if state is TrialState.DONE else []
    told = ", ".join(f"{count} {what}" for count, what in kinds if count)
    return f"{status.trials[state]} ({told})" if told else str(status.trials[state])


def _worker_table(studies: Sequence[StudyStatus]) -> RenderableType:
    held = [(status.study, worker) for status in studies for worker in status.workers]
    if not held:
        waiting = any(status.trials[TrialState.QUEUED] or status.to_ask for status in studies)
        return "no trial is under way" + ("; `cifarsweep worker` takes what is queued" if waiting else "")
    whole: dict[str, Any] = {"overflow": "fold"}
    columns = [("trial", whole), ("attempt", _RIGHT), ("step", _RIGHT), ("loss", _RIGHT), ("accuracy", _RIGHT)]
    columns += [("worker", whole), ("host", whole), ("device", whole), ("slot", _RIGHT), ("last beat", {})]
    rows = [[_name(study, worker), *_trial_cells(worker), *_worker_cells(worker)] for study, worker in held]
    title = "Trials under way"
    tables = [partial(_table, title, columns, rows, *_DROPPED[:count]) for count in range(len(_DROPPED) + 1)]
    return _Fitting([*tables, lambda: _lines(title, [_worker_line(study, worker) for study, worker in held])])


def _name(study: str, worker: WorkerStatus) -> Text:
    """STUDY/TRIAL, in red if the lease has run out: the column that says so is not on every screen."""
    from rich.text import Text

    return Text(one_line(f"{study}/{worker.trial}"), style="red" if worker.expired else "")


def _worker_line(study: str, worker: WorkerStatus) -> Text:
    """A trial under way in a line, for a screen that has no room for its table."""
    from rich.text import Text

    _, step, loss, main = _trial_cells(worker)
    accuracy = f"accuracy {main}" if main and worker.metric == VAL_ACCURACY else main
    told = [f"step {step}", f"loss {loss}" if loss else "", accuracy]
    return Text.assemble(_name(study, worker), f": {', '.join(filter(None, told))}, ", _heartbeat(worker))


def _trial_cells(worker: WorkerStatus) -> list[str]:
    """Attempt, step, loss and accuracy; of a program its own metric stands in the place of the accuracy."""
    of = f" of {worker.total_steps:,}" if worker.total_steps is not None else ""
    main = _newest(worker, worker.metric)
    main = f"{one_line(worker.metric)} {main}" if main and worker.metric != VAL_ACCURACY else main
    step = f"{worker.step:,}{of}"
    return [str(worker.attempt), step, _newest(worker, TRAIN_LOSS), main]


def _worker_cells(worker: WorkerStatus) -> list[RenderableType]:
    slot = "" if worker.slot is None else str(worker.slot)
    return [*map(one_line, (worker.worker_id, worker.host, worker.device)), slot, _heartbeat(worker)]


def _newest(worker: WorkerStatus, metric: str) -> str:
    value = worker.newest.get(metric)
    if value is None:
        return ""
    if not math.isfinite(value):
        return "not finite"
    return f"{100 * value:.1f} %" if metric == VAL_ACCURACY else f"{value:.4g}"


def _heartbeat(worker: WorkerStatus) -> Text:
    """The last heartbeat, in red if the lease has run out."""
    from rich.text import Text

    ago = "before the machine started" if worker.last_beat_s is None else f"{worker.last_beat_s:.0f} s ago"
    return Text(f"{ago}, lease ran out", style="red") if worker.expired else Text(ago)
