"""What a program writes, however the system cuts it: lines as a terminal shows them, metrics, and a tail for people."""

import io
import json
import math
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cifarsweep.errors import CheckpointError
from cifarsweep.spec.program import ReadRule
from cifarsweep.spec.types import MetricRow
from cifarsweep.worker.child.program_checkpoint import pack, unpack
from cifarsweep.worker.child.program_messages import Log, ProgramError, Progress, header, parse, progress_of, rows_of
from cifarsweep.worker.child.program_output import LineReader, Output

PIECES = st.lists(st.integers(1, 30), min_size=1)


def cut(data: bytes, pieces: list[int]) -> list[bytes]:
    """The data in pieces of these sizes, again and again."""
    found, at = [], 0
    while at < len(data):
        size = pieces[len(found) % len(pieces)]
        found.append(data[at : at + size])
        at += size
    return found


@given(st.lists(st.binary(max_size=20).map(lambda line: line.replace(b"\n", b"").replace(b"\r", b""))), PIECES)
def test_lines_do_not_depend_on_how_they_arrive(lines, pieces):
    reader = LineReader(100)

    found = [line for piece in cut(b"".join(line + b"\n" for line in lines), pieces) for line in reader.feed(piece)]

    assert found == lines and reader.rest() == b"" and not reader.cut


@given(st.binary(min_size=0, max_size=400), PIECES, st.integers(1, 50))
def test_no_line_takes_more_memory_than_it_may(data, pieces, longest):
    reader = LineReader(longest)

    found = [line for piece in cut(data, pieces) for line in reader.feed(piece)]

    whole = [line.rstrip(b"\r") for line in data.split(b"\n")]
    assert all(len(line) <= longest for line in found)
    assert reader.cut == any(len(line) > longest for line in data.split(b"\n"))
    if not reader.cut:
        assert [*found, reader.rest()] == whole


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (b"10%\r20%\rdone\n", ["done"]),
        (b"10%\r20%\r\n", ["20%"]),
        (b"plain\r\n", ["plain"]),
        (b"\r50%\r\r\n", ["50%"]),
        (b"\x1b[1;32mgreen\x1b[0m\x1b[K\n", ["green"]),
        (b"\x1b]0;title\x07text\n", ["text"]),
        ("30 % █████\n".encode(), ["30 % █████"]),
        (b"\xff\n", ["�"]),
    ],
)
@given(pieces=PIECES)
def test_a_line_is_what_a_terminal_shows_at_its_end(written, shown, pieces):
    output = Output({}, 0)

    for piece in cut(written, pieces):
        assert list(output.feed(piece)) == []

    assert output.tail().splitlines() == shown


def test_a_bar_that_is_drawn_for_days_takes_no_memory():
    reader = LineReader(1 << 14, redraws=True)

    for step in range(100_000):
        assert list(reader.feed(b"\r%d of many" % step)) == []

    assert list(reader.feed(b"\n")) == [b"99999 of many"] and not reader.cut


def test_metrics_are_found_with_their_steps_counted_captured_and_scaled():
    rules = {
        "accuracy": ReadRule(pattern=r"acc ([\d.]+)%", scale=0.01),
        "loss": ReadRule(pattern=r"(?P<step>[\d,]+): (?P<value>\S+)"),
    }
    output = Output(rules, begin_after=4)

    found = list(output.feed(b"acc 10%\nnothing\n1,000: nan\nacc 20%\n1,001: -inf\nacc 3"))
    found += list(output.feed(b"0% 1,002: 1,234.5"))
    found += list(output.end())

    accuracies = [row for row in found if row.name == "accuracy"]
    assert accuracies == [MetricRow("accuracy", step, value * 0.01) for step, value in ((5, 10), (6, 20), (7, 30))]
    losses = {row.step: row.value for row in found if row.name == "loss"}
    assert math.isnan(losses[1000]) and losses[1001] == -math.inf and losses[1002] == 1234.5


@pytest.mark.parametrize("line", [b"acc x", b"acc 1e", b"acc 1 at 1e400", b"acc 1 at x"])
def test_what_is_no_number_is_named(line):
    rules = {"accuracy": ReadRule(pattern=r"acc (?P<value>\S+)( at (?P<step>\S+))?")}
    if b" at " not in line:
        rules = {"accuracy": ReadRule(pattern=r"acc (\S+)")}

    with pytest.raises(ValueError, match="'accuracy' finds no number in 'acc"):
        list(Output(rules, 0).feed(line + b"\n"))


