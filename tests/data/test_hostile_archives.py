"""Archives and folders that nobody should trust: each is refused in a sentence, and nothing is written."""

import io
import lzma
import os
import stat
import struct
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cifarsweep.data.archives import Limits
from cifarsweep.data.image_import import import_images
from cifarsweep.errors import DataError

SMALL = Limits(members=50, member_bytes=100_000, pixels=10_000, floor_bytes=200_000, ratio=10)


@pytest.fixture
def refused(tmp_path, root, left_behind) -> Callable[..., str]:
    """Import a source that must be refused; the sentence that was said, on one line."""

    def check(source: Path, limits: Limits = SMALL) -> str:
        with pytest.raises(DataError) as caught:
            import_images("mine", source, root, limits=limits)
        assert left_behind(root) == []
        said = str(caught.value)
        assert said.isprintable() and len(said) < 500
        return said

    return check


def special(path: Path, files: dict[str, bytes], **fields: object) -> Path:
    """A tar of the files and of one member with these fields."""
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        info = tarfile.TarInfo("train/cat/odd.png")
        for field, value in fields.items():
            setattr(info, field, value)
        tar.addfile(info)
    return path


@pytest.mark.parametrize(
    "name",
    ["/train/cat/a.png", "train/../../a.png", "../train/cat/a.png", "C:/train/cat/a.png", "train/cat/../a.png"],
)
@pytest.mark.parametrize("kind", ["tar", "zipped"])
def test_paths_that_point_outside(tmp_path, refused, files, name, kind, request):
    pack = request.getfixturevalue(kind)

    said = refused(pack(tmp_path / "a", files | {name: files["test/cat/0.png"]}))

    assert f"member {name!r} points outside" in said


@pytest.mark.parametrize(
    "name", ["train/c\x1b[2Jat/a.png", "train/cat/\u202egnp.a", "train/cat/a\nb.png", "train/c\u0000t/a.png"]
)
def test_control_characters(tmp_path, refused, files, name, zipped):
    archive = zipped(tmp_path / "a.zip", files | {name.replace("\0", "@"): b"x"})
    archive.write_bytes(archive.read_bytes().replace(b"train/c@t", b"train/c\0t"))

    assert "control characters" in refused(archive)


def test_name_that_is_not_utf8(tmp_path, refused, files, tar):
    archive = tar(tmp_path / "a.tar", files | {"train/cat/aaaa.png": b"x"})
    archive.write_bytes(
        repaired(archive.read_bytes().replace(b"train/cat/aaaa.png", b"train/cat/\xff\xfe\xfd\xfc.png"))
    )

    assert "not UTF-8" in refused(archive)


def repaired(raw: bytes) -> bytes:
    """The tar with the right sum in every header."""
    out = bytearray(raw)
    for start in range(0, len(raw), 512):
        if raw[start + 257 : start + 262] == b"ustar":
            out[start + 148 : start + 156] = b" " * 8
            out[start + 148 : start + 156] = b"%06o\0 " % sum(out[start : start + 512])
    return bytes(out)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_links_in_a_tar(tmp_path, refused, files, kind):
    said = refused(special(tmp_path / "a.tar", files, type=kind, linkname="/etc/passwd"))

    assert "member 'train/cat/odd.png' is a link" in said


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.GNUTYPE_SPARSE])
def test_devices_and_other_special_members(tmp_path, refused, files, kind):
    said = refused(special(tmp_path / "a.tar", files, type=kind))

    assert "odd.png" in said or "damaged" in said


@pytest.mark.parametrize(("mode", "word"), [(stat.S_IFLNK, "link"), (stat.S_IFIFO, "device"), (stat.S_IFCHR, "device")])
def test_special_members_of_a_zip(tmp_path, refused, files, zipped, mode, word):
    archive = zipped(tmp_path / "a.zip", files)
    with zipfile.ZipFile(archive, "a") as opened:
        info = zipfile.ZipInfo("train/cat/odd.png")
        info.external_attr = (mode | 0o644) << 16
        opened.writestr(info, "/etc/passwd")

    assert f"'train/cat/odd.png' is a {word}" in refused(archive)


