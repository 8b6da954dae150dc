"""Folders and archives of images become data sets."""

import io
import random
import struct
import unicodedata
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cifarsweep.data import catalog, tensor_file
from cifarsweep.data.image_decoding import decode_image
from cifarsweep.data.image_import import import_images
from cifarsweep.errors import DataError

PNG = b"\x89PNG\r\n\x1a\n"
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "cifar10-jpeg-small.tar.xz"


def pixels(data: bytes) -> np.ndarray:
    return np.frombuffer(decode_image(data, "x", 10**6).pixels, np.uint8).reshape(32, 32, 3)


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def train_images(info: catalog.DataSetInfo) -> np.ndarray:
    file = tensor_file.MappedFile(info.path)
    header, buffer = file.header, file.buffer
    return np.frombuffer(buffer, np.uint8, header.train * 3072, header.start).reshape(-1, 32, 32, 3)


def test_folder_and_every_kind_of_archive_make_the_same_data_set(tmp_path, root, files, folder, tar, zipped):
    sources = [
        folder(tmp_path / "folder", files),
        tar(tmp_path / "a.tar", files),
        tar(tmp_path / "a.tar.gz", files, "w:gz"),
        tar(tmp_path / "a.tar.xz", files, "w:xz"),
        tar(tmp_path / "a.tar.bz2", files, "w:bz2"),
        zipped(tmp_path / "a.zip", files),
    ]

    found = [import_images(f"set{n}", source, root) for n, source in enumerate(sources)]

    assert len({info.sha256 for info in found}) == 1
    assert (found[0].classes, found[0].train, found[0].test) == (("cat", "dog"), 4, 2)


def test_order_in_the_archive_and_a_top_folder_change_nothing(tmp_path, root, files, tar):
    names = list(files)
    random.Random(3).shuffle(names)
    shuffled = {f"./photos/{name}": files[name] for name in names}

    first = import_images("first", tar(tmp_path / "a.tar", files), root)
    second = import_images("second", tar(tmp_path / "b.tar", shuffled), root)

    assert first.sha256 == second.sha256


def test_images_of_32x32_keep_their_pixels_in_the_order_of_class_and_file(tmp_path, root, files, tar):
    info = import_images("mine", tar(tmp_path / "a.tar", files), root)

    names = sorted(name for name in files if name.startswith("train/"))
    expected = [np.asarray(Image.open(io.BytesIO(files[name]))) for name in names]
    assert np.array_equal(train_images(info), expected)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("size", [(64, 48), (1, 1), (7, 90)])
def test_other_sizes_and_formats_are_resized(image, kind, size):
    assert pixels(image(0, size, kind)).shape == (32, 32, 3)


def test_resizing_averages_instead_of_skipping():
    board = np.indices((256, 256)).sum(0) % 2 * np.uint8(255)

    small = pixels(saved(Image.fromarray(board.astype(np.uint8))))

    assert small.min() > 110 and small.max() < 145


def test_sixteen_bits_of_grey_are_scaled():
    ramp = np.arange(1024, dtype=np.uint16).reshape(32, 32) * 64

    assert np.array_equal(pixels(saved(Image.fromarray(ramp)))[..., 0], ramp >> 8)


def test_transparent_pixels_are_white():
    assert (pixels(saved(Image.new("RGBA", (32, 32), (9, 9, 9, 0)))) == 255).all()


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_the_transparent_grey_of_every_depth_is_white(bits):
    """Three columns of the transparent grey 1 in 32, the others black."""
    row = np.zeros(32 * bits, np.uint8)
    row[bits - 1 : 3 * bits : bits] = 1
    black = np.packbits(row).tobytes()

    found = pixels(png(bits, black, transparent=1))

    assert (found[:, :3] == 255).all() and not found[:, 3:].any()


def png(bits: int, row: bytes, transparent: int) -> bytes:
    """A grey picture of 32x32 whose rows are all alike."""
    chunks = (b"IHDR", struct.pack(">IIBBBBB", 32, 32, bits, 0, 0, 0, 0)), (b"tRNS", struct.pack(">H", transparent))
    return PNG + b"".join(
        chunk(*each) for each in (*chunks, (b"IDAT", zlib.compress((b"\0" + row) * 32)), (b"IEND", b""))
    )


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def test_cmyk_and_two_channels_and_palettes_keep_their_colours():
    red = Image.new("RGB", (32, 32), (255, 0, 0))
    assert (pixels(saved(Image.new("CMYK", (32, 32), (0, 255, 255, 0)), "JPEG")) == (255, 0, 0)).all()
    assert (pixels(saved(Image.new("LA", (32, 32), (77, 255)))) == 77).all()
    assert (pixels(saved(Image.new("LA", (32, 32), (77, 0)))) == 255).all()
    assert (pixels(saved(red.quantize(4))) == (255, 0, 0)).all()
    assert (pixels(saved(red.quantize(4), transparency=0)) == 255).all()
    assert (pixels(saved(Image.new("1", (32, 32), 1))) == 255).all()


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_of_an_animation_the_first_picture_is_taken(kind):
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue")]

    found = pixels(saved(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True))

    assert (found == (255, 0, 0)).all()


