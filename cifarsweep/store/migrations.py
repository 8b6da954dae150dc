"""Upgrades the schema, and rejects databases of another version."""

from __future__ import annotations

import logging
from pathlib import Path

from sqlalchemy import Column, Connection, MetaData, String, Table, inspect, select

from cifarsweep.errors import StoreError
from cifarsweep.store.database import Database
from cifarsweep.store.schema import VERSION_TABLE

#: Every revision in order: reading the version needs no Alembic.
REVISIONS = tuple(f"{number:04}" for number in range(1, 18))
HEAD = REVISIONS[-1]

_version = Table(VERSION_TABLE, MetaData(), Column("version_num", String(32), primary_key=True))
#: Any number that no other advisory lock has.
_UPGRADE_LOCK = 0xC1FA_0001


def shipped_folder() -> Path:
    """The folder of the migrations: inside the wheel, or at the top level of a checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "alembic"
    return inside if inside.is_dir() else package.parent / "alembic"


def check_version(db: Database, *, older: bool = False) -> None:
    """Raise StoreError unless the schema is of this version.

    With `older` an SQLite file may have an earlier one: it can be copied as it is.
    """
    found = db.read(_found)
    if found == HEAD:
        return
    if found is None:
        raise _no_studies(db)
    _refuse_newer(found, db)
    if not (older and db.path):
        # Name the file: `db restore` opens two.
        named, copier = (f" --db {db.redacted_url}", "`cifarsweep db backup`") if db.path else ("", "`pg_dump`")
        advice = f"copy it with {copier} before, then run `cifarsweep db upgrade{named}`"
        raise StoreError(f"{db.redacted_url}: is of an older version ({found}); {advice}")


def _no_studies(db: Database) -> StoreError:
    return StoreError(
        f"{db.redacted_url}: holds no studies of cifarsweep yet. Make one with `cifarsweep create STUDY`, "
        "or prepare it with `cifarsweep db upgrade`"
    )


def upgrade(db: Database, *, create: bool = True) -> str | None:
    """Create or upgrade the schema in one transaction. Two at once do it once.

    Raises StoreError for a newer schema, and where there is none and `create` is False.

    Returns the older version that the database was of, if it was of any.
    """
    return db.write(lambda conn: _upgrade(conn, db, create=create))


def _upgrade(conn: Connection, db: Database, *, create: bool) -> str | None:
    db.backend.lock(conn, _UPGRADE_LOCK)
    found = _found(conn)
    if found == HEAD:
        return None
    if found is not None:
        _refuse_newer(found, db)
    elif not create:
        raise _no_studies(db)
    else:
        _refuse_others(conn, db)
    from alembic.config import Config

    from alembic import command

    # Alembic logs every revision; the level of this logger shows them.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    config = Config()
    config.set_main_option("script_location", str(shipped_folder()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = conn
    command.upgrade(config, HEAD)
    return found


def _found(conn: Connection) -> str | None:
    if not inspect(conn).has_table(VERSION_TABLE):
        return None
    return conn.execute(select(_version.c.version_num)).scalar_one_or_none()


def _refuse_others(conn: Connection, db: Database) -> None:
    """Raise StoreError if another program has tables with the names of Optuna's."""
    there = inspect(conn)
    columns = {column["name"] for column in there.get_columns("studies")} if there.has_table("studies") else set()
    of_optuna = {"study_id", "study_name"} <= columns
    clash = next((name for name in ("studies", "alembic_version") if there.has_table(name)), None)
    if clash and not of_optuna:
        raise StoreError(
            f"{db.redacted_url}: holds a table {clash!r} of another program, and Optuna's would have that name; "
            "give a database of its own"
        )


def _refuse_newer(found: str, db: Database) -> None:
    if found not in REVISIONS:
        raise StoreError(
            f"{db.redacted_url}: is a database of a newer version of cifarsweep (schema {found}, this one knows "
            f"{HEAD}); upgrade cifarsweep to use it"
        )
