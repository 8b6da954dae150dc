"""Reads the records of event files, which are framed as in TFRecord files.

A record is the length of its data with 8 bytes and their checksum, and the data and theirs. A checksum is a CRC-32C,
rotated by 15 bits to the right, plus a constant (https://www.tensorflow.org/tutorials/load_data/tfrecord). The package
tensorboard works it out byte by byte in Python, which took most of the time of an import; here those of many records
are worked out at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

#: Records, and bytes, that are read and checked at once.
_MOST_RECORDS, _MOST_BYTES = 10_000, 16_000_000
#: For so many records of one length on numpy is faster than Python.
_MANY = 32
_HEADER, _SUM = 12, 4
_ONES, _ADDED = np.uint32(0xFFFFFFFF), np.uint32(0xA282EAD8)
_CUT, _DAMAGED = "ends in the middle of a record", "is damaged from a place on"


class Unreadable(Exception):
    """A file that ends within a record, is damaged, or is no event file."""

    def __init__(self, cut: str, reason: str = "files that are no event files of TensorBoard") -> None:
        super().__init__(cut)
        self.reason = reason


def records(file: Path) -> Iterator[bytes]:
    """Yield the data of each record. Raises Unreadable at the first one that is damaged or not whole."""
    try:
        with file.open("rb") as opened:
            size, cut = opened.seek(0, 2), None
            opened.seek(0)
            while cut is None and opened.tell() < size:
                headers, bodies, cut = _read(opened, size)
                good = min(_first_bad(headers), _first_bad(bodies))
                yield from (body[:-_SUM] for body in bodies[:good])
                if good < len(headers):
                    cut = _DAMAGED
            if cut is not None:
                raise Unreadable(cut)
    except OSError as error:
        raise Unreadable("", f"files that can't be read: {error.strerror or error}") from None


def _read(opened: BinaryIO, size: int) -> tuple[list[bytes], list[bytes], str | None]:
    """Read the next headers and bodies, each with its checksum; a text where the file ends within one."""
    headers: list[bytes] = []
    bodies: list[bytes] = []
    at = opened.tell()
    until = min(size, at + _MOST_BYTES)
    while at < until and len(bodies) < _MOST_RECORDS:
        header = opened.read(_HEADER)
        length = int.from_bytes(header[:8], "little")
        at += _HEADER + length + _SUM
        if len(header) < _HEADER or at > size:
            damaged = len(header) == _HEADER and _first_bad([header]) == 0
            return headers, bodies, _DAMAGED if damaged else _CUT
        headers.append(header)
        bodies.append(opened.read(length + _SUM))
    return headers, bodies, None


def _first_bad(blocks: Sequence[bytes]) -> int:
    """Return the place of the first block whose last 4 bytes are not the checksum of the others, or their number."""
    by_length: dict[int, list[int]] = {}
    for place, block in enumerate(blocks):
        by_length.setdefault(len(block), []).append(place)
    first = len(blocks)
    for length, places in by_length.items():
        rows = np.frombuffer(b"".join(blocks[place] for place in places), np.uint8).reshape(-1, length)
        said = np.ascontiguousarray(rows[:, -_SUM:]).view("<u4")[:, 0]
        wrong = np.flatnonzero(_sums(rows[:, :-_SUM]) != said)
        first = min([first, *(places[at] for at in wrong[:1])])
    return first


def _sums(rows: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint32]:
    """Return the checksum of each row."""
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import CRC_TABLE, masked_crc32c

    if len(rows) < _MANY:
        return np.array([masked_crc32c(row.tobytes()) for row in rows], np.uint32)
    table, sums = np.array(CRC_TABLE, np.uint32), np.full(len(rows), _ONES, np.uint32)
    for column in np.ascontiguousarray(rows.T):
        sums = table[(sums ^ column) & 0xFF] ^ (sums >> 8)
    sums ^= _ONES
    masked: npt.NDArray[np.uint32] = ((sums >> np.uint32(15)) | (sums << np.uint32(17))) + _ADDED
    return masked
