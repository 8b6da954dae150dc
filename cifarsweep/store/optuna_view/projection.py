"""Optuna's view of our trials: each final trial once, with all that Optuna's own tools show.

Syncing and marking the
trial are two commits, so the process that syncs holds an exclusive lock, and reads what Optuna has before it adds.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any, Literal
from uuid import uuid4

from sqlalchemy import Connection, select, text

from cifarsweep.errors import StoreError, StudyExists, UnreadableStudy
from cifarsweep.spec.metrics import is_loss
from cifarsweep.spec.study import Study
from cifarsweep.spec.types import Outcome, TrialState
from cifarsweep.store.database import Database
from cifarsweep.store.optuna_view.outbox import mark_synced, read_unsynced, studies_waiting, unmark_synced
from cifarsweep.store.optuna_view.parameters import Parameters
from cifarsweep.store.optuna_view.storage import LockHeld, OptunaLink, file_lock, has_tables, quiet
from cifarsweep.store.records import Series
from cifarsweep.store.schema import study
from cifarsweep.store.study_rows import read_study
from cifarsweep.store.trial_records import TrialRow

#: User attribute of an Optuna trial: the number of the trial here.
NUMBER_ATTRIBUTE = "cifarsweep_trial"
#: User attribute of an Optuna study: the parameters that its trials were written with.
_PARAMETERS_ATTRIBUTE = "cifarsweep_parameters"
#: User attribute of an Optuna study: another one in a later study of the same name.
_VIEW_ATTRIBUTE = "cifarsweep_view"
#: Failures in a row after which syncing is given up for now.
_MOST_FAILURES = 5
#: Trials that are synced between two marks.
_BATCH = 50
#: Any number that no other advisory lock has.
_CREATE_LOCK = 0xC1FA_0003
#: An Optuna study with trials and without our mark.
_FOREIGN = (
    "SELECT 1 FROM studies WHERE study_name = :name "
    "AND EXISTS (SELECT 1 FROM trials WHERE trials.study_id = studies.study_id) AND NOT EXISTS "
    "(SELECT 1 FROM study_user_attributes AS mark WHERE mark.study_id = studies.study_id AND mark.key = :ours)"
)

_log = logging.getLogger(__name__)


class Projection:
    """Copies final trials to Optuna. It raises nothing: a later call repeats what failed."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._link: OptunaLink | None = None
        self._sync_lock = threading.Lock()
        self._views: dict[str, str] = {}
        self._warned: set[str] = set()
        self._failures = 0
        self._closed = False

    def prepare(self) -> None:
        """Create Optuna's tables where they are missing."""
        self._db.write(self._create_tables)

    def _create_tables(self, conn: Connection) -> None:
        self._db.backend.lock(conn, _CREATE_LOCK)
        if not has_tables(conn):
            with quiet():
                OptunaLink(self._db, lock=False).close()

    def sync(self, limit: int) -> int:
        """Copy at most `limit` final trials to Optuna; returns how many, 0 while another process or thread syncs."""
        if not self._sync_lock.acquire(blocking=False):
            return 0
        try:
            return self._sync(limit)
        except LockHeld:
            self._close_link()
        except Exception as error:
            # Optuna raises errors of many kinds, and a new version may refuse its older tables.
            self._close_link()
            self._warn_once(_reason(error))
        finally:
            self._sync_lock.release()
            if self._closed:
                self.close()
        return 0

    @property
    def failing(self) -> bool:
        """Whether so many tries in a row failed that waiting won't help."""
        return self._failures >= _MOST_FAILURES

    def close(self) -> None:
        """Close Optuna's connections; a sync under way in another thread closes its own when it ends."""
        self._closed = True
        if self._sync_lock.acquire(blocking=False):
            try:
                self._close_link()
            finally:
                self._sync_lock.release()

    def _close_link(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None

    def _warn_once(self, reason: str) -> None:
        """Warn once: the next trial will fail in the same way."""
        self._failures += 1
        if reason not in self._warned:
            self._warned.add(reason)
            _log.warning("Optuna's view of %s lags behind: %s", self._db.redacted_url, reason)

    def _sync(self, limit: int) -> int:
        waiting = self._db.read(studies_waiting)
        if not waiting:
            return 0
        synced = 0
        with self._exclusive():
            for name in waiting:
                try:
                    synced += self._sync_study(name, limit - synced)
                except LockHeld:
                    raise
                except UnreadableStudy:
                    # Reading or training it reports the error.
                    self._failures += 1
                except StoreError as error:
                    # A study that can't be synced must not block the others.
                    self._warn_once(str(error))
                except Exception as error:
                    self._close_link()
                    self._warn_once(_reason(error))
        if synced:
            self._failures = 0
        return synced

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Hold the lock that makes syncing exclusive. On PostgreSQL it belongs to the connection that syncs."""
        with quiet(), file_lock(self._db.path) if self._db.path else contextlib.nullcontext():
            try:
                yield
            finally:
                if self._link is not None and self._link.locking:
                    self._link.close()

    def _open(self) -> Any:
        if self._link is None:
            self._link = OptunaLink(self._db, lock=not self._db.backend.file_based)
        return self._link.storage

    def _sync_study(self, name: str, limit: int) -> int:
        stored = self._db.read(partial(read_study, name=name))
        parameters = Parameters.of(stored.spec)
        target = self._target(stored.study_id, stored.spec, parameters)
        known = {row.user_attrs.get(NUMBER_ATTRIBUTE) for row in target.get_trials(deepcopy=False)}
        synced = 0
        while batch := self._db.read(
            partial(
                read_unsynced,
                study_id=stored.study_id,
                metric=stored.spec.metric,
                limit=min(_BATCH, limit - synced),
            )
        ):
            for row, series in batch:
                if row.number not in known:
                    target.add_trial(_frozen(row, series, parameters))
            if not self._db.write(
                partial(mark_synced, study_id=stored.study_id, numbers=[row.number for row, _ in batch])
            ):
                break
            synced += len(batch)
        return synced

    def _target(self, study_id: int, spec: Study, parameters: Parameters) -> Any:
        """The Optuna study; rewritten if its parameters differ from ours in shape, or trials were retried."""
        signature = parameters.signature()
        found = self._load(spec.name)
        same = found is not None and found.user_attrs.get(_PARAMETERS_ATTRIBUTE) == signature
        stale = select(study.c.stale).where(study.c.study_id == study_id)
        if same and not self._db.read(lambda conn: conn.execute(stale).scalar_one()):
            return found
        import optuna

        storage = self._open()
        if found is not None:
            if _foreign(found):
                raise StoreError(f"Optuna has a study {spec.name!r} of its own; it stays as it is")
            optuna.delete_study(study_name=spec.name, storage=storage)
        # A new Optuna study has none of our trials, whatever its predecessor had.
        self._db.write(partial(unmark_synced, study_id=study_id))
        direction: Literal["minimize", "maximize"] = "minimize" if is_loss(spec.metric) else "maximize"
        created = optuna.create_study(study_name=spec.name, direction=direction, **_options(storage))
        created.set_user_attr("question", spec.question)
        created.set_user_attr(_VIEW_ATTRIBUTE, uuid4().hex)
        # Last, because it says that the rest is there.
        created.set_user_attr(_PARAMETERS_ATTRIBUTE, signature)
        return created

    def _load(self, name: str) -> Any:
        """The Optuna study of that name, or None.

        Its storage remembers trials by the id of their study, and SQLite gives the id of a deleted study to the next
        one: so a study that somebody else has written anew is read with a storage that remembers nothing.
        """
        import optuna

        try:
            found = optuna.load_study(study_name=name, **_options(self._open()))
            view = found.user_attrs.get(_VIEW_ATTRIBUTE, "")
            if self._views.setdefault(name, view) != view:
                self._views.clear()
                self._close_link()
                found = optuna.load_study(study_name=name, **_options(self._open()))
        except KeyError:
            return None
        return found


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[:1]}"


def _foreign(found: Any) -> bool:
    """Whether it holds trials of another program; one without trials may be left from a killed process of ours."""
    ours = {_PARAMETERS_ATTRIBUTE, _VIEW_ATTRIBUTE} & found.user_attrs.keys()
    return not ours and bool(found.get_trials(deepcopy=False))


def refuse_foreign(conn: Connection, name: str) -> None:
    """Raise StudyExists if Optuna has a study of that name that is not ours: our view would replace it."""
    if not has_tables(conn):
        return
    found = conn.execute(text(_FOREIGN), {"name": name, "ours": _VIEW_ATTRIBUTE}).first()
    if found is not None:
        raise StudyExists(f"Optuna has a study {name!r} of its own in this database; use --as NAME, or another --db")


def _options(storage: Any) -> dict[str, Any]:
    import optuna

    return {"storage": storage, "sampler": optuna.samplers.RandomSampler(), "pruner": optuna.pruners.NopPruner()}


def _frozen(row: TrialRow, series: Series | None, parameters: Parameters) -> Any:
    import optuna

    has_value, states = row.state is TrialState.DONE and row.value is not None, optuna.trial.TrialState
    ended = states.PRUNED if row.outcome is Outcome.PRUNED else states.COMPLETE
    distributions = parameters.distributions(optuna)
    frozen = optuna.trial.create_trial(
        state=ended if has_value else states.FAIL,
        value=row.value if has_value else None,
        params=parameters.encode(row.levels),
        distributions={key: distributions[key] for key in row.levels},
        user_attrs=_attributes(row),
        intermediate_values=dict(zip(*(array.tolist() for array in series), strict=True)) if series else {},
    )
    if row.started_at and row.finished_at:
        # Optuna keeps local times without a zone.
        frozen.datetime_start = row.started_at.astimezone().replace(tzinfo=None)
        frozen.datetime_complete = row.finished_at.astimezone().replace(tzinfo=None)
    return frozen


def _attributes(row: TrialRow) -> dict[str, Any]:
    last = (row.trained_by or row.attempts)[-1] if row.attempts else None
    # Few, because each costs Optuna a millisecond.
    attributes: dict[str, Any] = {
        NUMBER_ATTRIBUTE: row.number,
        "cell": row.cell,
        "seed": row.seed,
        "outcome": row.outcome.value if row.outcome else row.state.value,
        "host": last.host if last else "",
        "device": last.device if last else "",
        "elapsed_s": row.elapsed_s,
    }
    if row.reuse:
        attributes["reused"] = row.reused_text
    if row.state is not TrialState.DONE:
        attributes["error"] = row.error[:200]
    return attributes
