"""`pause`, `resume`, `cancel`, `retry` and `priority`: control a study while workers train it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cifarsweep.cli import completion
from cifarsweep.cli.options import DEFAULT_DATABASE, Database
from cifarsweep.cli.show import parse_trial
from cifarsweep.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cifarsweep.store import Store
    from cifarsweep.store.records import ControlResult

Target = Annotated[
    str,
    typer.Argument(metavar="STUDY|STUDY/TRIAL", help="For example demo, or demo/3.", autocompletion=completion.targets),
]
_MOST = 1_000_000


def pause(target: Target, db: Database = DEFAULT_DATABASE) -> None:
    """Let trials wait. Running ones stop at a checkpoint, within one beat of their worker."""
    _change(
        target, db, lambda store, *trials: store.control.pause(*trials), "{} paused", "{} will pause at their next beat"
    )


def resume(target: Target, db: Database = DEFAULT_DATABASE) -> None:
    """Let paused trials go on from their checkpoints."""
    _change(
        target, db, lambda store, *trials: store.control.resume(*trials), "{} queued again", "{} go on without a pause"
    )


def cancel(target: Target, db: Database = DEFAULT_DATABASE) -> None:
    """Cancel trials for good. Queued and paused ones end at once, running ones within one beat of their worker."""
    soon = "{} will be cancelled at their next beat"
    _change(target, db, lambda store, *trials: store.control.cancel(*trials), "{} cancelled", soon)


def retry(target: Target, db: Database = DEFAULT_DATABASE) -> None:
    """Queue failed, poisoned and cancelled trials again. They go on from their newest checkpoints."""
    soon = "{} go on instead of being cancelled"
    _change(target, db, lambda store, *trials: store.control.retry(*trials), "{} to be tried again", soon)


def priority(
    target: Target,
    value: Annotated[int, typer.Argument(metavar="N", help="Higher comes first; 0 is the default.")],
    db: Database = DEFAULT_DATABASE,
) -> None:
    """Let trials be taken before, or after, all others."""
    if abs(value) > _MOST:
        raise SpecError(f"priority {value}: must lie between -{_MOST:,} and {_MOST:,}")
    now = f"{{}} have priority {value} now"
    _change(target, db, lambda store, *trials: store.control.prioritize(*trials, priority=value), now, "")


def _change(target: str, db: str, act: Callable[[Store, str, int | None], ControlResult], now: str, soon: str) -> None:
    """Change the trials and print how many: `3 paused, 2 will pause at their next beat`."""
    from cifarsweep.store import Store

    study, number = parse_target(target)
    with Store.open(db) as store:
        done = act(store, study, number)
    words = [text.format(count) for text, count in ((now, done.applied), (soon, done.pending)) if count]
    # Points that were not asked for yet change too.
    words += [now.format(f"{done.points} points to ask")] if done.points else []
    typer.echo(f"{target}: {', '.join(words) or 'nothing to change among its trials'}")


def parse_target(target: str) -> tuple[str, int | None]:
    """The study and, if given, the number. Raises SpecError."""
    if not target:
        raise SpecError("the study's name is empty; write STUDY or STUDY/NUMBER, for example demo/3")
    return parse_trial(target) if "/" in target else (target, None)
