"""Records of event files: what the reader of the package tensorboard reads, and the same file found damaged."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cifarsweep.export import event_records
from cifarsweep.export.event_records import Unreadable, records

#: Many of one length and few of others.
CONTENTS = st.lists(st.binary(max_size=9) | st.just(b"usual"), max_size=80)


def written(contents: list[bytes]) -> bytes:
    import io

    from tensorboard.summary.writer.record_writer import RecordWriter

    file = io.BytesIO()
    writer = RecordWriter(file)
    for one in contents:
        writer.write(one)
    return file.getvalue()


def told(read) -> tuple[list[bytes], str]:
    """The records until the end, and why it is the end."""
    found = []
    try:
        for record in read:
            found.append(record)
    except Unreadable as error:
        return found, str(error)
    return found, ""


def theirs(path: Path) -> tuple[list[bytes], str]:
    from tensorboard.compat.tensorflow_stub import errors
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import PyRecordReader_New

    reader, found = PyRecordReader_New(str(path)), []
    try:
        while True:
            reader.GetNext()
            found.append(reader.record())
    except errors.OutOfRangeError:
        return found, ""
    except errors.DataLossError as error:
        return found, "ends in the middle of a record" if "truncated" in str(error) else "is damaged from a place on"
    finally:
        reader.file_handle.close()


@given(CONTENTS, st.data())
def test_any_file_is_read_as_tensorboard_reads_it(tmp_path_factory, contents: list[bytes], data) -> None:
    """Given a file that is whole, cut, or has a byte that is another, then records and end are those of tensorboard."""
    whole = bytearray(written(contents))
    if whole and data.draw(st.booleans()):
        whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    path = tmp_path_factory.getbasetemp() / "any.tfevents"
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole)))] if data.draw(st.booleans()) else whole)

    assert told(records(path)) == theirs(path)


def test_a_long_file_is_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_records, "_MOST_RECORDS", 7)
    monkeypatch.setattr(event_records, "_MOST_BYTES", 100)
    contents = [bytes([number]) * (number % 5) for number in range(100)]
    (tmp_path / "f").write_bytes(written(contents) + b"x")

    assert told(records(tmp_path / "f")) == (contents, "ends in the middle of a record")
