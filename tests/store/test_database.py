"""Transactions, journals and connections that go away."""

import os
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from itertools import chain
from pathlib import Path
from types import SimpleNamespace

import pytest
from scenes import at_once, cut_connections, make_study, must_claim, result, rows_at, steps_of
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError
from support.forks import forks
from support.studies import count_open
from support.waiting import Beside

from cifarsweep.errors import StoreError, StoreUnavailable
from cifarsweep.spec.types import MetricRow
from cifarsweep.store import Store
from cifarsweep.store.driver_errors import as_permanent, translate
from cifarsweep.store.metrics import insert_rows
from cifarsweep.store.sqlite import connect_sqlite, safe_wal, sqlite_driver


@pytest.mark.parametrize(
    ("version", "safe"),
    [
        ((3, 40, 1), False),
        ((3, 44, 5), False),
        ((3, 44, 6), True),
        ((3, 45, 0), False),
        ((3, 50, 6), False),
        ((3, 50, 7), True),
        ((3, 51, 0), False),
        ((3, 51, 2), False),
        ((3, 51, 3), True),
        ((4, 0, 0), True),
    ],
)
def test_wal_only_where_it_can_not_corrupt(version: tuple[int, ...], safe: bool) -> None:
    assert safe_wal(version) is safe


def test_another_sqlite_is_used_only_where_it_is_safe_and_ours_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    def driver(own: tuple[int, ...], other: tuple[int, ...] | None) -> object:
        package = None if other is None else SimpleNamespace(sqlite_version_info=other)
        monkeypatch.setitem(sys.modules, "pysqlite3.dbapi2", package)
        monkeypatch.setattr(sqlite3, "sqlite_version_info", own)
        return "own" if sqlite_driver.__wrapped__() is sqlite3 else "other"

    old, new = (3, 40, 1), (3, 53, 4)
    chosen = [driver(old, new), driver(old, (3, 51, 1)), driver(old, None), driver(new, new)]
    assert chosen == ["other", "own", "own", "own"]


@pytest.mark.parametrize(("safe", "mode"), [(True, "wal"), (False, "persist")])
def test_connections_are_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, safe: bool, mode: str) -> None:
    monkeypatch.setattr("cifarsweep.store.sqlite.safe_wal", lambda version: safe)

    conn = connect_sqlite(tmp_path / "results.db")

    settings = {name: conn.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")}
    assert settings == {"journal_mode": mode, "synchronous": 2}
    assert conn.execute("PRAGMA foreign_keys").fetchone() == (1,)
    assert conn.execute("PRAGMA busy_timeout").fetchone() == (30_000,)
    conn.close()


@pytest.mark.parametrize("read_only", [True, False])
@pytest.mark.parametrize("content", ["no database " * 400, "", None], ids=["text", "empty", "tables of others"])
def test_a_file_that_is_refused_is_closed(
    tmp_path: Path, left_open: Callable[[], list[str]], read_only: bool, content: str | None
) -> None:
    path = tmp_path / "results.db"
    if content is None:
        with closing(sqlite3.connect(path)) as conn:
            conn.execute("CREATE TABLE others (x)")
    else:
        path.write_text(content)

    with pytest.raises(StoreError):
        Store.open(path, read_only=read_only)

    assert left_open() == []


def test_a_file_that_is_locked_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left_open: Callable[[], list[str]]
) -> None:
    monkeypatch.setattr("cifarsweep.store.sqlite._BUSY_TIMEOUT_MS", 10)
    path = tmp_path / "results.db"
    Store.open(path, upgrade=True).close()

    with closing(sqlite3.connect(path, isolation_level=None)) as blocker:
        blocker.execute("BEGIN EXCLUSIVE")
        for read_only in (True, False):
            with pytest.raises(StoreUnavailable):
                Store.open(path, read_only=read_only, known=True)

    assert left_open() == []


def test_whatever_goes_wrong_while_a_store_is_opened_it_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left_open: Callable[[], list[str]]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    path = tmp_path / "results.db"
    Store.open(path, upgrade=True).close()
    monkeypatch.setattr("cifarsweep.store.migrations.check_version", interrupted)

    with pytest.raises(KeyboardInterrupt):
        Store.open(path)

    assert left_open() == []


