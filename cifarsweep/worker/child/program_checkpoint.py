"""The checkpoint of a program as bytes: a line of JSON, and then the file, or the folder as a tar archive."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cifarsweep.errors import CheckpointError
from cifarsweep.files import remove

_FORMAT, _FILE, _FOLDER = 1, "file", "folder"


def pack(path: Path, header: Mapping[str, object]) -> memoryview:
    """Return a file or folder as the contents of a checkpoint. Raises OSError if it can't be read."""
    packed = io.BytesIO()
    kind = _FOLDER if path.is_dir() else _FILE
    packed.write(json.dumps({"program checkpoint": _FORMAT, "kind": kind, **header}).encode() + b"\n")
    if kind == _FILE:
        packed.write(path.read_bytes())
    else:
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for each in sorted(path.iterdir()):
                archive.add(each, each.name)
    return packed.getbuffer()


def unpack(contents: bytes, path: Path) -> dict[str, Any]:
    """Write the file or folder to `path` and return the header.

    Raises CheckpointError if it is none of a program, or if its archive would write outside of `path`.
    """
    line, _, rest = contents.partition(b"\n")
    try:
        header = json.loads(line)
        kind, known = header["kind"], header["program checkpoint"] == _FORMAT
    except (ValueError, KeyError, TypeError):
        raise CheckpointError("it is no checkpoint of a program") from None
    if not known:
        raise CheckpointError("it was written by a newer version of cifarsweep")
    if kind == _FILE:
        path.write_bytes(rest)
        return dict(header)
    path.mkdir()
    try:
        with tarfile.open(fileobj=io.BytesIO(rest)) as archive:
            # No links and no paths that lead outside (docs.python.org/3/library/tarfile.html, "Extraction filters").
            archive.extractall(path, filter="data")
    except (tarfile.TarError, OSError) as error:
        remove(path)
        raise CheckpointError(f"its archive can't be unpacked: {error}") from None
    return dict(header)
