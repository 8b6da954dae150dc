"""`pause`, `resume`, `cancel`, `retry` and `priority`: steer a study while workers are at it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cifarsweep.cli.options import DEFAULT_DATABASE, Database
from cifarsweep.cli.trial import parse_trial
from cifarsweep.errors import SpecError

if TYPE_CHECKING:
    from cifarsweep.store.records import Steered

Target = Annotated[str, typer.Argument(metavar="STUDY|STUDY/TRIAL", help="For example demo, or demo/3.")]
_MOST = 1_000_000


def pause(target: Target, db: Database = DEFAULT_DATABASE) -> None:
    """Let trials wait. Those that train stop at a checkpoint, within one beat of their worker."""
    from cifarsweep.store import Store

    with Store.open(db) as store:
        _say(target, store.pause(*_parsed(target)), "{} paused", "{} will pause at their next beat")


def resume(target: Target, db: Database = DEFAULT_DATABASE) -> None:
    """Undo `pause`: trials are queued again and go on from their checkpoints."""
    from cifarsweep.store import Store

    with Store.open(db) as store:
        _say(target, store.resume(*_parsed(target)), "{} queued again", "{} go on without a pause")


def cancel(target: Target, db: Database = DEFAULT_DATABASE) -> None:
    """Give trials up for good: what is queued or paused at once, what trains within one beat of its worker."""
    from cifarsweep.store import Store

    with Store.open(db) as store:
        _say(target, store.cancel(*_parsed(target)), "{} cancelled", "{} will be cancelled at their next beat")


def retry(target: Target, db: Database = DEFAULT_DATABASE) -> None:
    """Queue failed, poisoned and cancelled trials again, from their newest checkpoints."""
    from cifarsweep.store import Store

    with Store.open(db) as store:
        _say(target, store.retry(*_parsed(target)), "{} to be tried again", "{} go on instead of being cancelled")


def priority(
    target: Target,
    value: Annotated[int, typer.Argument(metavar="N", help="Higher comes first; 0 is the default.")],
    db: Database = DEFAULT_DATABASE,
) -> None:
    """Let trials be taken before, or after, those of other priorities."""
    from cifarsweep.store import Store

    if abs(value) > _MOST:
        raise SpecError(f"priority {value}: must lie between -{_MOST:,} and {_MOST:,}")
    with Store.open(db) as store:
        _say(target, store.prioritize(value, *_parsed(target)), f"{{}} have priority {value} now", "")


def _parsed(target: str) -> tuple[str, int | None]:
    """Study and, where one is given, number."""
    return parse_trial(target) if "/" in target else (target, None)


def _say(target: str, done: Steered, now: str, soon: str) -> None:
    """Trials are counted: `3 paused, 2 will pause at their next beat`."""
    words = [text.format(count) for text, count in ((now, done.now), (soon, done.soon)) if count]
    # Trials that are still to come share the fate of those that are there.
    words += [now.format(f"{done.points} points to ask")] if done.points else []
    typer.echo(f"{target}: {', '.join(words) or 'nothing to change among its trials'}")
