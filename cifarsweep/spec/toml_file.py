"""Reads the text of a study file, which anybody may have written, as tables of TOML."""

from __future__ import annotations

import tomllib
from pathlib import Path

from cifarsweep.errors import SpecError
from cifarsweep.spec.overrides import check_depth
from cifarsweep.spec.validation import Table

#: Bytes of a study file.
LARGEST_FILE = 1 << 20


def parse_file(path: Path) -> Table:
    """Return the tables of a file. Raises SpecError with what is wrong with it."""
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise SpecError(f"{path}: is over 1 MiB; that can't be a study file")
        # Editors on Windows may begin a file with a byte order mark.
        text = path.read_text(encoding="utf-8-sig")
        check_depth(text, str(path))
        return tomllib.loads(text)
    except UnicodeDecodeError:
        raise SpecError(f"{path}: is not UTF-8 text") from None
    except RecursionError:
        raise SpecError(f"{path}: is not valid TOML: it nests too deeply") from None
    # TOML's errors, and Python's own for a number of thousands of digits.
    except ValueError as error:
        raise SpecError(f"{path}: is not valid TOML: {error}") from None
    except OSError as error:
        raise SpecError(f"{path}: can't be read: {error.strerror}") from None
