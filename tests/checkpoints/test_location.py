import ftplib
import os
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry

from cifarsweep.checkpoints.folder import CheckpointFolder
from cifarsweep.checkpoints.location import branches_of, check_location, check_protocol, open_folder, parse_location
from cifarsweep.checkpoints.object_store import ObjectFolder
from cifarsweep.errors import CheckpointError, CheckpointNotFound, LocationError


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("/mnt/x", "/mnt/x"),
        ("here", os.path.join(os.getcwd(), "here")),
        ("~/x", os.path.expanduser("~/x")),
        ("file:///mnt/x/", "/mnt/x"),
        ("s3://bucket/prefix/", "s3://bucket/prefix"),
        ("sftp://me@host/x", "sftp://me@host/x"),
    ],
)
def test_a_place_is_a_folder_or_a_url(text, place):
    assert parse_location(text) == place


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "empty"),
        ("file://mnt/x", "write file:///mnt/x"),
        ("memory://x", "gone with the process"),
        ("simplecache::s3://bucket", "without `::`"),
        ("s3://bucket/x?token=hush", r"without `\?`"),
        ("s3://", "no bucket"),
        ("s3://key:hush@bucket/x", "AWS_ACCESS_KEY_ID"),
        ("s3://key:hu/sh@bucket/x", "AWS_ACCESS_KEY_ID"),
        ("sftp://me:hush@host/x", "FSSPEC_SFTP_PASSWORD"),
    ],
)
def test_what_can_hold_no_checkpoints_is_refused_and_no_secret_repeated(text, complaint):
    with pytest.raises(LocationError, match=complaint) as refusal:
        parse_location(text)
    assert "hush" not in str(refusal.value)


def test_an_unknown_protocol_is_refused():
    with pytest.raises(LocationError, match="nonsense"):
        check_location("nonsense://x/y")


def test_a_host_that_nobody_knows_is_refused_with_its_place(monkeypatch):
    def no_host(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(ftplib.FTP, "connect", no_host)
    with pytest.raises(
        LocationError, match=r"ftp://x/y: checkpoints can't be kept there \(Name or service not known\)"
    ):
        check_location("ftp://x/y")


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.delitem(_registry, "s3", raising=False)
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(LocationError, match="pip install 's3fs>="):
        check_location("s3://bucket/x")


def test_a_look_at_a_folder_leaves_no_file(tmp_path):
    check_location(str(tmp_path / "new"))
    check_location(str(tmp_path))
    assert list(tmp_path.rglob("*")) == [tmp_path / "new"]


def test_workers_that_look_at_once_do_not_harm_each_other(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(check_location, [str(tmp_path / "new" / "deep")] * 64))


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(LocationError, match="Not a directory"):
        check_location(str(tmp_path / "file" / "below"))


def test_a_place_where_nothing_can_be_removed_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(CheckpointFolder, "remove", lambda *_: None)
    with pytest.raises(LocationError, match="can't be removed"):
        check_location(str(tmp_path))


class Store(MemoryFileSystem):
    """A store that can be away, or keep half of what it is given."""

    cachable = False
    store: dict[str, object] = {}  # noqa: RUF012 - as the base class has it
    away = 0
    half = False

    def pipe_file(self, path, value, **options):
        super().pipe_file(path, value[: len(value) // 2] if self.half else value, **options)

    def cat_file(self, path, *arguments, **options):
        if self.away:
            self.away -= 1
            raise RuntimeError("the store is away")
        return super().cat_file(path, *arguments, **options)


@pytest.fixture
def store():
    Store.store.clear()
    return Store()


@pytest.fixture
def objects(store, monkeypatch):
    monkeypatch.setattr(ObjectFolder._fetch.retry, "wait", lambda _: 0)
    return ObjectFolder(store, "/trial", "some://trial")


def test_the_library_behind_a_store_may_raise_what_it_likes(objects, store):
    ref = objects.write(1, b"contents")
    store.away = 3
    assert objects.read(ref) == b"contents"


def test_a_store_that_stays_away_is_as_good_as_none(objects, store):
    ref = objects.write(1, b"contents")
    store.away = 4
    with pytest.raises(CheckpointNotFound, match="RuntimeError: the store is away"):
        objects.read(ref)


def test_half_an_upload_is_no_checkpoint(objects, store):
    store.half = True
    with pytest.raises(OSError, match="arrived with 4 bytes instead of 8"):
        objects.write(1, b"contents")
    assert store.find("/trial") == []


def test_one_who_moved_to_a_store_still_finds_the_local_file(objects, tmp_path):
    ref = CheckpointFolder(tmp_path).write(1, b"contents")
    assert objects.read(ref) == b"contents"


def test_a_pointer_into_a_store_is_not_visible_from_a_folder(objects, tmp_path):
    ref = objects.write(1, b"contents")
    with pytest.raises(CheckpointNotFound):
        CheckpointFolder(tmp_path).read(ref)


def test_s3_keeps_what_it_is_given(s3_place, s3):
    check_location(s3_place)
    folder = open_folder(f"{s3_place}/demo/0")

    first, second, third = (folder.write(step, str(step).encode()) for step in (1, 2, 3))
    assert folder.read(second) == b"2"
    assert second.path.startswith(f"{s3_place}/demo/0/step-00000002-")
    folder.remove([first.path, "s3://bucket/elsewhere/gone.pt"])
    assert s3.names(f"{s3_place}") == sorted(Path(ref.path).name for ref in (second, third))
    folder.keep_only(third.path)
    assert s3.names(s3_place) == [Path(third.path).name]


def test_what_others_begin_from_outlives_the_end_of_a_trial_in_s3(s3_place):
    assert_branches_are_kept(f"{s3_place}/demo/1")


def test_what_others_begin_from_outlives_the_end_of_a_trial(tmp_path):
    assert_branches_are_kept(str(tmp_path / "demo" / "1"))


def assert_branches_are_kept(place):
    folder, branches = open_folder(place), open_folder(branches_of(place))
    first, last, branch = folder.write(1, b"first"), folder.write(3, b"last"), branches.write(2, b"branch")

    folder.keep_only(last.path)

    assert branches.read(branch) == b"branch"
    assert folder.read(last) == b"last"
    with pytest.raises(CheckpointNotFound):
        folder.read(first)
    branches.keep_only("")
    with pytest.raises(CheckpointNotFound):
        branches.read(branch)
    assert folder.read(last) == b"last"


@pytest.mark.parametrize(
    ("method", "body", "complaint", "kind"),
    [
        ("PUT", b"content", "has 7 bytes instead of 8", CheckpointError),
        ("PUT", b"Contents", "SHA-256", CheckpointError),
        ("DELETE", None, "is gone", CheckpointNotFound),
    ],
)
def test_damage_in_s3_is_noticed(s3_place, s3, method, body, complaint, kind):
    folder = open_folder(s3_place)
    ref = folder.write(1, b"contents")
    s3.ask(method, ref.path, body)
    with pytest.raises(kind, match=complaint):
        folder.read(ref)


def test_a_bucket_that_is_not_there_is_refused(s3):
    with pytest.raises(LocationError, match=r"s3://nobody/x: .*bucket does not exist"):
        check_location("s3://nobody/x")


def test_a_protocol_is_known_without_asking_the_place() -> None:
    check_protocol("/nowhere/at/all")
    check_protocol("s3://no-such-bucket/x")

    with pytest.raises(LocationError, match="Protocol not known: foo"):
        check_protocol("foo://x")
