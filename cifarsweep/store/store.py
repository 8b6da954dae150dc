"""The store as the other rooms see it: one object, plain records in and out."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self, TypeVar

from sqlalchemy import Connection

from cifarsweep.errors import (
    StoreError,
    StoreUnavailable,
    StudyExists,
    StudyRefused,
    UnknownStudy,
    UnreadableStudy,
)
from cifarsweep.spec.study import Study
from cifarsweep.spec.types import AttemptEnd, CheckpointRef, MetricRow, TrialResult, TrialState
from cifarsweep.store import imports, migrations, studies, study_data, unreadable_rows
from cifarsweep.store import trials as results
from cifarsweep.store import url as address
from cifarsweep.store.admin import backup
from cifarsweep.store.admin import check as integrity
from cifarsweep.store.cells import Cells
from cifarsweep.store.database import Database, backend_of
from cifarsweep.store.driver_errors import final
from cifarsweep.store.leases import Timing
from cifarsweep.store.metrics import read_names, read_row_counts, read_series, read_under
from cifarsweep.store.optuna_view.projection import Projection, refuse_foreign, untold
from cifarsweep.store.queue import claim as queue
from cifarsweep.store.queue import control, fence, workers
from cifarsweep.store.queue import crashes as blame
from cifarsweep.store.queue.crashes import Crash
from cifarsweep.store.records import (
    Created,
    Environment,
    FinishedRun,
    Lease,
    Series,
    Steered,
    StoredStudy,
    StudyRow,
    StudyStatus,
    TrialRow,
    Want,
    WorkerInfo,
)
from cifarsweep.store.search import SearchTrials, record

T = TypeVar("T")
#: Seconds after which a trial that could not be read is looked at again: somebody may have mended it.
_LOOK_AGAIN_S = 60.0
_NONE: Mapping[int, bool] = MappingProxyType({})


class Store:
    """A database of studies. Safe to share between threads; another process opens its own.

    Every method raises StoreUnavailable where the database is away or busy, after a few tries of its own.
    """

    def __init__(self, db: Database, timing: Timing) -> None:
        self._db = db
        self._cells = Cells()
        self._readable: dict[tuple[int, str], str] = {}
        self._left: dict[int, str] = {}
        self._look_again_at = 0.0
        self._projection = Projection(db)
        self.timing = timing
        self.upgraded_from: str | None = None
        """The older version that the database was of when it was opened here."""
        self.search = SearchTrials(db)

    @classmethod
    def open(
        cls,
        url: str | Path,
        *,
        upgrade: bool = False,
        read_only: bool = False,
        older: bool = False,
        known: bool = False,
        timing: Timing | None = None,
    ) -> Self:
        """Open the database at `url`, or the SQLite file of that path; `upgrade` creates or upgrades its tables.

        Raises StoreError where it is not there, not ours, of another version, read-only or out of reach; where it is
        `known` to exist, StoreUnavailable says that it is out of reach for now. With `older`, an SQLite file may be of
        an earlier version, for `backup` and nothing else.
        """
        parsed = address.parse_url(url)
        timing = timing or Timing.from_env()
        with backend_of(parsed).opening(parsed, create=upgrade, read_only=read_only):
            db, before = Database(parsed, read_only=read_only), None
            try:
                db.first_contact()
                if upgrade:
                    before = migrations.upgrade(db)
                    if not db.backend.file_based:
                        # Workers need no right to create tables there, so Optuna's must be there before them.
                        Projection(db).prepare()
                else:
                    migrations.check_version(db, older=older)
            except StoreError as error:
                db.close()
                raise error if known else final(error) from None
            except BaseException:
                db.close()
                raise
        store = cls(db, timing)
        store.upgraded_from = before
        return store

    @classmethod
    def open_backup(cls, file: Path) -> Self:
        """Open what `backup` wrote, to restore from it. Raises StoreError, of the file and not of a --db."""
        backup.check_backup(file)
        return cls.open(file, read_only=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        self._projection.close()
        self._db.close()

    def close_when_unused(self) -> None:
        """Close every connection when the last reference to this store goes, for owners whom nobody closes."""
        weakref.finalize(self, self._db.close)

    def hang_up(self) -> None:
        """Cut the connections in use, from another thread; what waits on them is tried again or StoreUnavailable."""
        self._db.hang_up()

    @property
    def shown_url(self) -> str:
        """Where the database is, without its password."""
        return self._db.shown

    def create_study(self, study: Study, *, extend: bool = False, other_data: bool = False) -> Created:
        """Add the study and its trials; nothing happens where it is there already.

        With `other_data` its trials may be trained on images that differ between workers.

        Raises StudyExists with the differences where one of that name holds other contents, or, with `extend`, where
        more than cells and seeds was added; or where Optuna has one of that name that is none of ours.
        """

        def work(conn: Connection) -> Created:
            refuse_foreign(conn, study.name)
            return studies.create(conn, study, extend=extend, other_data=other_data)

        with self._blaming(study.name):
            return self._change(work, lambda created: created.added)

    def add_seeds(self, study: str, added: Sequence[tuple[str, int]], plans: Sequence[Sequence[int]] = ()) -> int:
        """Add trials to single cells, by cell and seed, and plan looks at the data; those known stay as they are.

        Returns how many trials were not there before. Raises UnknownStudy, or StoreError for a cell that it lacks.
        """
        with self._blaming(study):
            return self._change(lambda conn: studies.add_seeds(conn, study, added, plans), int)

    def plans(self, study: str, seeds: int | None = None) -> tuple[tuple[int, ...], ...]:
        """The numbers of seeds at which a study is looked at, by plan; empty where there is none but the first look.

        With `seeds`, what they would become if `create_study` gave every cell so many.
        """
        return self._read(study, lambda conn: studies.plans_of(conn, study, seeds))

    def import_study(self, study: Study, runs: Sequence[FinishedRun]) -> int:
        """Add a study of runs that were trained elsewhere; returns its trials. Raises StudyExists."""

        def work(conn: Connection) -> int:
            refuse_foreign(conn, study.name)
            return imports.add(conn, study, runs)

        return self._change(work, int)

    def studies(self) -> list[StudyRow]:
        """Every study, oldest first, also those that can't be read."""
        return self._db.read(studies.listed)

    def study(self, name: str) -> StoredStudy:
        """One study with its specification. Raises UnknownStudy, which lists what there is, or UnreadableStudy.

        Of a study whose rows this version can't read, every method that is about it raises UnreadableStudy.
        """
        return self._read(name, lambda conn: studies.read(conn, name))

    def claim(
        self,
        worker_id: str,
        *,
        studies: Sequence[str] | None = None,
        slot: int | None = None,
        environment: Environment | None = None,
    ) -> Lease | None:
        """Take the next trial of the named studies, or of all, for a slot of the worker; None where none is due now.

        Trials of workers that vanished come first, put back to their newest checkpoint. Raises StudyRefused where the
        trial is of a study whose trials train on other images than those of the worker's `environment`.
        """
        want = Want(worker_id, studies, slot, environment)
        asked = False

        def work(conn: Connection) -> Lease | None:
            nonlocal asked
            again, asked = asked, True
            return queue.claim(conn, self._cells, want, self.timing.lease_s, left=self._left, again=again)

        return self._claiming(work)

    def write(
        self,
        lease: Lease,
        rows: Sequence[MetricRow],
        checkpoint: CheckpointRef | None = None,
        decisions: Mapping[int, bool] = _NONE,
    ) -> Lease:
        """Record rows and a checkpoint in one transaction, and renew the lease; no rows is a plain heartbeat.

        `decisions` say for steps that were evaluated whether the trial ends there, where its study may end it early.
        Returns the lease to go on with. After StoreUnavailable, write again with the old one, with the same rows or
        more: what had been committed in spite of the error is not written twice. Raises LeaseLost.
        """

        def work(conn: Connection) -> Lease:
            renewed = fence.write(conn, lease, rows, checkpoint)
            record(conn, lease.trial_id, decisions)
            return renewed

        return self._db.write(work)

    def rewind(self, lease: Lease, step: int) -> Lease:
        """Forget rows and checkpoints after `step`, as when a checkpoint turned out broken. Raises LeaseLost."""
        return self._db.write(lambda conn: fence.rewind(conn, lease, step))

    def finish(
        self,
        lease: Lease,
        rows: Sequence[MetricRow],
        checkpoint: CheckpointRef | None,
        result: TrialResult,
        want: Want | None = None,
        decisions: Mapping[int, bool] = _NONE,
    ) -> Lease | None:
        """The trial is done, however it ended; `want` claims the next one in the same transaction.

        Returns what `claim` would. After StoreUnavailable, send it again with the same want: a trial that was taken in
        spite of the error is found again. Raises LeaseLost, and then nothing was taken. A study that refuses the
        worker's images is for `claim` to tell.
        """

        def end(conn: Connection) -> bool:
            first_time = fence.finish(conn, lease, rows, checkpoint, result)
            record(conn, lease.trial_id, decisions)
            return first_time

        def work(conn: Connection) -> Lease | None:
            first_time = end(conn)
            if want is None:
                return None
            return queue.claim(conn, self._cells, want, self.timing.lease_s, left=self._left, again=not first_time)

        try:
            return self._claiming(work)
        except StudyRefused:
            # The end was rolled back with the claim.
            self._db.write(end)
            return None

    def refused(self, data: Mapping[str, Mapping[str, str]]) -> dict[str, StudyRefused]:
        """Which studies, of those given with the digests of a worker's data sets, train on other images than these."""
        return self._db.read(lambda conn: study_data.refused(conn, data))

    def fail(
        self,
        lease: Lease,
        end: AttemptEnd,
        error: str,
        traceback: str,
        rows: Sequence[MetricRow] = (),
        checkpoint: CheckpointRef | None = None,
    ) -> TrialState:
        """The attempt failed by EXCEPTION, OUT_OF_MEMORY or CRASHED; what it reached stands. Raises LeaseLost.

        Returns the trial's state: queued for another try after a while, or failed or poisoned for good.
        """
        return self._db.write(
            lambda conn: fence.fail(conn, lease, end, error, traceback, rows, checkpoint, self.timing)
        )

    def release(self, lease: Lease, rows: Sequence[MetricRow], checkpoint: CheckpointRef | None) -> None:
        """Give the trial back, as on Ctrl-C; the next worker goes on from the newest checkpoint. Raises LeaseLost."""
        self._db.write(lambda conn: fence.release(conn, lease, rows, checkpoint))

    def _claiming(self, work: Callable[[Connection], T]) -> T:
        """Write, and again without a trial that can't be read: nothing is lost by it but that trial."""
        if self._left and time.monotonic() > self._look_again_at:
            self._left.clear()
        while True:
            try:
                return self._db.write(work)
            except queue.Left as found:
                self._look_again_at = time.monotonic() + _LOOK_AGAIN_S
                self._left[found.trial_id] = str(found)

    @property
    def left(self) -> list[str]:
        """Why trials that are free were not taken by this process: a sentence on each."""
        return list(self._left.values())

    def pause(self, study: str, number: int | None = None) -> Steered:
        """Let the study, or one trial, wait; a trial that a worker holds stops at a checkpoint.

        This and the next four raise UnknownStudy, or StoreError where the one trial is final.
        """
        return self._steer(study, lambda conn: control.pause(conn, study, number))

    def resume(self, study: str, number: int | None = None) -> Steered:
        """Undo `pause`."""
        return self._steer(study, lambda conn: control.resume(conn, study, number))

    def cancel(self, study: str, number: int | None = None) -> Steered:
        """Give the study's open trials, or one trial, up for good."""
        return self._steer(study, lambda conn: control.cancel(conn, study, number))

    def retry(self, study: str, number: int | None = None) -> Steered:
        """Queue the study's failed, poisoned and cancelled trials again, or one of them, from its newest checkpoint."""
        return self._steer(study, lambda conn: control.retry(conn, study, number))

    def prioritize(self, priority: int, study: str, number: int | None = None) -> Steered:
        """Let the study's open trials, or one trial, be claimed before those of a lower priority; 0 is the default."""
        return self._steer(study, lambda conn: control.prioritize(conn, study, number, priority))

    def _steer(self, study: str, work: Callable[[Connection], Steered]) -> Steered:
        with self._blaming(study):
            return self._change(work, lambda change: change.now + change.soon + change.points)

    def _change(self, work: Callable[[Connection], T], size: Callable[[T], int]) -> T:
        """The answer that tells of most: a try after one that was committed, with its answer lost, changes nothing."""
        answers: list[T] = []

        def change(conn: Connection) -> None:
            try:
                answers.append(work(conn))
            except StudyExists:
                if not answers:
                    raise

        self._db.write(change)
        return max(answers, key=size)

    def crashed_only_here(self, worker_id: str, crashes: Sequence[Crash]) -> list[Crash]:
        """Those, of trials and attempts whose child died at this worker, whose trials took down no child elsewhere."""
        return self._db.read(lambda conn: blame.only_here(conn, worker_id, crashes))

    def forgive(self, worker_id: str, crashes: Sequence[Crash]) -> int:
        """Take back crashes that this worker counted: the machine was at fault. Returns how many."""
        return self._db.write(lambda conn: blame.forgive(conn, worker_id, crashes))

    def register_worker(self, info: WorkerInfo) -> None:
        """Make a worker known, before its first claim."""
        self._db.write(lambda conn: workers.register(conn, info))

    def beat_worker(self, worker_id: str) -> None:
        """Say that the worker is alive; `write` says it for a trial."""
        self._db.write(lambda conn: workers.beat(conn, worker_id))

    def end_worker(self, worker_id: str) -> None:
        """Say that the worker has gone."""
        self._db.write(lambda conn: workers.end(conn, worker_id))

    def unfinished(self, studies: Sequence[str] | None = None) -> int:
        """Trials that are not final, of the named studies or of all, but for those that were `left`."""
        return self._db.read(lambda conn: queue.unfinished(conn, studies, self._left))

    def next_due(self, studies: Sequence[str] | None = None) -> float | None:
        """Seconds until a queued trial is due or a lease runs out; None where all trials are final."""
        return self._db.read(lambda conn: queue.next_due(conn, studies))

    def status(self, study: str | None = None, *, speeds: bool = False) -> list[StudyStatus]:
        """How far the study is, or every study; `speeds` adds the images per second. Raises UnknownStudy.

        Also of studies that can't be read, which say why.
        """
        return self._db.read(lambda conn: results.status(conn, study, speeds=speeds, known=self._readable))

    def trials(self, study: str) -> list[TrialRow]:
        """Every trial of a study by number, with its attempts. Raises UnknownStudy."""
        return self._read(study, lambda conn: results.trials(conn, study))

    def trial(self, study: str, number: int) -> TrialRow:
        """One trial. Raises UnknownStudy, or StoreError with the numbers there are."""
        with self._blaming(study):
            return self._db.read(lambda conn: results.one_trial(conn, study, number))

    def metrics(
        self, study: str, names: Iterable[str], *, only: Sequence[int] | None = None
    ) -> dict[tuple[int, str], Series]:
        """Steps (int64, ascending) and values (float64) by trial number and metric name; no key where no rows.

        `only` are the numbers of the trials that are wanted, where it is not all.
        """
        return self._read(study, lambda conn: read_series(conn, studies.study_id(conn, study), names, only))

    def row_counts(self, study: str, names: Iterable[str] | None, only: Sequence[int]) -> dict[int, int]:
        """How many rows of the metrics `names`, or of all where it is None, each of the trials `only` has.

        Raises UnknownStudy.
        """
        return self._read(study, lambda conn: read_row_counts(conn, studies.study_id(conn, study), names, only))

    def counts(self, study: str, prefix: str, only: Sequence[int]) -> dict[int, dict[str, float]]:
        """The metrics whose names begin with `prefix`, with one row of each, by the numbers of the trials `only`.

        Raises UnknownStudy.
        """
        return self._read(study, lambda conn: read_under(conn, studies.study_id(conn, study), prefix, only))

    def metric_names(self, study: str) -> list[str]:
        """Every metric that any trial of the study has a row of, in order. Raises UnknownStudy."""
        return self._read(study, lambda conn: read_names(conn, studies.study_id(conn, study)))

    def _read(self, name: str, work: Callable[[Connection], T]) -> T:
        """Read of one study. Raises UnknownStudy, or UnreadableStudy, which is no reason to leave others out."""
        with self._blaming(name):
            try:
                return self._db.read(work)
            except (StoreUnavailable, UnknownStudy, UnreadableStudy):
                raise
            except StoreError as error:
                raise UnreadableStudy(name, f"study {name!r} can't be read: {error}") from None

    @contextmanager
    def _blaming(self, name: str) -> Iterator[None]:
        """Say which row of a study it was that nobody could work with. Raises UnreadableStudy."""
        try:
            yield
        except (ValueError, TypeError, LookupError, ArithmeticError):
            found = self._db.read(lambda conn: unreadable_rows.of_study(conn, name))
            if found is None:
                raise
            raise found from None

    def tell(self, limit: int = 100) -> int:
        """Tell Optuna of at most `limit` final trials that it does not know yet; returns how many.

        Nothing hangs on it, so nothing is raised: where another process is telling or the database is busy, it returns
        0 and the trials stay for the next call.
        """
        return self._projection.tell(limit)

    @property
    def telling_fails(self) -> bool:
        """Whether Optuna could not be told, for a reason that waiting does not mend; it was logged."""
        return self._projection.failing

    def untold(self) -> int:
        """Final trials that Optuna does not know yet."""
        return self._db.read(untold)

    def check(self) -> list[str]:
        """What is wrong with the database, a sentence each; empty where all is well."""
        return integrity.check(self._db)

    def backup(self, out: Path) -> None:
        """Write a copy of the present state to `out`, an SQLite file, while others go on. Raises StoreError."""
        backup.backup(self._db, out)

    def restore(self, copy: Store) -> int:
        """Fill this empty database from such a copy; returns the number of trials. Raises StoreError."""
        return backup.restore(copy._db, self._db)