def test_links_and_pipes_in_a_folder(tmp_path, refused, files, folder):
    place = folder(tmp_path / "f", files)
    (place / "train/cat/link.png").symlink_to(place / "train/cat/0.png")
    assert "'train/cat/link.png' is a link" in refused(place)

    (place / "train/cat/link.png").unlink()
    os.mkfifo(place / "train/cat/pipe.png")
    assert "'train/cat/pipe.png' is a device" in refused(place)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz", "w:bz2"])
def test_tar_that_unpacks_to_too_much(tmp_path, refused, files, tar, mode):
    many = {f"train/cat/{n}.png": files["train/cat/0.png"] + bytes(90_000) for n in range(8)}

    said = refused(tar(tmp_path / "a.tar", many, mode), Limits(floor_bytes=200_000, ratio=0))

    assert "unpacks to more than 200000 bytes" in said


def test_zip_that_unpacks_to_too_much(tmp_path, refused, files, zipped):
    many = {f"train/cat/{n}.png": files["train/cat/0.png"] + bytes(90_000) for n in range(8)}

    assert "looks like a bomb" in refused(zipped(tmp_path / "a.zip", many))


def test_small_archive_of_endless_zeros(tmp_path, refused):
    with lzma.open(tmp_path / "a.tar.xz", "wb", preset=0) as file:
        file.write(bytes(2**23))

    assert (tmp_path / "a.tar.xz").stat().st_size < 5000
    assert "unpacks to more than 200000 bytes" in refused(tmp_path / "a.tar.xz")


def test_header_that_would_fill_the_memory(tmp_path, refused):
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 2**27
    with lzma.open(tmp_path / "a.tar.xz", "wb", preset=0) as file:
        file.write(header.tobuf())
        for _ in range(128):
            file.write(bytes(2**20))

    assert "oversized header" in refused(tmp_path / "a.tar.xz", Limits())


def test_chain_of_headers_without_an_end(tmp_path, refused):
    record = b"10 a=bcde\n"
    link = tarfile.TarInfo("x")
    link.type, link.size = tarfile.XHDTYPE, len(record)
    (tmp_path / "a.tar").write_bytes((link.tobuf() + record.ljust(512, b"\0")) * 5000)

    assert "damaged" in (said := refused(tmp_path / "a.tar")) or "oversized" in said


def test_member_larger_than_any_image(tmp_path, refused, files, tar, zipped, folder):
    large = files | {"train/cat/large.png": bytes(150_000)}

    for source in (tar(tmp_path / "a.tar", large), zipped(tmp_path / "a.zip", large), folder(tmp_path / "f", large)):
        assert "'train/cat/large.png' claims 150000 bytes" in refused(source)


def test_zip_member_that_lies_about_its_size(tmp_path, refused, files, zipped):
    archive = zipped(tmp_path / "a.zip", {"train/cat/a.png": bytes(90_000)})
    raw = archive.read_bytes()
    archive.write_bytes(raw.replace(struct.pack("<I", 90_000), struct.pack("<I", 10)))

    assert "damaged" in (said := refused(archive)) or "cut off" in said


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_zip_methods_that_unpack_without_a_limit(tmp_path, refused, files, zipped, method):
    assert "compressed in a rare way" in refused(zipped(tmp_path / "a.zip", files, method))


def test_encrypted_zip(tmp_path, refused, files, zipped):
    archive = zipped(tmp_path / "a.zip", {"train/cat/a.png": b"x"})
    raw = bytearray(archive.read_bytes())
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(raw)

    assert "'train/cat/a.png' is encrypted" in refused(archive)


def test_too_many_members(tmp_path, refused, tar):
    many = {f"train/cat/._{n}": b"" for n in range(60)}

    assert "more than 50 members" in refused(tar(tmp_path / "a.tar", many))


