"""Who trains on a file has read every byte of it, once."""

import os
from pathlib import Path

import pytest

from cifarsweep.data import catalog, tensor_file
from cifarsweep.data.catalog import VerifiedData
from cifarsweep.data.dataset import load
from cifarsweep.data.tensor_file import MappedFile
from cifarsweep.errors import DataError


@pytest.fixture
def path(root, contents) -> Path:
    found = catalog.path_of("mine", root)
    tensor_file.write(found, contents())
    return found


@pytest.fixture
def readings(monkeypatch) -> list[Path]:
    """Every file whose content is read for its digest."""
    found = []
    read = tensor_file.digest_of_file

    def digest_of_file(path: Path) -> str:
        found.append(path)
        return read(path)

    monkeypatch.setattr(tensor_file, "digest_of_file", digest_of_file)
    return found


def flip(path: Path, place: int = -1000) -> None:
    """Change one bit in place, and let the file look as old as it was."""
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(place, os.SEEK_END if place < 0 else os.SEEK_SET)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_file_is_read_once(root, path, readings):
    verified = VerifiedData(root)

    first, second = verified("mine"), verified("mine")

    assert first == second and first.sha256 == catalog.require("mine", root).sha256
    assert readings == [path]


@pytest.mark.parametrize("place", [-1, -1000, -20_000])
def test_a_changed_byte_is_found_even_where_the_file_looks_as_old(root, path, place):
    verified = VerifiedData(root)
    verified("mine")

    flip(path, place)

    for _ in range(2):
        with pytest.raises(DataError, match="'mine' is damaged.*delete the file.*data import mine"):
            verified("mine")
    with pytest.raises(DataError, match="damaged"):
        VerifiedData(root)("mine")


def test_a_damaged_file_is_read_once_too(root, path, readings):
    flip(path)
    verified = VerifiedData(root)
    for _ in range(3):
        with pytest.raises(DataError):
            verified("mine")

    assert readings == [path]


def test_a_file_that_was_only_touched_is_read_again_and_taken(root, path, readings):
    verified = VerifiedData(root)
    before = verified("mine")

    os.utime(path, ns=(1, 1))

    assert verified("mine").sha256 == before.sha256 and verified("mine") != before
    assert len(readings) == 2


def test_a_file_that_comes_goes_and_is_replaced_is_known_as_it_is_now(root, path, contents):
    verified = VerifiedData(root)
    first = verified("mine").sha256

    tensor_file.write(path, contents(seed=1))
    second = verified("mine").sha256
    path.unlink()
    with pytest.raises(DataError, match="no data set 'mine' here"):
        verified("mine")
    tensor_file.write(path, contents())

    assert first != second and verified("mine").sha256 == first


def test_a_header_that_names_another_digest_is_damage(root, path, contents):
    told, holds = (tensor_file.digest_of(contents(seed=seed)) for seed in (1, 0))
    path.write_bytes(path.read_bytes().replace(holds.encode(), told.encode()))

    with pytest.raises(DataError, match=f"holds {holds[:12]}... where it was written with {told[:12]}"):
        VerifiedData(root)("mine")
    with pytest.raises(DataError, match="does not hold the images of its digest"):
        load("mine", root)


def test_a_file_that_somebody_goes_on_writing_is_refused(root, path, monkeypatch):
    read = tensor_file.digest_of_file
    times = iter(range(1, 100))

    def digest_of_file(path: Path) -> str:
        os.utime(path, ns=(0, next(times)))
        return read(path)

    monkeypatch.setattr(tensor_file, "digest_of_file", digest_of_file)
    with pytest.raises(DataError, match="another process is writing .*mine.safetensors; start again"):
        VerifiedData(root)("mine")


def test_digits_are_made_where_they_are_first_needed(root):
    verified = VerifiedData(root)

    assert verified("digits").train == 1442 and verified("digits").stamp is not None


def test_what_was_read_by_somebody_else_is_not_read_again(root, path, monkeypatch):
    stamp = VerifiedData(root)("mine").stamp
    flip(path)  # nobody looks: the stamp is another one, so it is found all the same
    with pytest.raises(DataError):
        load("mine", root, trusted=stamp)
    flip(path)

    stamp = VerifiedData(root)("mine").stamp
    monkeypatch.setattr(tensor_file, "_digest", lambda *_: pytest.fail("it was read"))
    assert len(load("mine", root, trusted=stamp).train_labels) == 40


@pytest.mark.parametrize("damage", [flip, lambda path: os.truncate(path, 5000), lambda path: os.truncate(path, 0)])
def test_a_mapped_file_tells_when_somebody_writes_into_it(path, damage):
    file = MappedFile(path)
    file.check()

    damage(path)

    with pytest.raises(DataError, match=r"mine.safetensors .*was written to"):
        file.check()


def test_a_mapped_file_stays_itself_where_its_name_goes_to_another(path, contents):
    file = MappedFile(path)
    file.check()
    held = bytes(file.buffer)

    tensor_file.write(path, contents(seed=1))

    file.check()
    assert bytes(file.buffer) == held and MappedFile(path).header.sha256 != file.header.sha256
