"""Where an export goes: a file or folder that takes its place whole, or standard output."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, TypeVar

from cifarsweep.errors import OutputError
from cifarsweep.files import exists, part
from cifarsweep.text import data_output

if TYPE_CHECKING:
    from cifarsweep.store import Store

#: As much of a path as a message shows.
_LONGEST_SHOWN = 200
#: The beginning of a formula in a spreadsheet (https://owasp.org/www-community/attacks/CSV_Injection).
_FORMULA = re.compile(r"^[=+\-@\t\r\n]")


_Row = TypeVar("_Row")


def begun(rows: Iterator[_Row]) -> Iterator[_Row]:
    """Return the same rows, of which the first is made now: what is refused is refused before anything is written."""
    return chain(list(islice(rows, 1)), rows)


def harmless(text: str) -> str:
    """The text of a field, with an apostrophe in front if a spreadsheet would run it as a formula."""
    return f"'{text}" if _FORMULA.match(text) else text


@contextmanager
def replacing(out: Path, store: Store, *, force: bool, folder: bool = False) -> Iterator[Path]:
    """Yield a path to write to, which replaces `out` at the end.

    Raises OutputError if that must not be replaced, such as the database that is read.
    """
    if _is_database(out, store):
        raise OutputError(f"{out} is the database that is read; give another --out")
    target = Path(os.path.realpath(out))
    shown = str(out) if len(str(out)) <= _LONGEST_SHOWN else f"{str(out)[:_LONGEST_SHOWN]}..."

    def check() -> None:
        if exists(target) and (folder or not target.is_file()):
            raise OutputError(f"{shown} is there already, and only a file replaces a file; give another --out")
        if exists(target) and not force:
            raise OutputError(f"{shown} is there already; give another --out, or --force to replace it")

    try:
        check()
        target.parent.mkdir(parents=True, exist_ok=True)
        with part(target, folder=folder) as written:
            yield written
            # Again: minutes may have passed.
            check()
            os.replace(written, target)
    except OSError as error:
        raise OutputError(f"{shown} can't be written: {error.strerror or error}") from None


def _is_database(out: Path, store: Store) -> bool:
    from cifarsweep.store.url import parse_url

    url = parse_url(store.shown_url)
    with suppress(OSError):
        return url.get_backend_name() == "sqlite" and out.samefile(str(url.database))
    return False


def standard_output(kind: str, texts: Collection[str]) -> TextIO:
    """Return standard output for a kind of file. Raises OutputError if it is closed, or the kind is none of `texts`."""
    if kind not in texts:
        raise OutputError(f"{kind} can't go to standard output; name a path with --out")
    if sys.stdout is None:
        raise OutputError("standard output is closed; name a path with --out")
    output = data_output()
    if isinstance(output, TextIOWrapper):
        # As in a file, whatever the terminal's encoding is: names of cells must not change.
        output.reconfigure(encoding="utf-8", newline="")
    return output
