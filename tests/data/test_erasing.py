"""Cutout and random erasing: where the boxes lie, and that erasing is torchvision's."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from cifarsweep.data.augment import epoch_plan, train_batch
from cifarsweep.data.dataset import Split
from cifarsweep.data.erasing import cutout_boxes, erase, erased_size, erasing_boxes
from cifarsweep.spec.settings import Augment

seeds = st.integers(0, 2**64)


def height_width(boxes):
    return (boxes[:, 2:] - boxes[:, :2]).unbind(1)


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_erasing_is_torchvisions_given_the_same_boxes(seed):
    images = torch.randn(12, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    boxes = erasing_boxes(12, seed, 0, 0.7)
    expected = images.clone()
    for image, (top, left, bottom, right) in zip(expected, boxes.tolist(), strict=True):
        image.copy_(functional.erase(image, top, left, bottom - top, right - left, torch.zeros(1, 1, 1)))

    erase(images, boxes)

    assert torch.equal(images, expected)


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_the_size_is_torchvisions_given_the_same_draws(seed):
    draws = torch.Generator().manual_seed(seed % 2**63)
    part = torch.empty(1, 10).uniform_(0.02, 0.33, generator=draws)
    aspect = torch.empty(1, 10).uniform_(math.log(0.3), math.log(3.3), generator=draws).exp()
    part[0, :3] = 0.33  # long and large: often too long to fit
    aspect[0, :3] = torch.tensor([3.3, 0.3, 3.29])

    found = erased_size(part, aspect)[0].tolist()

    expected = [0, 0]
    for share, ratio in zip(reversed(part[0].tolist()), reversed(aspect[0].tolist()), strict=True):
        area = 32 * 32 * share
        height, width = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        expected = [height, width] if height < 32 and width < 32 else expected
    assert found == expected


def test_boxes_are_spread_as_torchvisions_are():
    n, theirs = 20_000, v2.RandomErasing()
    torch.manual_seed(0)
    drawn = [theirs.make_params([torch.zeros(3, 32, 32)]) for _ in range(2000)]
    height, width = (side.double() for side in height_width(erasing_boxes(n, 0, 0, 1.0)))
    top = erasing_boxes(n, 0, 0, 1.0)[:, 0].double()

    for ours, key in ((height, "h"), (width, "w"), (top, "i")):
        sample = torch.tensor([params[key] for params in drawn], dtype=torch.float64)
        assert abs(ours.mean() - sample.mean()) < 5 * sample.std() / math.sqrt(len(sample))
        assert ours.std() == pytest.approx(sample.std().item(), rel=0.08)


@settings(max_examples=25, deadline=None)
@given(seeds, st.floats(0, 1))
def test_erased_boxes_lie_inside_and_come_as_often_as_asked(seed, probability):
    boxes = erasing_boxes(2000, seed, 1, probability)

    height, width = height_width(boxes)
    assert boxes.min() >= 0 and boxes.max() <= 32 and height.max() < 32 and width.max() < 32
    assert abs((height > 0).double().mean() - probability) < 0.07


@settings(max_examples=25, deadline=None)
@given(seeds, st.integers(1, 32))
def test_a_cutout_square_is_cut_off_at_the_border_only(seed, side):
    boxes = cutout_boxes(300, seed, 0, side)

    height, width = height_width(boxes)
    assert boxes.min() >= 0 and boxes.max() <= 32 and min(height.min(), width.min()) >= side // 2
    inner = (boxes[:, 0] > 0) & (boxes[:, 2] < 32)
    assert (height[inner] == side).all()


def test_cutout_centres_reach_every_pixel_evenly():
    boxes = cutout_boxes(102_400, 0, 0, 1)

    counts = torch.bincount(boxes[:, 0] * 32 + boxes[:, 1], minlength=1024)
    assert len(counts) == 1024 and counts.min() > 50 and counts.max() < 160


def test_a_batch_has_zeros_in_its_boxes_and_nothing_else_changed():
    images = torch.randint(1, 256, (30, 3, 32, 32), dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
    split = Split(images, torch.arange(30), images, torch.arange(30), torch.full((3,), 0.1), torch.full((3,), 0.25))
    plan = epoch_plan(30, 0, 0, Augment(crop=0, cutout=8, erasing=0.5))
    plain, _ = train_batch(split, epoch_plan(30, 0, 0, Augment(crop=0)), 10, 25)

    found, _ = train_batch(split, plan, 10, 25)

    assert len(plan.boxes) == 2
    zero = (found == 0).all(1, keepdim=True).expand_as(found)
    assert torch.equal(found[~zero], plain[~zero]) and 0.03 < zero.double().mean() < 0.5