@pytest.mark.parametrize("data", [b"", b"hello", b"GIF89a" + bytes(100), b"<svg></svg>", b"%!PS-Adobe-3.0 EPSF-3.0\n"])
def test_what_is_not_an_image(tmp_path, refused, files, tar, data):
    said = refused(tar(tmp_path / "a.tar", files | {"train/cat/odd.png": data}))

    assert "member 'train/cat/odd.png' is not a JPEG, PNG or WebP image" in said


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_cut_off_image(tmp_path, refused, files, image, tar, kind):
    said = refused(tar(tmp_path / "a.tar", files | {"train/cat/odd.png": image(0, kind=kind)[:-200]}))

    assert "member 'train/cat/odd.png' is" in said


@pytest.mark.parametrize("size", [(200, 200), (20_000, 20_000)])
def test_image_with_too_many_pixels(tmp_path, refused, files, tar, size):
    file = io.BytesIO()
    Image.new("1", size).save(file, "PNG")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        said = refused(tar(tmp_path / "a.tar", files | {"train/cat/odd.png": file.getvalue()[:90_000]}))

    assert "'train/cat/odd.png' has" in said and "pixels" in said


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("valid/cat/0.png", "'valid/cat/0.png' does not fit"),
        ("README.md", "'README.md' does not fit"),
        ("train/0.png", "'train/0.png' does not fit"),
        ("train/cat/sub/0.png", "does not fit"),
        ("other/train/cat/9.png", "another top folder"),
        ("./train//cat/0.png", "is there twice"),
        ("test/bird/0.png", "class 'bird' has no image in train"),
        ("train/bird/0.png", "class 'bird' has no image in test"),
        (f"train/{'x' * 129}/0.png", "at most 128 characters"),
        ("train\\cat\\7.png", "backslash"),
    ],
)
def test_layout_that_does_not_fit(tmp_path, refused, files, tar, name, part):
    assert part in refused(tar(tmp_path / "a.tar", files | {name: files["test/cat/0.png"]}))


def test_empty_class_folder(tmp_path, refused, files, folder):
    place = folder(tmp_path / "f", files)
    (place / "train" / "bird").mkdir()

    assert "class 'bird' has no image in train" in refused(place)


def test_sources_that_hold_nothing(tmp_path, refused, folder):
    (tmp_path / "empty").mkdir()
    (tmp_path / "nothing.tar").write_bytes(b"")
    (tmp_path / "text.zip").write_text("hello")

    assert "has no images" in refused(tmp_path / "empty")
    assert "damaged, or not a" in refused(tmp_path / "nothing.tar")
    assert "damaged, or not a" in refused(tmp_path / "text.zip")
    assert "there is no folder and no archive" in refused(tmp_path / "absent\x1b[2J")


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz", "w:bz2"])
def test_archive_cut_off_anywhere(tmp_path, refused, files, tar, mode):
    whole = tar(tmp_path / "whole", files, mode).read_bytes()
    # A plain tar ends with blocks of zeros, of which two are the end mark.
    end = len(whole) if mode != "w" else len(whole.rstrip(b"\0"))

    for size in range(end // 7, end, end // 7):
        (tmp_path / "cut").write_bytes(whole[: size // 512 * 512 if mode == "w" else size])
        assert "cut" in refused(tmp_path / "cut")


@settings(max_examples=120)
@given(data=st.data(), kind=st.sampled_from(["tar", "gz", "zip"]))
def test_damaged_archive_is_imported_or_refused_but_never_crashes(tmp_path, root, files, tar, zipped, data, kind):
    source = tmp_path / "a"
    if kind == "zip":
        zipped(source, files)
    else:
        tar(source, files, "w" if kind == "tar" else "w:gz")
    raw = bytearray(source.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    source.write_bytes(raw)

    try:
        import_images("mine", source, root, replace=True, limits=SMALL)
    except DataError as error:
        assert str(error).isprintable()