def test_a_connection_that_another_thread_uses_is_closed_when_it_is_done(
    tmp_path: Path, left_open: Callable[[], list[str]]
) -> None:
    began, ended = threading.Event(), threading.Event()

    def read_slowly(conn: Connection) -> int:
        began.set()
        assert ended.wait(200)
        return int(conn.execute(text("SELECT count(*) FROM cs_study")).scalar_one())

    store = Store.open(tmp_path / "results.db", upgrade=True)
    with ThreadPoolExecutor() as threads:
        reading = threads.submit(store._db.read, read_slowly)
        assert began.wait(200)
        store.close()
        ended.set()

        assert reading.result() == 0

    assert left_open() == []


def test_when_optunas_tables_are_refused_their_connections_are_closed(
    tmp_path: Path, left_open: Callable[[], list[str]]
) -> None:
    path = tmp_path / "results.db"
    with Store.open(path, upgrade=True) as store:
        store.studies.create(make_study())
        store.queue.finish(must_claim(store), [], None, result())
        store.sync_optuna()
    with closing(sqlite3.connect(path)) as conn, conn:
        conn.execute("UPDATE alembic_version SET version_num = 'of the future'")

    with Store.open(path) as store:
        store.queue.finish(must_claim(store), [], None, result())
        assert store.sync_optuna() == 0

    assert left_open() == []


def test_a_wal_database_can_be_read_without_writing_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cifarsweep.store.sqlite.safe_wal", lambda version: True)
    url = f"sqlite:///{tmp_path / 'results.db'}"
    with Store.open(url, upgrade=True) as store:
        store.studies.create(make_study())

    with Store.open(url, read_only=True) as store:
        assert count_open(store) == 6


def test_a_read_only_store_writes_nothing(url: str) -> None:
    with Store.open(url) as store:
        store.studies.create(make_study())

    with Store.open(url, read_only=True) as store:
        assert count_open(store) == 6
        with pytest.raises(StoreError, match="is read-only"):
            store.queue.claim("w")
        assert store.admin.check() == []


def test_readers_do_not_wait_for_a_writer(busy_store: Store) -> None:
    lease = must_claim(busy_store)

    def look(conn: Connection) -> int:
        insert_rows(conn, lease.trial_id, rows_at(1))
        return count_open(busy_store)

    assert busy_store._db.write(look) == 6


def test_a_reader_sees_one_state(busy_store: Store) -> None:
    count = text("SELECT count(*) FROM cs_trial WHERE state = 'leased'")

    def look_twice(conn: Connection) -> tuple[int, int]:
        before = conn.execute(count).scalar_one()
        if busy_store._db.path is None:
            must_claim(busy_store)  # SQLite without WAL makes the writer wait, which is as good
        return before, conn.execute(count).scalar_one()

    assert busy_store._db.read(look_twice) == (0, 0)


def test_a_lock_that_stays_is_an_outage_not_a_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cifarsweep.store.sqlite._BUSY_TIMEOUT_MS", 50)
    path = tmp_path / "results.db"
    with Store.open(f"sqlite:///{path}", upgrade=True) as store:
        store.studies.create(make_study())
        blocker = sqlite3.connect(path, isolation_level=None)
        blocker.execute("BEGIN EXCLUSIVE")

        with pytest.raises(StoreUnavailable, match="has held its lock for too long") as caught:
            store.queue.claim("w")
        blocker.execute("ROLLBACK")
        blocker.close()

        assert caught.value.exit_code == 75
        assert must_claim(store).number == 0


def test_a_full_disk_is_an_outage_for_a_new_database_too(small_disk: Path) -> None:
    with pytest.raises(StoreUnavailable, match="small/new.db: the disk is full; .*make room") as caught:
        Store.open(small_disk / "new.db", upgrade=True)

    assert caught.value.exit_code == 75
    assert list(small_disk.iterdir()) == []


def test_a_full_disk_is_an_outage_on_a_server_too() -> None:
    class NoRoom(Exception):
        """What psycopg raises for SQLSTATE 53100."""

        sqlstate = "53100"

    text = 'could not extend file "base/5/16384": No space left on device'

    found = as_permanent(translate(OperationalError(None, None, NoRoom(text)), "postgresql://server/db"))

    assert found.exit_code == 75
    assert str(found) == f"postgresql://server/db: the disk of the server is full ({text}); make room and go on"


def test_a_write_has_the_lock_before_its_first_statement(tmp_path: Path) -> None:
    path = tmp_path / "results.db"

    def somebody_else_writes(conn: Connection) -> None:
        other = sqlite3.connect(path, isolation_level=None, timeout=0)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        other.close()

    with Store.open(f"sqlite:///{path}", upgrade=True) as store:
        store._db.write(somebody_else_writes)