@pytest.mark.parametrize(
    "metadata",
    [
        chunk(b"zTXt", b"XML:com.adobe.xmp\0\0" + zlib.compress(bytes(3_000_000))),
        chunk(b"iCCP", b"profile\0\0" + zlib.compress(bytes(2_500_000))),
        chunk(b"iCCP", b"profile\0\0" + zlib.compress(bytes(70_000_000))),
        chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(40_000_000))) * 2,
        chunk(b"tEXt", b"no end")[:-1] + b"?",
        chunk(b"gAMA", b""),
        chunk(b"eXIf", b"no exif at all"),
    ],
    ids=["text", "profile", "huge profile", "huge texts", "checksum", "gamma", "exif"],
)
def test_metadata_make_no_good_image_a_damaged_one(image, metadata):
    good = image(0)

    assert np.array_equal(pixels(good[:33] + metadata + good[33:]), pixels(good))


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_nor_does_a_damaged_exif(kind):
    red = Image.new("RGB", (32, 32), "red")

    assert np.array_equal(pixels(saved(red, kind, exif=b"Exif\0\0garbage")), pixels(saved(red, kind)))


@pytest.mark.parametrize("highest", [255, 4095, 16383])
def test_pictures_of_16_bits_that_use_the_lowest_are_refused(tmp_path, root, files, folder, highest):
    ramp = np.linspace(0, highest, 1024).reshape(32, 32).astype(np.uint16)
    source = folder(tmp_path / "f", files | {"train/cat/deep.png": saved(Image.fromarray(ramp))})

    with pytest.raises(
        DataError, match=rf"16 bits \(1 in all\) has a value above {highest} of 65535, .* almost black; scale"
    ):
        import_images("mine", source, root)

    # A dark one among others that use all bits is a dark picture.
    (source / "test/dog/deep.png").write_bytes(saved(Image.fromarray(ramp * np.uint16(65535 // highest))))
    assert import_images("mine", source, root).train == 5


def test_exif_orientation_is_followed():
    upright = Image.new("RGB", (32, 32))
    upright.paste((255, 255, 255), (0, 0, 32, 16))
    exif = Image.Exif()
    exif[0x0112] = 3  # turned by 180 degrees

    turned = pixels(saved(upright, "JPEG", exif=exif, quality=95))

    assert turned[:12].max() < 20 and turned[20:].min() > 235


def test_desktop_litter_is_passed_over(tmp_path, root, files, zipped):
    litter = {name: b"x" for name in LITTER}

    assert import_images("mine", zipped(tmp_path / "a.zip", files | litter), root).train == 4


LITTER = [
    "train/cat/.DS_Store",
    "__MACOSX/train/cat/._0.png",
    "train/dog/Thumbs.db",
    "test/dog/desktop.ini",
    "train/dog/@eaDir/0.png/SYNOPHOTO_THUMB_M.png",
    ".git/objects/ab/cdef",
    "train/cat/Icon\r",
]


@pytest.mark.parametrize("place", ["train/.ipynb_checkpoints", "train/cat/.ipynb_checkpoints", ".ipynb_checkpoints"])
@pytest.mark.parametrize("empty", [False, True])
def test_hidden_folders_are_no_classes_and_are_counted(tmp_path, root, files, folder, place, empty):
    plain = import_images("plain", folder(tmp_path / "plain", files), root)
    source = folder(tmp_path / "f", files)
    for split in (place, place.replace("train", "test")):
        (source / split).mkdir(exist_ok=True)
        if not empty:
            (source / split / "0-checkpoint.png").write_bytes(files["train/cat/0.png"])
    notes: list[str] = []

    info = import_images("mine", source, root, note=notes.append)

    assert info.sha256 == plain.sha256
    assert notes == [f"{1 + ('train' in place)} hidden or system files and folders were left out"]


def test_a_name_is_one_name_however_its_accents_are_stored(tmp_path, root, files, folder, zipped):
    named = {name.replace("cat", "chaton né").replace("0.png", "é.png"): data for name, data in files.items()}
    apart = {unicodedata.normalize("NFD", name): data for name, data in named.items()}
    mixed = {(unicodedata.normalize("NFD", name) if "train" in name else name): data for name, data in named.items()}

    sources = [folder(tmp_path / "a", named), zipped(tmp_path / "b.zip", apart), folder(tmp_path / "c", mixed)]
    found = [import_images(f"set{n}", source, root) for n, source in enumerate(sources)]

    assert {info.classes for info in found} == {("chaton né", "dog")}
    assert len({info.sha256 for info in found}) == 1


def test_all_misfits_are_counted_in_one_answer_whatever_their_order(tmp_path, root, files, folder, tar):
    extra = {f"val/cat/{n}.png": files["test/cat/0.png"] for n in range(5)} | {"train/cat/sub/a/b/0.png": b"", "a": b""}
    names = list(files | extra)
    random.Random(1).shuffle(names)
    sources = folder(tmp_path / "same", files | extra), tar(tmp_path / "b/same", {n: (files | extra)[n] for n in names})

    said = set()
    for source in sources:
        with pytest.raises(DataError) as error:
            import_images("mine", source, root)
        said.add(str(error.value))

    assert said == {
        "'same': member 'a' does not fit <split>/<class>/<file> with train and test as splits; move it "
        "(and 6 more: 'train/cat/sub/a/b/0.png', 'val/cat/0.png', ...)"
    }


def test_misfits_and_damaged_images_are_told_at_once(tmp_path, root, files, tar):
    odd = {"README.md": b"x", "train/cat/a.gif": b"GIF89a"}
    for number, names in enumerate(([*odd, *files], [*files, *odd])):
        source = tar(tmp_path / f"{number}/a.tar", {name: (files | odd)[name] for name in names})

        with pytest.raises(
            DataError, match=r"'README.md' does not fit .*; move it\. .*'train/cat/a.gif' is not a JPEG"
        ):
            import_images("mine", source, root)


def test_names_that_can_not_be_kept_are_counted_too(tmp_path, root, files, folder):
    place = folder(tmp_path / "photos", files | {f"train/cat/{n}\\.png": b"" for n in range(3)})

    with pytest.raises(DataError, match=r"has a backslash in its path; write / between folders \(and 2 more: "):
        import_images("photos", place, root)


def test_all_damaged_images_and_all_lacking_classes_are_counted(tmp_path, root, files, folder):
    source = folder(tmp_path / "f", files | {f"train/cat/{n}.gif": b"GIF89a" for n in range(3)})
    with pytest.raises(DataError, match=r"'train/cat/0.gif' is not a JPEG.*\(and 2 more: '.*1.gif', '.*2.gif'\)"):
        import_images("mine", source, root)

    source = folder(tmp_path / "g", files | {f"train/{n}/0.png": files["train/cat/0.png"] for n in range(9)})
    with pytest.raises(DataError, match=r"class '0' has no image in test; .* \(and 8 more: '1 in test', '2 in test', "):
        import_images("mine", source, root)


def test_several_top_folders_get_one_answer(tmp_path, root, files, folder):
    source = folder(tmp_path / "f", files | {f"old/{name}": data for name, data in list(files.items())[:2]})

    with pytest.raises(DataError, match=r"'old/.*' lies in another top folder; keep one, or none \(and 1 more\)$"):
        import_images("mine", source, root)


def test_odd_but_harmless_class_names_are_kept(tmp_path, root, image, tar):
    names = [
        '<script>alert("x")</script>'.replace("/", "|"),
        "it's 100 %",
        "großer Hund",
        "می\u200cخواهم",
        "cat;rm -rf",
    ]
    files = {f"{split}/{name}/0.png": image(0) for name in names for split in ("train", "test")}

    info = import_images("mine", tar(tmp_path / "a.tar", files), root)

    assert info.classes == tuple(sorted(names))


def test_same_images_again_are_no_error_and_others_need_replace(tmp_path, root, files, image, tar):
    first = import_images("mine", tar(tmp_path / "a.tar", files), root)
    assert import_images("mine", tar(tmp_path / "b.tar", files), root) == first

    other = tar(tmp_path / "c.tar", files | {"train/cat/0.png": image(99)})
    with pytest.raises(DataError, match="holds other images.*--replace"):
        import_images("mine", other, root)
    assert catalog.require("mine", root) == first
    assert import_images("mine", other, root, replace=True).sha256 != first.sha256


def test_replace_mends_a_damaged_data_set(tmp_path, root, files, tar):
    first = import_images("mine", tar(tmp_path / "a.tar", files), root)
    first.path.write_bytes(b"nonsense")

    assert import_images("mine", tmp_path / "a.tar", root, replace=True) == first


def test_the_same_images_again_mend_bytes_that_were_changed(tmp_path, root, files, tar):
    first = import_images("mine", tar(tmp_path / "a.tar", files), root)
    whole = first.path.read_bytes()
    first.path.write_bytes(whole[:-1000] + bytes([whole[-1000] ^ 1]) + whole[-999:])

    assert import_images("mine", tmp_path / "a.tar", root) == first
    assert first.path.read_bytes() == whole


def test_progress_counts_the_images(tmp_path, root, files, folder):
    heard: list[int] = []

    import_images("mine", folder(tmp_path / "f", files), root, progress=heard.append)

    assert heard == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("name", ["cifar10", "Digits", "../up", "a b", "", "x" * 65])
def test_bad_names_are_refused_before_anything_is_read(tmp_path, root, name):
    with pytest.raises(DataError, match="built-in|can't name"):
        import_images(name, tmp_path / "not there", root)


def test_real_images(root):
    if not SHARED.exists():
        pytest.skip(f"{SHARED.name} is not on this machine")

    info = import_images("cifar10-jpeg-small", SHARED, root)

    assert (info.train, info.test, len(info.classes)) == (5000, 1000, 10)
    assert info.classes[0] == "airplane"
    assert 100 < train_images(info).mean() < 140
