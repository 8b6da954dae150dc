"""Own images: any size, any way to make them square, grey, split here, and beside files that are none."""

import random
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cifarsweep.data import catalog, tensor_file
from cifarsweep.data.archives import Limits
from cifarsweep.data.dataset import load
from cifarsweep.data.image_decoding import decode_image
from cifarsweep.data.image_import import ImportOptions, import_images
from cifarsweep.data.import_layout import with_splits
from cifarsweep.errors import DataError
from cifarsweep.spec.image_shape import ImageShape

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "cifar10-jpeg-small.tar.xz"
GREY = ImageShape(28, 1)


def png(image: Image.Image) -> bytes:
    file = BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def fitted(image: Image.Image, shape: ImageShape, fit: str) -> np.ndarray:
    pixels = decode_image(png(image), "x", 10**7, shape, fit).pixels
    return np.frombuffer(pixels, np.uint8).reshape(shape.side, shape.side, shape.channels)


def halves(width: int, height: int) -> Image.Image:
    """Red on the left, blue on the right."""
    image = Image.new("RGB", (width, height), "red")
    image.paste("blue", (width // 2, 0, width, height))
    return image


@pytest.fixture
def plain(image) -> dict[str, bytes]:
    """Two classes of ten different images each, without splits."""
    return {f"{kind}/{n}.png": image(10 * place + n) for place, kind in enumerate(("cat", "dog")) for n in range(10)}


@pytest.fixture
def notes() -> list[str]:
    return []


@pytest.mark.parametrize("side", [8, 31, 64, 256])
@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("size", [(300, 200), (1, 1000), (1000, 1), (5, 5), (64, 64)])
def test_every_image_becomes_a_square_of_the_size(side, fit, size):
    assert fitted(Image.new("RGB", size, "white"), ImageShape(side, 3), fit).shape == (side, side, 3)


def test_stretching_keeps_all_of_the_image_cropping_its_middle_and_padding_its_form():
    wide, shape = halves(128, 64), ImageShape(64, 3)

    stretched, cropped, padded = (fitted(wide, shape, fit) for fit in ("stretch", "crop", "pad"))

    for found in (stretched, cropped):
        assert (found[:, :24] == (255, 0, 0)).all() and (found[:, 40:] == (0, 0, 255)).all()
    assert not padded[:16].any() and not padded[48:].any()
    assert (padded[16:48, :24] == (255, 0, 0)).all() and (padded[16:48, 40:] == (0, 0, 255)).all()


def test_an_image_of_the_right_size_keeps_its_pixels(image):
    data = image(0, (45, 45))

    found = decode_image(data, "x", 10**6, ImageShape(45, 3), "crop").pixels

    assert found == Image.open(BytesIO(data)).tobytes()


def test_grey_is_one_channel_with_the_same_values():
    ramp = Image.fromarray(np.arange(784, dtype=np.uint32).reshape(28, 28).astype(np.uint8))

    assert np.array_equal(fitted(ramp, GREY, "stretch")[..., 0], ramp)
    # The weights of ITU-R BT.601.
    assert np.abs(fitted(Image.new("RGB", (9, 9), "red"), GREY, "stretch").astype(int) - 76).max() <= 1


def test_shape_and_way_are_kept_with_the_data_set(tmp_path, root, plain, folder):
    options = ImportOptions(GREY, "crop", 0.2, 7)

    info = import_images("mine", folder(tmp_path / "photos", plain), root, options=options)

    assert (info.shape, info.train, info.test) == (GREY, 16, 4)
    assert info.source == "imported from photos --size 28 --grey --fit crop --test 0.2 --seed 7"
    assert load("mine", root).train_images.shape == (16, 1, 28, 28)


@given(
    st.sampled_from([8, 32, 100]),
    st.booleans(),
    st.sampled_from(["stretch", "crop", "pad"]),
    st.none() | st.floats(0.0001, 0.9999),
    st.integers(0, 2**40),
    st.booleans(),
)
def test_the_source_of_a_data_set_ends_with_the_options_that_made_it(side, grey, fit, test, seed, skip):
    options = ImportOptions(ImageShape(side, 1 if grey else 3), fit, test, seed, skip)
    source = f"imported from --grey folder {options}".strip()

    found = catalog.DataSetInfo("mine", source, (), 1, 1, "", 1, Path()).import_options

    assert found == (f" {options}" if str(options) else "")


def test_without_options_an_import_is_what_it_was(tmp_path, root, files, folder):
    info = import_images("mine", folder(tmp_path / "photos", files), root)

    assert (info.source, info.shape) == ("imported from photos", ImageShape(32, 3))
    # Made by the version before there were options.
    assert info.sha256 == "1c25ea7a10efad3d430926c250111f665043708e0f7387e212ea6114c1c1ecf7"


@given(
    counts=st.lists(st.integers(2, 60), min_size=1, max_size=4),
    share=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**40),
)
def test_each_class_gives_its_part_and_keeps_an_image_on_both_sides(counts, share, seed):
    files = [(kind, n) for kind, count in enumerate(counts) for n in range(count)]
    digests = {("", str(kind), str(n)): f"{kind} {n}".encode() for kind, n in files}

    found = with_splits(digests, share, seed)

    assert found.keys() == digests.keys() and all(new[1:] == old[1:] for old, new in found.items())
    for kind, count in enumerate(counts):
        tests = sum(split == "test" for split, of, _ in found.values() if of == str(kind))
        assert 1 <= tests < count and (abs(tests - share * count) <= 0.5 or tests in (1, count - 1))


def test_the_split_follows_from_bytes_and_seed_alone(tmp_path, root, plain, folder, tar):
    renamed = {name.replace("/", "/renamed-"): data for name, data in plain.items()}
    names = list(plain)
    random.Random(5).shuffle(names)
    sources = [
        folder(tmp_path / "a", plain),
        tar(tmp_path / "b.tar", {f"top/{name}": plain[name] for name in names}),
        folder(tmp_path / "c", renamed),
    ]
    options = ImportOptions(test=0.3)

    imported = [import_images(f"set{n}", source, root, options=options) for n, source in enumerate(sources)]
    other_seed = import_images("other", sources[0], root, options=replace(options, seed=1))

    # Their names decide the order of the images, and no more.
    assert imported[0].sha256 == imported[1].sha256 != other_seed.sha256
    parts = [{each.numpy().tobytes() for each in load(f"set{n}", root).test_images} for n in range(3)]
    assert parts[0] == parts[1] == parts[2]


def test_copies_of_a_file_stay_on_one_side(tmp_path, root, plain, folder, notes):
    copies = {f"{name}-{n}.png": data for name, data in plain.items() for n in range(3)}

    import_images("mine", folder(tmp_path / "a", copies), root, options=ImportOptions(test=0.4), note=notes.append)

    data = load("mine", root)
    of_train, of_test = ({each.numpy().tobytes() for each in part} for part in (data.train_images, data.test_images))
    assert not of_train & of_test and notes == []


def test_images_of_both_splits_are_told(tmp_path, root, files, folder, notes):
    leaking = files | {"test/dog/9.png": files["train/dog/0.png"]}

    import_images("mine", folder(tmp_path / "a", leaking), root, note=notes.append)

    assert notes == ["1 test image is a training image too, pixel for pixel: accuracies on the test set say too much"]


@pytest.mark.parametrize("part", [0.0, 1.0, -0.2, 20.0, float("nan")])
def test_a_part_that_is_none_is_refused(part):
    with pytest.raises(DataError, match="^--test: .* is no part of the images; give one between 0 and 1, such as 0.2$"):
        ImportOptions(test=part)


def test_layouts_are_told_apart(tmp_path, root, plain, files, folder):
    unsplit, split = folder(tmp_path / "plain", plain), folder(tmp_path / "split", files)

    with pytest.raises(
        DataError, match=r"does not fit <split>.* If they lie as <class>/<file>, --test 0.2 makes a fifth"
    ):
        import_images("mine", unsplit, root)
    with pytest.raises(DataError, match=r"'test/.* lies in a split already; leave --test out"):
        import_images("mine", split, root, options=ImportOptions(test=0.2))
    with pytest.raises(DataError, match=r"lies in a split already; leave --test out"):
        import_images("mine", folder(tmp_path / "top", {"a/" + n: d for n, d in files.items()}), root, options=TEST)
    with pytest.raises(DataError, match=r"class 'cat' has 1 file and no two different ones"):
        import_images("mine", folder(tmp_path / "few", {"cat/0.png": plain["cat/0.png"]}), root, options=TEST)
    with pytest.raises(DataError, match=r"has no images .*lay it out as <class>/<file>$"):
        import_images("mine", folder(tmp_path / "none", {"cat/.hidden": b""}), root, options=TEST)
    assert not root.exists()


TEST = ImportOptions(test=0.2)


def test_only_one_folder_of_splits_may_be_split_again(tmp_path, root, plain, folder):
    source = folder(tmp_path / "a", {f"train/{name}": data for name, data in plain.items()})

    info = import_images("mine", source, root, options=TEST)

    assert info.classes == ("cat", "dog") and info.test == 4


def test_what_is_no_image_is_refused_or_left_out_and_counted(tmp_path, root, files, folder, notes):
    others = dict.fromkeys(("README.md", "train/cat/labels.csv", "train/dog/old.gif", "a/train/cat/a.txt"), b"GIF89a")
    source = folder(tmp_path / "photos", files | others)
    (source / "drafts").mkdir()
    without = import_images("plain", folder(tmp_path / "plain", files), root)

    with pytest.raises(DataError, match="README.md"):
        import_images("mine", source, root)
    info = import_images("mine", source, root, options=ImportOptions(skip_others=True), note=notes.append)

    assert info.sha256 == without.sha256
    assert notes == [
        "4 files are no JPEG, PNG or WebP images and left out: 'README.md' "
        "(and 3 more: 'a/train/cat/a.txt', 'train/cat/labels.csv', ...)"
    ]


def test_images_in_wrong_places_and_damaged_ones_are_refused_all_the_same(tmp_path, root, files, folder):
    skip = ImportOptions(skip_others=True)
    cut = files["train/cat/0.png"][:200]

    for name, data in (("val/cat/0.png", cut), ("train/cat/cut.png", cut), ("train/0.jpeg", cut)):
        with pytest.raises(DataError, match=name):
            import_images("mine", folder(tmp_path / name.replace("/", "-"), files | {name: data}), root, options=skip)


@pytest.mark.parametrize(
    ("fit", "says"),
    [
        (
            "stretch",
            "1 of 7 images is not square and stretched, at most by a factor of 2.00 ('train/cat/wide.png' of 128x64); "
            "--fit crop or --fit pad keeps their aspect ratio",
        ),
        ("crop", "1 of 7 images is not square and cropped, at most by 50 % ('train/cat/wide.png' of 128x64)"),
        ("pad", "1 of 7 images is not square and padded, at most to 50 % of black ('train/cat/wide.png' of 128x64)"),
    ],
)
def test_a_change_of_form_is_told_with_its_size(tmp_path, root, files, folder, notes, fit, says):
    source = folder(tmp_path / "a", files | {"train/cat/wide.png": png(halves(128, 64))})

    import_images("mine", source, root, options=ImportOptions(fit=fit), note=notes.append)

    assert notes == [says]


def test_what_happens_to_sizes_and_colours_is_told(tmp_path, root, files, folder, notes):
    colours = folder(tmp_path / "colours", files | {"train/cat/0.png": png(Image.new("L", (64, 64), 9))})
    greys = folder(tmp_path / "greys", {name: png(Image.new("L", (32, 32), n)) for n, name in enumerate(files)})

    import_images("colours", colours, root, options=ImportOptions(ImageShape(48, 1)), note=notes.append)
    import_images("greys", greys, root, note=notes.append)
    import_images("one", greys, root, options=ImportOptions(ImageShape(32, 1)), note=notes.append)

    assert notes == [
        "5 of 6 images are smaller than 48x48 and enlarged",
        "5 of 6 images are in colour, of which --grey keeps the brightness",
        "all images are grey: --grey keeps them as one channel, a third of the bytes and of the first layer",
    ]


def test_more_images_than_memory_holds_are_refused(tmp_path, root, files, folder):
    with pytest.raises(DataError, match=r"'a' has more than 4 images, and those of 32x32 RGB are larger .* --size"):
        import_images("mine", folder(tmp_path / "a", files), root, limits=Limits(memory=4 * 3072))


def test_classes_are_counted(root, contents):
    path = catalog.path_of("mine", root)
    tensor_file.write(path, contents(train=5, test=3))

    assert tensor_file.class_counts(path) == ([3, 2], [2, 1])


def test_real_images_in_another_shape(root, notes):
    if not SHARED.exists():
        pytest.skip(f"{SHARED.name} is not on this machine")

    info = import_images("small", SHARED, root, options=ImportOptions(ImageShape(24, 1)), note=notes.append)

    assert (info.train, info.test, info.bytes - info.test - info.train > 6000 * 24 * 24) == (5000, 1000, True)
    assert load("small", root).train_images.shape == (5000, 1, 24, 24)
    assert any("in colour, of which --grey keeps the brightness" in note for note in notes)
