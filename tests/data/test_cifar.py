"""CIFAR archives: nothing is opened before its digest is right, and then it can make nothing but arrays."""

import dataclasses
import functools
import hashlib
import http.server
import io
import pickle
import pickletools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cifarsweep.data import catalog, tensor_file
from cifarsweep.data import cifar as download
from cifarsweep.errors import DataError

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 3072), dtype=np.uint8)


def as_python2(tree: Any) -> bytes:
    """Pickle as the CIFAR files were: byte strings of Python 2, and numpy's old module name."""
    raw = pickle.dumps(tree, protocol=3).replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
    for operation, _, place in list(pickletools.genops(raw)):
        old = {"BINBYTES": b"T", "SHORT_BINBYTES": b"U"}.get(operation.name)
        raw = raw if old is None else raw[:place] + old + raw[place + 1 :]
    return raw


def cifar_files(meta: Any = None) -> dict[str, bytes]:
    batches = {f"data_batch_{n}": {"data": PIXELS[2 * n - 2 : 2 * n], "labels": [0, 1]} for n in range(1, 6)}
    batches["test_batch"] = {"data": PIXELS[10:], "labels": [1, 0]}
    files = {name: as_python2(batch) for name, batch in batches.items()}
    files["batches.meta"] = as_python2({"label_names": ["plane", "car"]} if meta is None else meta)
    return {f"cifar-10-batches-py/{name}": data for name, data in files.items()}


@pytest.fixture
def archive(root, tar, monkeypatch) -> Path:
    """A small archive in the downloads folder, and `cifar10` made to expect it."""
    path = download.downloads_folder(root) / "cifar-10-python.tar.gz"
    path.parent.mkdir(parents=True)
    tar(path, cifar_files(), "w:gz")
    expect(monkeypatch, path)
    return path


def expect(monkeypatch: pytest.MonkeyPatch, path: Path, **changes: Any) -> None:
    raw = path.read_bytes()
    changes |= {"sha256": hashlib.sha256(raw).hexdigest(), "md5": hashlib.md5(raw).hexdigest()}
    changes = {"url": "http://127.0.0.1:9/no-network"} | changes
    cifar = dataclasses.replace(download.CIFARS["cifar10"], **changes)
    monkeypatch.setattr(download, "CIFARS", {"cifar10": cifar})


def test_archive_that_was_put_there_is_converted(root, archive):
    info = download.download("cifar10", root)

    file = tensor_file.MappedFile(info.path)
    header, buffer = file.header, file.buffer
    first = np.frombuffer(buffer, np.uint8, 3072, header.start).reshape(32, 32, 3)
    assert (info.classes, info.train, info.test) == (("plane", "car"), 10, 2)
    assert np.array_equal(first.transpose(2, 0, 1).ravel(), PIXELS[0])
    assert catalog.verify("cifar10", root) == info


def test_again_does_nothing_and_a_damaged_file_is_mended(root, archive):
    info = download.download("cifar10", root)
    before = info.path.stat().st_mtime_ns
    download.download("cifar10", root)
    assert info.path.stat().st_mtime_ns == before

    info.path.write_bytes(b"nonsense")
    assert download.download("cifar10", root) == info

    whole = info.path.read_bytes()
    info.path.write_bytes(whole[:-1000] + bytes([whole[-1000] ^ 1]) + whole[-999:])
    assert download.download("cifar10", root) == info
    assert info.path.read_bytes() == whole


def test_nothing_is_opened_before_the_digest_is_right(root, archive, monkeypatch, left_behind):
    raw = bytearray(archive.read_bytes())
    raw[-1] ^= 1
    archive.write_bytes(raw)
    monkeypatch.setattr(download.tarfile, "open", lambda **_: pytest.fail("opened"))

    with pytest.raises(DataError, match="its SHA-256 is .* instead of .*delete it"):
        download.download("cifar10", root)

    assert left_behind(root) == [archive.name]


class Evil:
    """Unpickles into a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("function", [eval, __import__, getattr, np.load, np.memmap, io.open])
def test_even_a_trusted_archive_makes_nothing_but_arrays(root, archive, tar, monkeypatch, function):
    tar(archive, cifar_files(meta={"label_names": [Evil(function, "x")]}), "w:gz")
    expect(monkeypatch, archive)

    with pytest.raises(DataError, match="which no data set needs"):
        download.download("cifar10", root)

    assert not catalog.path_of("cifar10", root).exists()


@pytest.fixture
def server(tmp_path) -> Iterator[str]:
    """The URL of a web server that hands out the files of `tmp_path / "www"`."""
    (tmp_path / "www").mkdir()
    handler = functools.partial(QuietHandler, directory=str(tmp_path / "www"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


def test_archive_is_fetched(tmp_path, root, server, tar, monkeypatch, left_behind):
    expect(monkeypatch, tar(tmp_path / "www" / "c.tar.gz", cifar_files(), "w:gz"), url=f"{server}/c.tar.gz")

    info = download.download("cifar10", root)

    assert info.train == 10
    assert left_behind(root) == ["cifar-10-python.tar.gz", "cifar10.safetensors"]


def test_wrong_bytes_from_the_network_are_not_kept(tmp_path, root, server, tar, monkeypatch, left_behind):
    expect(monkeypatch, tar(tmp_path / "www" / "c.tar.gz", cifar_files(), "w:gz"), url=f"{server}/c.tar.gz")
    (tmp_path / "www" / "c.tar.gz").write_bytes(b"a captive portal's page")

    with pytest.raises(DataError, match="can't download"):
        download.download("cifar10", root)

    assert left_behind(root) == []


def test_without_a_network_one_hears_what_else_to_do(root, archive, left_behind):
    archive.unlink()

    with pytest.raises(DataError) as caught:
        download.download("cifar10", root)

    for part in ("can't download http://127.0.0.1:9/", "SHA-256", str(archive.parent), "repeat the command"):
        assert part in str(caught.value)
    assert left_behind(root) == []


@pytest.mark.parametrize(
    ("name", "part"), [("digits", "its first use makes it"), ("cifar11", "Did you mean 'cifar10'?"), ("../x", "can't")]
)
def test_names_that_can_not_be_downloaded(root, name, part):
    with pytest.raises(DataError) as caught:
        download.download(name, root)

    assert part in str(caught.value)


def test_the_two_archives_are_those_of_torchvision():
    ten, hundred = download.CIFARS["cifar10"], download.CIFARS["cifar100"]

    assert (len(ten.train), ten.label_key, ten.class_key) == (5, "labels", "label_names")
    assert (hundred.train, hundred.label_key, hundred.class_key) == (("train",), "fine_labels", "fine_label_names")
    assert len({ten.sha256, hundred.sha256}) == 2 and all(len(one.sha256) == 64 for one in (ten, hundred))
