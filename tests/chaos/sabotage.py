"""Ends or freezes a process at a named point, from outside of the product's code.

A point is `before` or `after` and an event. In the worker the events are statements and COMMITs, in the child they are
calls of the operating system around a checkpoint. It happens once: a marker file says that it did.
"""

from __future__ import annotations

import os
import signal
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.child import once

#: What a worker passes on the way through a trial, and then what it passes when it tells Optuna.
_STATEMENTS = ("claim", "guard", "insert", "point", "finish")
_TELLING = ("tell", "mark")
TRIAL_POINTS = (
    *(f"{when} {event}" for event in _STATEMENTS for when in ("before", "after")),
    *(f"{when} commit {event}" for event in _STATEMENTS for when in ("before", "after")),
    "before unlink",
)
TELL_POINTS = (
    *(f"{when} {event}" for event in _TELLING for when in ("before", "after")),
    *(f"{when} commit {event}" for event in _TELLING for when in ("before", "after")),
)
_INSERTS = {"cs_metric": "insert", "cs_checkpoint": "point", "trials": "tell"}
CHILD_POINTS = ("torn fsync", "before fsync", "before replace", "after replace", "after fsync")
#: What a child passes around a checkpoint that others begin from.
BRANCH_POINTS = ("before branch", "after branch")


@dataclass(frozen=True)
class Sabotage:
    """At the `nth` passing of `point`: kill the process, kill the child and its worker, or stop it."""

    point: str
    marker: str
    act: str = "kill"
    nth: int = 1


class Trap:
    def __init__(self, plan: Sabotage) -> None:
        self.plan = plan
        self._passed = 0

    def __call__(self, point: str) -> bool:
        """Pass a point. Whoever is killed here does not return; True for an act that the caller has to do."""
        if point != self.plan.point:
            return False
        self._passed += 1
        if self._passed < self.plan.nth or not once(Path(self.plan.marker)):
            return False
        if self.plan.act == "kill-both":
            os.kill(os.getppid(), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGSTOP if self.plan.act == "stop" else signal.SIGKILL)
        return True


def _events(statement: str) -> list[str]:
    """The names of what a statement does."""
    if statement.startswith("INSERT"):
        table = statement.split()[2]
        if table == "cs_metric" and "FROM cs_metric" in statement:
            return ["copy"]
        return [_INSERTS[table]] if table in _INSERTS else []
    if statement.startswith(("UPDATE cs_branch", "DELETE FROM cs_branch")):
        return ["keep" if statement.startswith("UPDATE") else "free"]
    if not statement.startswith("UPDATE cs_trial"):
        return []
    if "token=" in statement:
        return ["claim"]
    if "flush_seq=" in statement:
        return ["guard", "finish"] if "outcome=" in statement else ["guard"]
    return ["mark"] if "SET told" in statement else []


def install_in_worker(plan: Sabotage) -> None:
    """Watch every statement, every COMMIT and every removal of a file."""
    from sqlalchemy import Engine, event
    from sqlalchemy.engine.default import DefaultDialect

    trap = Trap(plan)
    under_way: dict[int, list[str]] = defaultdict(list)
    seen: set[str] = set()

    def events_of(statement: str) -> list[str]:
        found = _events(statement)
        seen.update(found)
        # The first checkpoint of its own of a trial that began from one of another trial.
        return [*found, "own"] if found == ["point"] and "copy" in seen else found

    @event.listens_for(Engine, "before_cursor_execute")
    def before(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        for name in events_of(statement):
            trap(f"before {name}")

    @event.listens_for(Engine, "after_cursor_execute")
    def after(conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        for name in events_of(statement):
            under_way[id(conn.connection.dbapi_connection)].append(name)
            trap(f"after {name}")

    commit: Callable[[Any, Any], None] = DefaultDialect.do_commit

    def do_commit(self: Any, connection: Any) -> None:
        names = under_way.pop(id(getattr(connection, "dbapi_connection", connection)), [])
        for name in names:
            trap(f"before commit {name}")
        commit(self, connection)
        for name in names:
            trap(f"after commit {name}")

    DefaultDialect.do_commit = do_commit  # type: ignore[method-assign]
    _around("unlink", trap)


def install_in_child() -> Callable[[str], object]:
    """Watch the calls that make a checkpoint durable, if a victim asked for that; the trap for other points."""
    if "CHAOS_SABOTAGE" not in os.environ:
        return lambda point: None
    point, marker, act, nth = os.environ["CHAOS_SABOTAGE"].split("|")
    trap = Trap(Sabotage(point, marker, act, int(nth)))
    _tear(trap)
    for name in ("fsync", "replace"):
        _around(name, trap)
    return trap


def _around(name: str, trap: Trap) -> None:
    """Call the trap before and after a function of `os`."""
    call: Callable[..., Any] = getattr(os, name)

    def passing(*arguments: Any, **more: Any) -> Any:
        trap(f"before {name}")
        result = call(*arguments, **more)
        trap(f"after {name}")
        return result

    setattr(os, name, passing)


def _tear(trap: Trap) -> None:
    """Die with half of a file written: what reached the disk when the power went."""
    fsync = os.fsync

    def torn(descriptor: int) -> None:
        if trap.plan.point == "torn fsync":
            os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
            trap("torn fsync")
        fsync(descriptor)

    os.fsync = torn
