"""Finds which trials trained the steps that others took over, over as many trials as they went through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, select

from cifarsweep.spec.provenance import Source, trained_by
from cifarsweep.spec.types import TrialState
from cifarsweep.store import columns, rows
from cifarsweep.store.queue.workers import NO_WORKER, KnownWorker, parsed_versions, versions_of, workers_of
from cifarsweep.store.schema import attempt, study, trial
from cifarsweep.store.trial_records import AttemptRow, Reuse

#: In the place of a source's name where its row is gone; `db check` names such trials.
GONE = "a trial that is gone"


@dataclass(slots=True)
class _Trained:
    """A trial that others took steps over from."""

    name: str
    source_id: int | None
    reused_steps: int
    attempts: list[AttemptRow] = field(default_factory=list)


class Sources:
    """The trials from which these trials took steps over, and those that these have them from."""

    def __init__(self, conn: Connection, *wanted: ColumnElement[bool]) -> None:
        self._known: dict[int, _Trained] = {}
        ids = _ids(wanted)
        parse, needed = dict(columns.parsers(trial)), (trial.c.number, trial.c.source_id, trial.c.reused_steps)
        named = select(trial.c.trial_id, study.c.name, *needed).join(study, study.c.study_id == trial.c.study_id)
        for row in conn.execute(named.where(trial.c.trial_id.in_(ids))):
            # A row that can't be read is named with its own study.
            with suppress(columns.BadValue):
                number, source_id, steps = (parse[column.name](row._mapping[column]) for column in needed)
                self._known[row.trial_id] = _Trained(f"{rows.as_name(row.name)}/{number}", source_id, steps)
        if self._known:
            self._read_attempts(conn, ids)

    def _read_attempts(self, conn: Connection, ids: Select[int]) -> None:
        of_them = attempt.c.trial_id.in_(ids)
        about = workers_of(conn, select(attempt.c.worker_id).where(of_them))
        for row in conn.execute(select(attempt).where(of_them).order_by(attempt.c.trial_id, attempt.c.attempt)):
            with suppress(columns.BadValue):
                if known := self._known.get(row.trial_id):
                    known.attempts.append(attempt_row(rows.read(attempt, row), about))

    def waits_for(self, found: Mapping[str, Any]) -> str:
        """STUDY/NUMBER of the trial that a queued one, given by its row, waits for; empty if it waits for none."""
        if not found["waits"] or found["state"] is not TrialState.QUEUED or found["source_id"] is None:
            return ""
        return self._known.get(found["source_id"], _Trained(GONE, None, 0)).name

    def reuse(self, found: Mapping[str, Any]) -> Reuse | None:
        """What a trial took over, given its row; None if it trained all of its steps."""
        sources: list[Source] = []
        attempts: list[AttemptRow] = []
        steps, source_id, seen = found["reused_steps"], found["source_id"], set[int]()
        while source_id is not None and steps > 0 and source_id not in seen:
            seen.add(source_id)
            known = self._known.get(source_id, _Trained(GONE, None, 0))
            sources.append(Source(known.name, steps))
            trained = trained_by(known.attempts, known.reused_steps)
            attempts[:0] = [each for each in trained if each.first_step < steps]
            steps, source_id = min(steps, known.reused_steps), known.source_id
        return Reuse(tuple(sources), found["reused_s"], tuple(attempts)) if sources else None


def _ids(wanted: Sequence[ColumnElement[bool]]) -> Select[int]:
    took = trial.c.source_id.is_not(None) & ((trial.c.reused_steps > 0) | trial.c.waits)
    first = select(trial.c.source_id).where(*wanted, took).cte("sources", recursive=True)
    # UNION keeps each row once, so that trials that name each other end it.
    chain = first.union(select(trial.c.source_id).join(first, first.c.source_id == trial.c.trial_id).where(took))
    return select(chain.c.source_id)


def attempt_row(found: Mapping[str, Any], about: Mapping[str, KnownWorker]) -> AttemptRow:
    """An attempt as its row and that of its worker tell it."""
    known, own = about.get(found["worker_id"], NO_WORKER), found["versions"]
    return AttemptRow(
        attempt=found["attempt"],
        worker_id=found["worker_id"],
        host=known.host,
        device=found["device"] or known.device,
        versions=parsed_versions(own) if found["device"] else versions_of(known.versions, own),
        started_at=found["started_at"],
        ended_at=found["ended_at"],
        end=found["ending"],
        first_step=found["first_step"],
        error=found["error"] or "",
        traceback=found["traceback"] or "",
    )
