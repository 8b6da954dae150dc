"""Batches equal those of torchvision's transforms, image by image, and any of them can be made at any time."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from cifarsweep.data.augment import EpochPlan, epoch_plan, eval_batches, plan_of, train_batch
from cifarsweep.data.dataset import Split, _statistics
from cifarsweep.data.resized_crop import resized_crop_boxes
from cifarsweep.data.seeding import derive_seed, generator
from cifarsweep.spec.settings import Augment


def made_split(n: int = 40, val: int = 10, layout: torch.memory_format = torch.channels_last) -> Split:
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (n + val, 3, 32, 32), dtype=torch.uint8, generator=draw)
    images = images.contiguous(memory_format=layout)
    labels = torch.arange(n + val)
    return Split(images[:n], labels[:n], images[n:], labels[n:], *_statistics(images[:n]))


def by_torchvision(split: Split, index: int, top: int, left: int, flip: int, pad: int) -> torch.Tensor:
    image = functional.pad(split.train_images[index], [pad] * 4)
    image = functional.crop(image, top, left, 32, 32)
    image = functional.horizontal_flip(image) if flip else image
    ready = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize(split.mean.tolist(), split.std.tolist())])
    return ready(image)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), pad=st.integers(0, 16), n=st.integers(1, 12))
def test_batch_equals_torchvision_given_the_same_offsets(data, pad, n):
    split = made_split(n=12)
    of = lambda most: data.draw(st.lists(st.integers(0, most), min_size=n, max_size=n))  # noqa: E731
    order, top, left, flip = (torch.tensor(of(most)) for most in (11, 2 * pad, 2 * pad, 1))

    images, labels = train_batch(split, plan_of(order, top, left, flip, pad, True), 0, n)

    drawn = zip(order.tolist(), top.tolist(), left.tolist(), flip.tolist(), strict=True)
    expected = torch.stack([by_torchvision(split, *one, pad) for one in drawn])
    assert (images - expected).abs().max() <= 1e-6
    assert torch.equal(labels, split.train_labels[order])


@pytest.mark.parametrize("augment", [Augment(crop=0, flip=False), Augment(crop=0), Augment(flip=False), Augment()])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_every_setting_gives_dense_channels_last_batches(augment, layout):
    split = made_split(layout=layout)

    images, _ = train_batch(split, epoch_plan(40, 0, 0, augment), 8, 20)

    assert images.shape == (12, 3, 32, 32) and images.dtype == torch.float32
    assert images.is_contiguous(memory_format=torch.channels_last)


@given(n=st.integers(1, 300), seed=st.integers(0, 2**64), smallest=st.floats(0.001, 1))
def test_resized_crops_are_large_enough_and_lie_inside(n, seed, smallest):
    top, left, height, width = resized_crop_boxes(n, seed, 0, smallest).unbind(1)

    assert min(top.min(), left.min()) >= 0 and min(height.min(), width.min()) >= 1
    assert max((top + height).max(), (left + width).max()) <= 32
    # Sides are rounded to whole pixels.
    assert ((height + 0.5) * (width + 0.5) >= smallest * 32 * 32).all()


def test_resized_crops_take_every_size_and_place():
    top, left, height, width = resized_crop_boxes(20_000, 0, 0, 0.08).unbind(1)

    assert set(range(12, 30)) <= set(height.tolist()) and set(range(12, 30)) <= set(width.tolist())
    assert {0, 20} <= set(top.tolist()) and {0, 20} <= set(left.tolist())
    assert 0.4 < (height * width / 1024).mean() < 0.56


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), smallest=st.floats(0.01, 1), hflip=st.booleans(), vflip=st.booleans())
def test_resized_and_mirrored_batches_equal_torchvision(seed, smallest, hflip, vflip):
    split = made_split(n=12)
    plan = epoch_plan(12, seed, 0, Augment(crop=0, flip=hflip, vflip=vflip, resized_crop=smallest))

    images, labels = train_batch(split, plan, 0, 12)

    ready = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize(split.mean.tolist(), split.std.tolist())])
    for image, label, box, across, down in zip(
        images, labels, plan.resized, plan.flip, plan.vflip if vflip else [0] * 12, strict=True
    ):
        pixels = split.train_images[label].float()
        pixels = functional.resized_crop(pixels, *box.tolist(), [32, 32], antialias=True).round().to(torch.uint8)
        pixels = functional.horizontal_flip(pixels) if across else pixels
        pixels = functional.vertical_flip(pixels) if down else pixels
        # A value half-way between two may be rounded either way.
        assert (image - ready(pixels)).abs().max() <= 1.01 / 255 / split.std.min()
        assert (image - ready(pixels)).abs().gt(1e-6).float().mean() < 0.01


def test_vertical_flips_are_as_many_as_not():
    assert abs(epoch_plan(90_000, 0, 0, Augment(vflip=True)).vflip.double().mean() - 0.5) < 0.01


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"resized_crop": 0.1}, "resized_crop: takes the place of crop; set crop = 0"),
        ({"mixup_prob": 0.7}, "mixup_prob: nothing is mixed; set mixup or cutmix"),
    ],
)
def test_what_makes_no_sense_together_is_refused(given, sentence):
    with pytest.raises(ValueError, match=sentence):
        Augment(**given)


def test_without_augmentation_an_epoch_is_the_training_part_in_another_order():
    split, plan = made_split(), epoch_plan(40, 3, 1, Augment(crop=0, flip=False))

    images, labels = train_batch(split, plan, 0, 40)

    plain, _ = train_batch(split, plan_of(torch.arange(40), *torch.zeros(3, 40, dtype=torch.int64), 0, False), 0, 40)
    assert torch.equal(images[labels.argsort()], plain)
    assert labels.tolist() != list(range(40))


def test_batches_are_the_same_whatever_was_made_before():
    split = made_split()
    plan = epoch_plan(40, 7, 2, Augment())
    whole = torch.cat([train_batch(split, plan, start, start + 16)[0] for start in (0, 16, 32)])

    torch.manual_seed(99)
    again, _ = train_batch(split, epoch_plan(40, 7, 2, Augment()), 16, 32)

    assert torch.equal(again, whole[16:32]) and len(whole) == 40


@given(n=st.integers(1, 300), seed=st.integers(0, 2**64), epoch=st.integers(0, 500), pad=st.integers(0, 16))
def test_plan_sees_each_image_once_and_stays_within_the_padding(n, seed, epoch, pad):
    plan = epoch_plan(n, seed, epoch, Augment(crop=pad))

    assert sorted(plan.order.tolist()) == list(range(n))
    assert set(plan.flip.tolist()) <= {0, 1}
    row, column = plan.offset // (32 + 2 * pad), plan.offset % (32 + 2 * pad)
    assert min(row.min(), column.min()) >= 0 and max(row.max(), column.max()) <= 2 * pad


def test_offsets_and_flips_are_spread_evenly():
    plan = epoch_plan(90_000, 0, 0, Augment(crop=1))

    counts = torch.bincount(plan.offset // 34 * 3 + plan.offset % 34, minlength=9)
    assert counts.min() > 9_500 and counts.max() < 10_500
    assert abs(plan.flip.double().mean() - 0.5) < 0.01


def test_seeds_epochs_and_purposes_draw_differently():
    plans = [epoch_plan(100, seed, epoch, Augment()) for seed, epoch in ((0, 0), (0, 1), (1, 0))]

    assert len({tuple(plan.order.tolist()) for plan in plans}) == 3
    assert len({tuple(plan.offset.tolist()) for plan in plans}) == 3


def test_switching_one_kind_off_leaves_the_others_as_they_are():
    full, still = epoch_plan(100, 0, 0, Augment()), epoch_plan(100, 0, 0, Augment(crop=0))

    assert torch.equal(full.order, still.order) and torch.equal(full.flip, still.flip)
    assert not epoch_plan(100, 0, 0, Augment(flip=False)).flip.any()


def test_keys_are_the_published_ones():
    # SHA-256 of "0/order/0", first eight bytes, little endian: a change here changes every result ever made.
    assert derive_seed(0, "order", 0) == 7983451878373509741
    assert generator(1, "crop", 2).initial_seed() == derive_seed(1, "crop", 2)
    assert derive_seed(1, "order", 11) != derive_seed(11, "order", 1) != derive_seed(1, "order1", 1)


def test_drawing_leaves_the_global_generator_alone():
    before = torch.get_rng_state()

    epoch_plan(100, 0, 0, Augment())

    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("size", [1, 4, 10, 64])
def test_evaluation_sees_every_image_in_order_as_it_is(size):
    split = made_split()

    batches = list(eval_batches(split, size))

    images, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    expected = (split.val_images / 255 - split.mean[:, None, None]) / split.std[:, None, None]
    assert (images - expected).abs().max() <= 1e-6
    assert torch.equal(labels, split.val_labels) and all(len(part) <= size for part, _ in batches)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_gpu_makes_the_same_batches_without_waiting():
    split, plan = made_split(), epoch_plan(40, 0, 0, Augment())
    expected, labels = train_batch(split, plan, 8, 40)
    there, plan_there = split.to("cuda"), plan.to("cuda")
    train_batch(there, plan_there, 0, 8)

    torch.cuda.set_sync_debug_mode("error")
    try:
        images, labels_there = train_batch(there, plan_there, 8, 40)
    finally:
        torch.cuda.set_sync_debug_mode("default")

    assert (images.cpu() - expected).abs().max() <= 1e-6
    assert torch.equal(labels_there.cpu(), labels)


def test_plan_on_the_same_device_is_equal():
    plan = epoch_plan(10, 0, 0, Augment())
    moved: EpochPlan = plan.to("cpu")

    assert torch.equal(moved.offset, plan.offset) and (moved.pad, moved.mirrors) == (4, True)
