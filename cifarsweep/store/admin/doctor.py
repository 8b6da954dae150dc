"""Checks of `doctor`: is the database reachable and writable, what holds its locks, do the clocks agree."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import URL, Connection, text

from cifarsweep.errors import StoreError
from cifarsweep.store import migrations, sqlite_file, unreadable_rows
from cifarsweep.store.admin import check
from cifarsweep.store.database import Database, backend_of
from cifarsweep.store.leases import machine_clock
from cifarsweep.store.schema import PREFIX
from cifarsweep.store.sqlite import sqlite_driver
from cifarsweep.store.url import file_of, parse_url

Level = Literal["ok", "warn", "fail"]

#: Longest wait for SQLite's write lock: workers hold it for milliseconds.
_LOCK_WAIT_S = 2.0
#: Difference of clocks that is reported, in seconds.
_SKEW_S = 5.0
#: Free bytes below which a disk is a warning, and below which it is a failure.
_LOW, _NOTHING = 5 << 30, 200 << 20
#: Missing rights before the rest is only counted.
_SHOWN = 4
_LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")

# Only sessions that waited for seconds are stuck: workers wait for each other for milliseconds all the time.
_SESSIONS = text("""
SELECT a.pid, a.usename, a.client_addr, a.application_name, coalesce(a.state, 'unknown') AS state,
       coalesce(extract(epoch FROM clock_timestamp() - a.state_change), 0) AS since_s,
       (SELECT count(*) FROM pg_stat_activity w
        WHERE a.pid = ANY(pg_blocking_pids(w.pid)) AND clock_timestamp() - w.query_start > interval '2s') AS blocks
FROM pg_stat_activity a
WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() AND a.backend_type = 'client backend'
""")

# One privilege a row: PostgreSQL takes a list of privileges as "any of these".
_MISSING = text("""
SELECT needed.what || ' on ' || c.relname
FROM pg_class c
JOIN (VALUES ('r', 'SELECT'), ('r', 'INSERT'), ('r', 'UPDATE'), ('r', 'DELETE'), ('S', 'USAGE')) AS needed(kind, what)
  ON needed.kind = c.relkind::text
WHERE starts_with(c.relname, :prefix) AND pg_table_is_visible(c.oid)
  AND NOT CASE c.relkind WHEN 'S' THEN has_sequence_privilege(c.oid, needed.what)
                         ELSE has_table_privilege(c.oid, needed.what) END
ORDER BY c.relname, needed.what
""")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's table. A finding that is not ok says what to do."""

    subject: str
    level: Level
    text: str


def examine(url: str) -> Iterator[Finding]:
    """All findings about the database at `url`; fewer if it can't be opened or written."""
    try:
        parsed = parse_url(url)
    except StoreError as error:
        yield Finding("database", "fail", str(error))
        return
    file = file_of(parsed)
    yield from _open(parsed) if file is None else _file(file)


def disk(subject: str, folder: Path) -> Finding:
    """The free space on the disk of `folder`, which need not exist."""
    here = next(each for each in (folder, *folder.absolute().parents) if each.is_dir())
    free = shutil.disk_usage(here).free
    level: Level = "ok" if free >= _LOW else "warn" if free >= _NOTHING else "fail"
    advice = "" if level == "ok" else "; make room: what was committed is safe, but nothing more may fit"
    return Finding(subject, level, f"{free / 1e9:,.1f} GB free at {here}{advice}")


def _file(path: Path) -> Iterator[Finding]:
    kind = sqlite_file.file_system(path, Path("/proc/mounts"))
    try:
        sqlite_file.check_file(path, create=False, read_only=True)
    except StoreError as error:
        yield Finding("database", "fail", str(error))
        return
    yield Finding("file system", "ok", kind or "unknown to this system; it must be a local disk")
    yield disk("disk of the database", path.parent)
    try:
        # Before the lock: SQLite grants the lock of a read-only file to every process.
        sqlite_file.check_file(path, create=False, read_only=False)
    except StoreError as error:
        yield Finding("rights", "fail", f"{error}; reports still can be made")
    else:
        lock = _lock(path)
        yield lock
        if lock.level == "fail":
            return
    yield from _open(parse_url(path))


def _lock(path: Path) -> Finding:
    """Try to take SQLite's write lock, and name the processes that hold the file."""
    began = time.monotonic()
    with closing(sqlite_driver().connect(path, timeout=_LOCK_WAIT_S, isolation_level=None)) as conn:
        try:
            conn.execute("BEGIN IMMEDIATE")
            conn.execute("ROLLBACK")
        except sqlite_driver().Error as error:
            if "locked" not in str(error):
                return Finding("lock", "warn", f"can't be tried ({error}); the line of the database says what to do")
            who = ", ".join(_holders(path)) or "a process of another user or machine"
            return Finding("lock", "fail", f"held for more than {_LOCK_WAIT_S:.0f} s; open in {who}; end what hangs")
    waited_ms = 1e3 * (time.monotonic() - began)
    who = ", ".join(_holders(path)) or "no other process"
    return Finding("lock", "ok", f"free within {waited_ms:.0f} ms; open in {who}")


