"""The environment of child processes that need no database, without anything that leads to one."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import unquote

#: Ours (who is told of events too), every variable of PostgreSQL's library, and the names that hosts and frameworks
#: give to a database's URL or password: www.postgresql.org/docs/current/libpq-envars.html.
_NAMES = re.compile(
    r"CIFARSWEEP_(DB|NOTIFY)|PG[A-Z][A-Z_]*"
    r"|(.*_)?(DB|DATABASE|POSTGRES(QL)?|PG|SQLALCHEMY)_(.*_)?(URL|URI|DSN|PASS|PASSWD|PASSWORD|PW|PWD|SECRET)(_.*)?",
    re.IGNORECASE,
)
#: A database's URL or a connection string, under any name.
_VALUES = re.compile(r"\b(postgres(ql)?|mysql|mariadb|mssql|oracle)(\+\w+)?://|\bpassword\s*=", re.IGNORECASE)
_PASSWORD_NAMES = re.compile(r"(.*_)?(PG)?(PASS|PASSWD|PASSWORD|PW|PWD|SECRET)(_.*)?", re.IGNORECASE)
_PASSWORD = re.compile(r"://[^/@\s]*?:([^/@\s]+)@|\bpassword\s*=\s*(\S+)", re.IGNORECASE)
#: A shorter text may be the value of variables that have nothing to do with a database.
_SHORTEST_PASSWORD = 4


def without_database(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment (by default this process's) without the address, the user and the password of a database.

    A training process lives for days, and all processes of its user can read its environment in `/proc`.
    """
    environ = os.environ if environ is None else environ
    private = {name for name, value in environ.items() if _NAMES.fullmatch(name) or _VALUES.search(value)}
    texts = [environ[name] for name in private] + [word for word in sys.argv if _VALUES.search(word)]
    # Other variables may repeat the values of those that are called passwords.
    named = {environ[name] for name in private if _PASSWORD_NAMES.fullmatch(name) and _is_long(environ[name])}
    secrets = named | set(_inside(texts))
    return {name: value for name, value in environ.items() if name not in private and value not in secrets}


def _inside(texts: Iterable[str]) -> Iterator[str]:
    """The passwords inside URLs and connection strings, quoted as they stand there and unquoted."""
    for text in texts:
        groups = (group for found in _PASSWORD.finditer(text) for group in found.groups() if group)
        yield from (each for group in groups for each in (group, unquote(group)) if _is_long(each))


def _is_long(text: str) -> bool:
    return len(text) >= _SHORTEST_PASSWORD