def test_a_cut_connection_is_replaced(cleared_postgres: str) -> None:
    with Store.open(cleared_postgres) as store:
        store.studies.create(make_study())
        lease = store.queue.write(must_claim(store), rows_at(1))
        cut_connections(cleared_postgres)

        lease = store.queue.write(lease, rows_at(2))

        assert (lease.flush_seq, steps_of(store)) == (2, [1, 2])


def test_a_connection_that_is_cut_within_the_transaction_costs_nothing(cleared_postgres: str) -> None:
    with Store.open(cleared_postgres) as store:
        store.studies.create(make_study())
        lease = must_claim(store)
        tries = []

        def work(conn: Connection) -> None:
            insert_rows(conn, lease.trial_id, rows_at(len(tries)))
            tries.append(1)
            if len(tries) == 1:
                cut_connections(cleared_postgres)

        store._db.write(work)

        assert (len(tries), steps_of(store)) == (2, [1])


def die_within_a_transaction(url: str) -> None:
    with Store.open(url) as store:
        lease = must_claim(store, "victim")
        lease = store.queue.write(lease, rows_at(*range(1, 100)))

        def work(conn: Connection) -> None:
            # More than SQLite keeps in memory, so that half of it is in the file when the process ends.
            insert_rows(conn, lease.trial_id, [MetricRow("lost", step, 0.5) for step in range(200_000)])
            os.kill(os.getpid(), signal.SIGKILL)

        store._db.write(work)


def test_a_writer_that_is_killed_leaves_a_whole_database(url: str) -> None:
    with Store.open(url) as store:
        store.studies.create(make_study())
    process = forks().Process(target=die_within_a_transaction, args=(url,))
    process.start()
    process.join(200)

    assert process.exitcode == -signal.SIGKILL
    with Store.open(url) as store:
        assert steps_of(store, "lost") == []
        assert len(steps_of(store)) == 99
        assert store.admin.check() == []
        assert store.queue.claim("next").number == 1


def begin_to_write_and_be_killed(url: str) -> None:
    with Store.open(url) as store:

        def work(conn: Connection) -> None:
            conn.exec_driver_sql("PRAGMA cache_size = 5")
            insert_rows(conn, 1, [MetricRow("lost", step, 0.5) for step in range(50_000)])
            os.kill(os.getpid(), signal.SIGKILL)

        store._db.write(work)


@pytest.mark.parametrize("already_open", [True, False])
def test_who_only_reads_sees_what_was_committed_before_a_writer_was_killed(tmp_path: Path, already_open: bool) -> None:
    """In the middle of a transaction that was larger than memory, so that a half of it is in the file."""
    url = f"sqlite:///{tmp_path / 'results.db'}"
    with Store.open(url, upgrade=True) as store:
        store.studies.create(make_study())
        must_claim(store)
    early = Store.open(url, read_only=True) if already_open else None
    process = forks().Process(target=begin_to_write_and_be_killed, args=(url,))
    process.start()
    process.join(200)
    assert process.exitcode == -signal.SIGKILL

    with early or Store.open(url, read_only=True) as reader:
        assert count_open(reader) == 6
        assert reader.metrics.read("s", ["lost"]) == {}
        with pytest.raises(StoreError, match="is read-only"):
            reader.queue.claim("w")


def test_threads_share_a_store(busy_store: Store) -> None:
    def work(name: str) -> list[int]:
        numbers = []
        while lease := busy_store.queue.claim(name):
            busy_store.queue.finish(lease, rows_at(1), None, result())
            numbers.append(lease.number)
        return numbers

    claimed = at_once(*(partial(work, f"w{place}") for place in range(4)))

    assert sorted(chain(*claimed)) == list(range(6))


def test_a_connection_that_gets_no_answer_is_hung_up_on_and_the_work_done_over_another_one(
    cleared_postgres: str,
) -> None:
    """As by a worker whose server was paused; here it is asleep for longer than a test may take."""
    waits = iter([3600, 0])
    asleep = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
    with Store.open(cleared_postgres) as store, Store.open(cleared_postgres) as other:
        hangs_up = Beside(
            lambda: other._db.read(lambda conn: conn.execute(asleep).scalar_one()),
            store.abort_connections,
            interrupts=False,
        )

        found = store._db.read(lambda conn: conn.execute(text(f"SELECT 7 FROM pg_sleep({next(waits)})")).scalar())

        hangs_up.check()
        assert found == 7
