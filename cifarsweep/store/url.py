"""Database URLs: parse them, and show them without their passwords."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from cifarsweep.errors import StoreError
from cifarsweep.files import no_home

_FORMS = "Write it as sqlite:///file.db or postgresql://user@host/database."


def parse_url(text: str | Path) -> URL:
    """The URL with its driver filled in; a path is that of an SQLite file, whatever characters it has.

    Raises StoreError, which never repeats what was given: it may hold a password.
    """
    if isinstance(text, Path):
        return _sqlite_url(URL.create("sqlite", database=str(text)))
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise StoreError(f"that is no database URL. {_FORMS}") from None
    backend = url.get_backend_name()
    if backend == "sqlite":
        if "?" in text:
            raise StoreError("SQLite takes no options: write sqlite:///file.db, with a '?' in its name as %3F")
        return _sqlite_url(url)
    if backend in ("postgresql", "postgres"):
        if "@" in (url.host or ""):
            raise StoreError("the database URL has an '@' too many: write one inside a password as %40")
        return url.set(drivername="postgresql+psycopg")
    raise StoreError(f"databases of kind {backend!r} are not supported. {_FORMS}")


def _sqlite_url(url: URL) -> URL:
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        raise StoreError("SQLite needs a plain file that all workers can open: write sqlite:///file.db")
    path = Path(url.database)
    # Only the user's own home: `~name` may be a file.
    try:
        path = path.expanduser() if path.parts[0] == "~" else path
    except RuntimeError:
        raise StoreError(f"{path}: {no_home()}; give the whole path of the file") from None
    return url.set(drivername="sqlite+pysqlite", database=str(path.absolute()))


def redacted(url: URL) -> str:
    """The URL for messages, which can be given as a --db again: no password, no options."""
    if url.get_backend_name() == "sqlite":
        return f"sqlite:///{str(url.database).replace('%', '%25').replace('?', '%3F')}"
    plain = URL.create("postgresql", username=url.username, host=url.host, port=url.port, database=url.database)
    return plain.render_as_string()


def file_of(url: URL) -> Path | None:
    """The file of an SQLite database; None for PostgreSQL."""
    return Path(str(url.database)) if url.get_backend_name() == "sqlite" else None