def _holders(path: Path) -> list[str]:
    """Processes that have the file open, as far as this user may see; never their arguments, which may be secret."""
    import psutil

    found = []
    for process in psutil.process_iter(["name", "username"]):
        with suppress(psutil.Error, OSError):
            if process.pid != psutil.Process().pid and any(each.path == str(path) for each in process.open_files()):
                found.append(f"{process.info['name']} (pid {process.pid}, {process.info['username']})")
    return found


def _open(url: URL) -> Iterator[Finding]:
    try:
        db = Database(url, read_only=True)
    except StoreError as error:
        yield Finding("database", "fail", str(error))
        return
    with closing(db):
        try:
            db.ping()
            migrations.check_version(db)
            found = db.read(lambda conn: list(_contents(conn, db)))
        except StoreError as error:
            found = [Finding("database", "fail", str(error))]
    yield from found


def _contents(conn: Connection, db: Database) -> Iterator[Finding]:
    yield Finding("database", "ok", f"{db.redacted_url}, {db.backend.version(conn)}")
    if db.backend.file_based:
        yield _machine_clock()
    else:
        yield _server_clock(conn)
        yield _rights(conn)
        yield from _sessions(conn, db.url)
    yield from _leases(conn)
    yield from _studies(conn)


def _machine_clock() -> Finding:
    if machine_clock() == "wall":
        return Finding("clock", "warn", "leases go by the wall clock, as this system counts no boots: don't set it")
    return Finding("clock", "ok", "leases go by the time since this machine was started, which can't be set")


def _server_clock(conn: Connection) -> Finding:
    before = time.time()
    server = backend_of(conn).read_clock(conn)[1]
    after = time.time()
    skew = server - (before + after) / 2
    advice = "leases go by the server's, so nothing is lost, but set this machine's: moments in reports come from it"
    level: Level = "ok" if abs(skew) <= _SKEW_S + (after - before) else "warn"
    return Finding(
        "clock", level, f"the server's is {skew:+.2f} s from ours" + (f"; {advice}" if level != "ok" else "")
    )


def _rights(conn: Connection) -> Finding:
    """Whether this role of PostgreSQL may do what a worker does."""
    missing = conn.execute(_MISSING, {"prefix": PREFIX}).scalars().all()
    if not missing:
        return Finding("rights", "ok", "a worker may write every table")
    first = ", ".join(missing[:_SHOWN]) + (f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else "")
    advice = "let the owner GRANT SELECT, INSERT, UPDATE, DELETE on all tables and USAGE on all sequences"
    return Finding("rights", "fail", f"a worker lacks {first}: {advice}; reports still can be made")


def _sessions(conn: Connection, url: URL) -> Iterator[Finding]:
    rows = conn.execute(_SESSIONS).all()
    stuck = [_stuck(row) for row in rows if row.blocks or (row.state == "idle in transaction" and row.since_s > 10)]
    yield from stuck
    if not stuck:
        yield Finding("lock", "ok", f"{len(rows)} other sessions, none waits for another")
    encrypted = conn.execute(text("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")).scalar()
    if encrypted:
        yield Finding("TLS", "ok", "the connection is encrypted")
    elif url.host and not url.host.startswith("/") and url.host not in _LOCAL_HOSTS:
        yield Finding("TLS", "warn", "the connection is not encrypted; add ?sslmode=verify-full to the URL")


def _stuck(row: Any) -> Finding:
    who = f"{row.usename} at {row.client_addr or 'the server'}, {row.application_name or 'unnamed'}"
    what = f"session {row.pid} ({who}) is {row.state} for {row.since_s:.0f} s and blocks {row.blocks} others"
    end = f"SELECT pg_terminate_backend({row.pid}) ends it; nothing that was committed is lost"
    return Finding("lock", "fail" if row.blocks else "warn", f"{what}; {end}")


def _leases(conn: Connection) -> Iterator[Finding]:
    stale = list(check.stale_leases(conn))
    if stale:
        yield Finding("leases", "warn", f"{len(stale)} ran out, {stale[0]}; start a worker")
    else:
        yield Finding("leases", "ok", "none has run out")


def _studies(conn: Connection) -> Iterator[Finding]:
    """Studies that this version can't read; workers and reports leave them out."""
    for sentence in unreadable_rows.specifications(conn):
        yield Finding("study", "warn", sentence)
