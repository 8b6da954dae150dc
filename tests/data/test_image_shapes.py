"""What holds for images of CIFAR's shape holds for all others: files, statistics, batches and augmentation."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from cifarsweep.data import catalog, tensor_file
from cifarsweep.data.augment import epoch_plan, eval_batches, plan_of, train_batch
from cifarsweep.data.dataset import Split, _statistics, load, split
from cifarsweep.data.erasing import cutout_boxes, erasing_boxes
from cifarsweep.data.pictures import read_pictures
from cifarsweep.data.randaugment import VARIANTS, augmented, operation_plan
from cifarsweep.data.resized_crop import resized_crop_boxes
from cifarsweep.errors import DataError
from cifarsweep.spec.image_shape import ImageShape
from cifarsweep.spec.settings import Augment, Validation

SHAPES = [ImageShape(8, 1), ImageShape(28, 1), ImageShape(32, 1), ImageShape(64, 3), ImageShape(45, 3)]
shapes = pytest.mark.parametrize("shape", SHAPES, ids=str)
SPACE = v2.RandAugment._AUGMENTATION_SPACE


def noise(shape: ImageShape, n: int, seed: int = 0) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    found = torch.randint(0, 256, (n, shape.channels, shape.side, shape.side), dtype=torch.uint8, generator=draw)
    return found.contiguous(memory_format=torch.channels_last)


def made_split(shape: ImageShape, n: int = 20) -> Split:
    images, labels = noise(shape, n + 6), torch.arange(n + 6)
    return Split(images[:n], labels[:n], images[n:], labels[n:], *_statistics(images[:n]))


def ready(parts: Split) -> v2.Compose:
    return v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize(parts.mean.tolist(), parts.std.tolist())])


def stored(contents, shape: ImageShape, **sizes: int) -> tensor_file.Contents:
    made = contents(**sizes)
    arrays = {
        part: noise(shape, len(getattr(made, part)), seed).permute(0, 2, 3, 1).numpy()
        for seed, part in enumerate(("train_images", "test_images"))
    }
    return replace(made, **arrays)


@shapes
def test_a_file_holds_the_images_and_says_their_shape(root: Path, contents, shape):
    made = stored(contents, shape)
    header = tensor_file.write(catalog.path_of("mine", root), made)

    data_set = load("mine", root)

    assert header.shape == catalog.require("mine", root).shape == shape
    assert header.sha256 == tensor_file.digest_of(made)
    assert np.array_equal(data_set.train_images.permute(0, 2, 3, 1), made.train_images)
    assert np.array_equal(data_set.test_images.permute(0, 2, 3, 1), made.test_images)
    assert split(data_set, Validation()).shape == split(data_set, Validation(split="holdout")).shape == shape


def test_the_same_bytes_in_another_shape_are_other_images(contents):
    grey = stored(contents, ImageShape(48, 1), train=4, test=4)
    shapes_of_bytes = {tensor_file.digest_of(grey)}
    for shape in (ImageShape(16, 3), ImageShape(32, 3)):
        again = {part: getattr(grey, part).reshape(-1, shape.side, shape.side, shape.channels)[:3] for part in ARRAYS}
        shapes_of_bytes.add(tensor_file.digest_of(replace(grey, **again)))

    assert len(shapes_of_bytes) == 3


ARRAYS = ("train_images", "test_images")


@pytest.mark.parametrize(("was", "becomes"), [("[40, 32, 32, 3]", "[40, 32, 32, 4]"), ("[40, 32, ", "[40, 31, ")])
def test_an_impossible_shape_is_damage(root: Path, contents, was, becomes):
    path = catalog.path_of("mine", root)
    tensor_file.write(path, contents())
    path.write_bytes(path.read_bytes().replace(was.encode(), becomes.encode()))

    with pytest.raises(DataError, match="damaged"):
        tensor_file.read_header(path)


@shapes
def test_statistics_are_those_of_each_channel(shape):
    images = noise(shape, 300)

    mean, std = _statistics(images)

    assert mean.shape == std.shape == (shape.channels,)
    pixels = images.double() / 255
    assert torch.allclose(mean.double(), pixels.mean((0, 2, 3)), atol=1e-7)
    assert torch.allclose(std.double(), pixels.std((0, 2, 3), correction=0), atol=1e-7)


@settings(max_examples=40, deadline=None)
@given(data=st.data(), shape=st.sampled_from(SHAPES), pad=st.integers(0, 7))
def test_crops_and_flips_are_torchvisions(data, shape, pad):
    parts, side = made_split(shape), shape.side
    of = lambda most: torch.tensor(data.draw(st.lists(st.integers(0, most), min_size=5, max_size=5)))  # noqa: E731
    order, top, left, flip = of(19), of(2 * pad), of(2 * pad), of(1)

    images, labels = train_batch(parts, plan_of(order, top, left, flip, pad, True, side), 0, 5)

    assert images.is_contiguous(memory_format=torch.channels_last) and labels.tolist() == order.tolist()
    for place, found in enumerate(images):
        image = functional.pad(parts.train_images[order[place]], [pad] * 4)
        image = functional.crop(image, int(top[place]), int(left[place]), side, side)
        image = functional.horizontal_flip(image) if flip[place] else image
        assert (found - ready(parts)(image)).abs().max() <= 1e-6


@shapes
def test_validation_images_are_normalised(shape):
    parts = made_split(shape)

    (images, _), (rest, labels) = eval_batches(parts, 4)

    assert labels.tolist() == [24, 25]
    expected = torch.stack([ready(parts)(image) for image in parts.val_images])
    assert (torch.cat([images, rest]) - expected).abs().max() <= 1e-6


@shapes
@pytest.mark.parametrize("magnitude", [3, 30])
def test_each_operation_of_randaugment_is_torchvisions_to_the_bit(shape, magnitude):
    variants = torch.arange(len(VARIANTS)).repeat_interleave(3)
    pixels = noise(shape, 3).permute(0, 2, 3, 1).repeat(len(VARIANTS), 1, 1, 1)
    plan = replace(operation_plan(3, 0, 0, 1, magnitude, shape.side), variants=variants[None])

    found = augmented(pixels.clone(), plan)

    for image, variant, got in zip(pixels, variants.tolist(), found, strict=True):
        assert torch.equal(got, by_torchvision(image, variant, magnitude)), VARIANTS[variant]


def by_torchvision(image: torch.Tensor, variant: int, magnitude: int) -> torch.Tensor:
    name, sign = VARIANTS[variant]
    make, signed = SPACE[name]
    amounts, theirs = make(31, *image.shape[:2]), v2.RandAugment()
    amount = 0.0 if amounts is None else float(amounts[magnitude]) * (sign if signed else 1)
    changed = theirs._apply_image_or_video_transform(image.permute(2, 0, 1), name, amount, theirs.interpolation, {})
    return changed.permute(1, 2, 0)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**64), side=st.integers(8, 256))
def test_boxes_lie_inside_and_reach_the_border(seed, side):
    crops = resized_crop_boxes(500, seed, 0, 0.05, side)
    boxes = [torch.cat([crops[:, :2], crops[:, :2] + crops[:, 2:]], 1)]
    boxes += [cutout_boxes(500, seed, 0, max(1, side // 3), side), erasing_boxes(500, seed, 0, 1.0, side)]

    for found in boxes:
        assert found.min() >= 0 and side * 0.9 <= found.max() <= side


@shapes
@pytest.mark.parametrize(
    "augment",
    [Augment(crop=0, resized_crop=0.3), Augment(cutout=5, erasing=0.5), Augment(mixup=1.0, cutmix=1.0)],
)
def test_every_recipe_makes_batches_of_the_shape(shape, augment):
    parts = made_split(shape)

    images, labels = train_batch(parts, epoch_plan(20, 0, 0, augment, 26, shape.side), 4, 16)

    assert images.shape == (12, shape.channels, shape.side, shape.side) and images.isfinite().all()
    assert len(labels) == 12


@pytest.mark.parametrize("shape", [ImageShape(28, 1), ImageShape(64, 3)], ids=str)
def test_pictures_show_the_pixels(root: Path, contents, shape, monkeypatch):
    from io import BytesIO

    from PIL import Image

    made = stored(contents, shape)
    sha256 = tensor_file.write(catalog.path_of("mine", root), made).sha256
    monkeypatch.setenv("CIFARSWEEP_DATA", str(root))

    first, last = read_pictures("mine", sha256, [0, 9])

    shown = np.asarray(Image.open(BytesIO(last.png)))
    assert np.array_equal(shown.reshape(shape.side, shape.side, -1), made.test_images[9])
    assert (first.label, last.label) == ("cat", "dog")