def test_two_hundred_lines_are_kept_for_people():
    output = Output({}, 0)

    list(output.feed(b"".join(b"%d\n" % number for number in range(1000))))

    assert output.tail().splitlines() == [str(number) for number in range(800, 1000)]


@given(st.integers(0, 2**53), st.dictionaries(st.text(), st.floats(), max_size=3))
def test_every_float_arrives_with_all_its_bits(step, metrics):
    line = json.dumps({"log": {"step": step, "metrics": metrics}}).encode()

    found = parse(line).log

    assert isinstance(found, Log)
    assert {(row.name, row.step, row.value.hex()) for row in rows_of(found)} == {
        (name, step, value.hex()) for name, value in metrics.items()
    }


@given(st.one_of(st.binary(max_size=50), st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps)))
def test_no_line_does_more_than_be_refused(line):
    with pytest.raises(ProgramError, match="to the worker's pipe that is no"):
        parse(line if isinstance(line, bytes) else line.encode())


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 9), st.booleans()), max_size=12))
def test_what_is_accepted_comes_once_and_again_from_every_checkpoint(reports):
    """Rows of each metric rise, and those up to a checkpoint came before it, whatever a program tries."""
    progress, rows, saved = Progress(), list[MetricRow](), list[tuple[int, int]]()
    for name, step, saves in reports:
        try:
            progress.add(MetricRow(name, step, 1.0))
            rows.append(MetricRow(name, step, 1.0))
            if saves and step:
                progress.saved(step)
                saved.append((step, len(rows)))
        except ProgramError:
            continue

    for name in ("a", "b"):
        steps = [row.step for row in rows if row.name == name]
        assert steps == sorted(set(steps))
    for step, count in saved:
        assert all(row.step <= step for row in rows[:count]) and all(row.step > step for row in rows[count:])


def test_progress_travels_with_a_checkpoint(tmp_path):
    progress = Progress({"a": (3, 0.1), "b": (2, math.nan)}, 3)
    (tmp_path / "written").write_bytes(b"\nbytes\n")

    contents = bytes(pack(tmp_path / "written", header(progress, 1.5)))
    found, elapsed_s = progress_of(unpack(contents, tmp_path / "read"), 3)

    assert (tmp_path / "read").read_bytes() == b"\nbytes\n"
    assert elapsed_s == 1.5 and found.last["a"] == (3, 0.1) and math.isnan(found.last["b"][1])
    assert (found.checkpoint_step, found.step) == (3, 3)


@pytest.mark.parametrize("name", ["../outside", "/outside"])
def test_an_archive_writes_nothing_outside_of_its_folder(tmp_path, name):

    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(name if name.startswith(".") else f"{tmp_path}{name}"), io.BytesIO())
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc"
        archive.addfile(link)
    contents = b'{"program checkpoint": 1, "kind": "folder"}\n' + packed.getvalue()

    with pytest.raises(CheckpointError, match="can't be unpacked"):
        unpack(contents, tmp_path / "read")

    assert not (tmp_path / "outside").exists() and not (tmp_path / "read").exists()


@pytest.mark.parametrize("contents", [b"", b"PK\x03\x04", b"[]\n", b'{"kind": "file"}\n', b"\xff\xfe\n"])
def test_other_files_are_no_checkpoints(tmp_path, contents):
    with pytest.raises(CheckpointError, match="no checkpoint of a program"):
        unpack(contents, tmp_path / "read")


TORCHRUN = """ValueError: one
[rank1]: Traceback (most recent call last):
[rank1]:     raise RuntimeError("two")
[rank1]: RuntimeError: two
    raise ChildFailedError(
torch.distributed.elastic.multiprocessing.errors.ChildFailedError: 
============================================================
Root Cause (first observed failure):
  traceback : To enable traceback see: elsewhere
============================================================

"""


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("", ""),
        ("\n \n", ""),
        ("ValueError: one\n  no such file: x  \n\n", "no such file: x"),
        (TORCHRUN, "RuntimeError: two"),
        (TORCHRUN.replace("[rank1]: ", "    "), "ValueError: one"),
        ("my.own.LoadError: no such file\n----\n", "my.own.LoadError: no such file"),
        ("bad luck\n====\n", "bad luck"),
        ("====\n----\n", "----"),
    ],
)
def test_the_reason_of_a_failure_is_the_line_that_says_it(written, reason):
    output = Output({}, 0)

    list(output.feed(written.encode()))

    assert output.reason() == reason
