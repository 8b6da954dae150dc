"""Folders and archives of images become data sets."""

import io
import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cifarsweep.data import catalog, tensorfile
from cifarsweep.data.importing import import_images
from cifarsweep.data.pictures import decode
from cifarsweep.errors import DataError

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "cifar10-jpeg-small.tar.xz"


def pixels(data: bytes) -> np.ndarray:
    return np.frombuffer(decode(data, "x", 10**6), np.uint8).reshape(32, 32, 3)


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def train_images(info: catalog.DataSetInfo) -> np.ndarray:
    header, buffer = tensorfile.map_file(info.path)
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


def test_exif_orientation_is_followed():
    upright = Image.new("RGB", (32, 32))
    upright.paste((255, 255, 255), (0, 0, 32, 16))
    exif = Image.Exif()
    exif[0x0112] = 3  # turned by 180 degrees

    turned = pixels(saved(upright, "JPEG", exif=exif, quality=95))

    assert turned[:12].max() < 20 and turned[20:].min() > 235


def test_desktop_litter_is_passed_over(tmp_path, root, files, zipped):
    litter = {"train/cat/.DS_Store": b"x", "__MACOSX/train/cat/._0.png": b"x", "train/dog/Thumbs.db": b"x"}

    assert import_images("mine", zipped(tmp_path / "a.zip", files | litter), root).train == 4


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
