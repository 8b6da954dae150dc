"""One file per data set: round trip, digest, damage, and writes that happen at once or not at all."""

import os
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from cifarsweep.data import tensor_file
from cifarsweep.data.tensor_file import digest_of, digest_of_file, read_header, write
from cifarsweep.errors import DataError


def test_header_tells_what_was_written(root, contents):
    made = contents(train=7, test=3, classes=('it\'s "<b>"', "großer Hund", "猫"))

    header = write(root / "a.safetensors", made)

    assert read_header(root / "a.safetensors") == header
    assert (header.classes, header.train, header.test) == (made.classes, 7, 3)
    assert header.stop == (root / "a.safetensors").stat().st_size


def test_file_is_a_safetensors_file(root, contents):
    write(root / "a.safetensors", contents())

    with safe_open(root / "a.safetensors", framework="numpy") as found:
        arrays = {name: found.get_tensor(name) for name in found.keys()}  # noqa: SIM118
        metadata = found.metadata()

    assert set(metadata) == {"classes", "source", "sha256"}
    for name in ("train_images", "train_labels", "test_images", "test_labels"):
        assert np.array_equal(arrays.pop(name), getattr(contents(), name))
    assert not arrays


def test_digest_of_the_file_is_that_of_the_contents(root, contents):
    header = write(root / "a.safetensors", contents())

    assert header.sha256 == digest_of(contents()) == digest_of_file(root / "a.safetensors")
    # That of files which exist.
    assert header.sha256 == "910552dcff5c6cde1eaebd1bc09a28e3d88ef286fa95e6b181dc2f8ebdf590f1"


def test_digest_does_not_depend_on_where_it_came_from(contents):
    assert digest_of(replace(contents(), source="elsewhere")) == digest_of(contents())


@pytest.mark.parametrize("part", ["train_images", "train_labels", "test_images", "test_labels"])
def test_digest_covers_every_array(contents, part):
    made = contents()
    changed = getattr(made, part).copy()
    changed.flat[-1] ^= 1

    assert digest_of(replace(made, **{part: changed})) != digest_of(made)


def test_digest_covers_class_names_and_the_border_between_them(contents):
    digests = {digest_of(contents(classes=names)) for names in (("ab", "c"), ("a", "bc"), ("c", "ab"))}

    assert len(digests) == 3


@settings(max_examples=150)
@given(data=st.data())
def test_damaged_header_is_refused_or_harmless(tmp_path, contents, data):
    path = tmp_path / "a.safetensors"
    header = write(path, contents(train=2, test=2))
    raw = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, 700))
    raw[place] = data.draw(st.integers(0, 255))
    path.write_bytes(raw)

    try:
        found = read_header(path)
    except DataError as error:
        assert "a.safetensors" in str(error)
    else:
        assert (found.train, found.test, found.start) == (header.train, header.test, header.start)


@pytest.mark.parametrize("size", [0, 1, 8, 9, 4095, 4096, -1])
def test_cut_file_is_refused(root, contents, size):
    path = root / "a.safetensors"
    write(path, contents())
    path.write_bytes(path.read_bytes()[:size])

    with pytest.raises(DataError, match="damaged.*delete it"):
        read_header(path)


@pytest.mark.parametrize(
    "header",
    [b"[" * 100_000, b"null", b"[]", b'{"__metadata__": 3}', b'{"__metadata__": {"classes": "3"}}', b"\xff\xfe", b"{}"],
)
def test_foreign_header_is_refused(tmp_path, header):
    path = tmp_path / "a.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)

    with pytest.raises(DataError, match="not written by cifarsweep"):
        read_header(path)


def test_folder_in_place_of_the_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="can't read"):
        read_header(tmp_path)


def test_failed_write_leaves_the_old_file_and_nothing_else(root, contents, monkeypatch, left_behind):
    before = write(root / "a.safetensors", contents())
    monkeypatch.setattr(os, "fsync", lambda handle: (_ for _ in ()).throw(OSError(28, "No space left on device")))

    with pytest.raises(DataError, match="No space left on device; make room"):
        write(root / "a.safetensors", contents(seed=1))

    assert read_header(root / "a.safetensors") == before
    assert left_behind(root) == ["a.safetensors"]


def test_contents_that_are_no_data_set_are_not_written(root, contents, left_behind):
    with pytest.raises(DataError):
        write(root / "a.safetensors", contents(test=0))

    assert left_behind(root) == []


def test_readers_only_ever_see_a_whole_file(root, contents):
    path = root / "a.safetensors"
    write(path, contents())
    both = {digest_of(contents(seed=seed)) for seed in (0, 1)}
    writers = [threading.Thread(target=_write_often, args=(path, contents(seed=seed))) for seed in (0, 1)]

    for writer in writers:
        writer.start()
    seen = {digest_of_file(path) for _ in range(50)}
    for writer in writers:
        writer.join()

    assert seen <= both
    assert [file.name for file in root.iterdir()] == ["a.safetensors"]


def _write_often(path: Path, made: tensor_file.Contents) -> None:
    for _ in range(20):
        write(path, made)


def test_mapped_header_and_bytes_survive_a_replacement(root, contents):
    write(root / "a.safetensors", contents())
    file = tensor_file.MappedFile(root / "a.safetensors")
    header, buffer = file.header, file.buffer

    write(root / "a.safetensors", contents(train=4, seed=1))

    first = np.frombuffer(buffer, np.uint8, 3072, header.start)
    assert np.array_equal(first, contents().train_images[0].ravel())
