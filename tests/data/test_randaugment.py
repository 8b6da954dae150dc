"""RandAugment of batches equals torchvision's of each image, given the same operations."""

import pytest
import torch
from torchvision.transforms import v2

from cifarsweep.data.augment import epoch_plan, train_batch
from cifarsweep.data.dataset import Split
from cifarsweep.data.randaugment import VARIANTS, augmented, operation_plan
from cifarsweep.spec.settings import Augment

SPACE = v2.RandAugment._AUGMENTATION_SPACE


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    """Noise, a dark, a flat and a smooth image, and one whose red is empty: uint8 (9, 32, 32, 3)."""
    found = torch.randint(0, 256, (9, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    found[5] //= 3
    found[6] = 7
    found[7] = torch.arange(0, 256, 8, dtype=torch.uint8).view(32, 1, 1)
    found[8, ..., 0] = 0
    return found


def by_torchvision(image: torch.Tensor, variant: int, magnitude: int) -> torch.Tensor:
    name, sign = VARIANTS[variant]
    make, signed = SPACE[name]
    amounts, theirs = make(31, 32, 32), v2.RandAugment()
    amount = 0.0 if amounts is None else float(amounts[magnitude]) * (sign if signed else 1)
    changed = theirs._apply_image_or_video_transform(image.permute(2, 0, 1), name, amount, theirs.interpolation, {})
    return changed.permute(1, 2, 0)


def plan_with(variants, magnitude):
    plan = operation_plan(variants.shape[1], 0, 0, 1, magnitude)
    return type(plan)(variants, plan.sources, plan.tables, magnitude)


@pytest.mark.parametrize("everywhere", [False, True], ids=["own images only", "all images"])
@pytest.mark.parametrize("magnitude", [0, 9, 30])
def test_each_operation_is_torchvisions_to_the_bit(pixels, magnitude, everywhere):
    variants = torch.arange(len(VARIANTS)).repeat_interleave(len(pixels))
    images = pixels.repeat(len(VARIANTS), 1, 1, 1)

    found = augmented(images.clone(), plan_with(variants[None], magnitude), everywhere=everywhere)

    for image, variant, got in zip(images, variants.tolist(), found, strict=True):
        assert torch.equal(got, by_torchvision(image, variant, magnitude)), VARIANTS[variant]


def test_rounds_follow_each_other(pixels):
    plan = operation_plan(len(pixels), 3, 1, 3, 12)

    found = augmented(pixels.clone(), plan)

    for place, image in enumerate(pixels):
        for variant in plan.variants[:, place].tolist():
            image = by_torchvision(image, variant, 12)
        assert torch.equal(found[place], image)


def test_operations_and_signs_are_drawn_evenly():
    assert {name for name, _ in VARIANTS} == set(SPACE)
    assert {name for name, sign in VARIANTS if sign < 0} == {name for name, (_, signed) in SPACE.items() if signed}

    drawn = torch.bincount(operation_plan(56_000, 0, 0, 2, 9).variants.flatten(), minlength=len(VARIANTS))

    for (name, _), count in zip(VARIANTS, drawn.tolist(), strict=True):
        assert abs(count / (8000 / (2 if SPACE[name][1] else 1)) - 1) < 0.08, name


def test_a_batch_needs_none_before_it():
    images = torch.randint(0, 256, (20, 3, 32, 32), dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
    split = Split(images, torch.arange(20), images, torch.arange(20), torch.full((3,), 0.5), torch.full((3,), 0.25))
    recipe = Augment(randaugment=2)

    whole, _ = train_batch(split, epoch_plan(20, 0, 3, recipe), 0, 20)
    part, _ = train_batch(split, epoch_plan(20, 0, 3, recipe), 8, 15)

    assert torch.equal(part, whole[8:15])
    assert torch.equal(split.train_images, images)
    plain, _ = train_batch(split, epoch_plan(20, 0, 3, Augment()), 0, 20)
    assert (whole != plain).flatten(1).any(1).double().mean() > 0.5


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_gpu_makes_the_same_images_without_waiting(pixels):
    variants = torch.arange(len(VARIANTS)).repeat_interleave(len(pixels))[None]
    images, plan = pixels.repeat(len(VARIANTS), 1, 1, 1), plan_with(variants, 9)
    there, plan_there = images.cuda(), plan.to("cuda")

    torch.cuda.set_sync_debug_mode("error")
    try:
        found = augmented(there, plan_there)
    finally:
        torch.cuda.set_sync_debug_mode("default")

    assert torch.equal(found.cpu(), augmented(images, plan))
