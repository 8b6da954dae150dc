"""Mixup and cutmix equal torchvision's, given the same shares and boxes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms import v2

from cifarsweep.data.augment import epoch_plan, planned_batch, train_batch
from cifarsweep.data.dataset import Split
from cifarsweep.data.mixing import mix, mix_plan
from cifarsweep.spec.settings import Augment

CLASSES = 5
BOTH = Augment(mixup=0.2, cutmix=1.0)
RECIPES = [Augment(mixup=0.4), Augment(cutmix=1.0), BOTH, BOTH.model_copy(update={"mixup_prob": 0.5})]


def batch(count):
    images = torch.randn(count, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    return images, torch.arange(count) % CLASSES


def by_torchvision(images, labels, plan, start):
    share = float(plan.share[start])
    top, left, bottom, right = plan.box[start].tolist()
    if plan.cut[start]:
        theirs = v2.CutMix(num_classes=CLASSES)
        params = {"box": (left, top, right, bottom), "lam_adjusted": share}
    else:
        theirs, params = v2.MixUp(num_classes=CLASSES), {"lam": share}
    params |= {"labels": labels, "batch_size": len(labels)}
    return theirs.transform(images, params), theirs.transform(labels, params)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(RECIPES), st.integers(0, 2**64), st.integers(0, 39), st.integers(1, 9))
def test_a_mixed_batch_is_torchvisions(recipe, seed, start, count):
    plan = mix_plan(40, seed, 2, recipe, CLASSES)
    images, labels = batch(count)
    expected_images, expected_labels = by_torchvision(images, labels, plan, start)

    found = mix(images, labels, plan.batch(start))

    assert torch.equal(images, expected_images)
    assert torch.equal(found, expected_labels)
    assert found.sum(1) == pytest.approx(torch.ones(count))


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_shares_are_of_the_beta_distribution(alpha):
    share = mix_plan(40_000, 0, 0, Augment(mixup=alpha), CLASSES).share

    assert share.mean() == pytest.approx(0.5, abs=0.01)
    assert share.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.03)


def test_boxes_are_spread_as_torchvisions_are():
    torch.manual_seed(0)
    theirs = v2.CutMix(num_classes=CLASSES)
    drawn = [theirs.make_params([torch.zeros(2, 3, 32, 32)])["lam_adjusted"] for _ in range(3000)]
    share = mix_plan(30_000, 0, 0, Augment(cutmix=1.0), CLASSES).share

    assert share.mean() == pytest.approx(sum(drawn) / len(drawn), abs=0.02)
    assert share.std() == pytest.approx(torch.tensor(drawn).std().item(), rel=0.06)


def test_both_kinds_take_turns_by_chance_and_neither_changes_the_other():
    both, mixup, cutmix = (
        mix_plan(9000, 0, 0, recipe, CLASSES) for recipe in (RECIPES[2], Augment(mixup=0.2), RECIPES[1])
    )

    assert both.cut.double().mean() == pytest.approx(0.5, abs=0.03)
    assert torch.equal(both.share[~both.cut], mixup.share[~both.cut])
    assert torch.equal(both.share[both.cut], cutmix.share[both.cut])
    assert torch.equal(both.box, cutmix.box)


def test_a_part_of_the_batches_is_not_mixed_and_the_others_are_as_without_it():
    always, often = (mix_plan(20_000, 0, 0, BOTH.model_copy(update={"mixup_prob": p}), CLASSES) for p in (1.0, 0.7))
    plain = (often.share == 1) & ~often.cut

    assert plain.double().mean() == pytest.approx(0.3, abs=0.02)
    assert torch.equal(often.share[~plain], always.share[~plain]) and torch.equal(often.cut[~plain], always.cut[~plain])
    images, labels = batch(4)
    found = mix(same := images.clone(), labels, often.batch(int(plain.nonzero()[0])))
    assert (
        torch.equal(same, images) and torch.equal(found.argmax(1), labels) and torch.equal(found.amax(1), torch.ones(4))
    )


def test_what_is_off_draws_nothing_and_leaves_labels_as_they_are():
    assert mix_plan(10, 0, 0, Augment(), CLASSES) is None
    plan = epoch_plan(10, 0, 0, Augment())
    assert (plan.operations, plan.boxes, plan.mix) == (None, (), None)


def test_any_batch_of_an_epoch_can_be_made_alone():
    images = torch.randint(0, 256, (20, 3, 32, 32), dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
    split = Split(images, torch.arange(20) % CLASSES, images, torch.arange(20), torch.ones(3) / 2, torch.ones(3) / 4)
    plan = epoch_plan(20, 0, 1, RECIPES[2], CLASSES)

    first = [train_batch(split, plan, start, start + 5) for start in (0, 5, 10)]
    images, wanted = train_batch(split, epoch_plan(20, 0, 1, RECIPES[2], CLASSES), 5, 10)

    assert torch.equal(images, first[1][0]) and torch.equal(wanted, first[1][1])
    assert wanted.shape == (5, CLASSES)


def test_the_parts_of_a_batch_are_what_the_whole_of_it_is():
    """The image before the first of a part is in another part, and goes into it all the same."""
    images = torch.randint(0, 256, (20, 3, 32, 32), dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
    split = Split(images, torch.arange(20) % CLASSES, images, torch.arange(20), torch.ones(3) / 2, torch.ones(3) / 4)
    for recipe in (RECIPES[2], Augment(mixup=0.4, randaugment=2, cutout=8), Augment(crop=2, erasing=0.5, vflip=True)):
        plan = epoch_plan(20, 0, 1, recipe, CLASSES).batch(3, 14)
        whole, wanted = planned_batch(split, plan)

        parts = [planned_batch(split, plan.part(*ends)) for ends in ((0, 4), (4, 7), (7, 11))]

        sizes = (4, 3, 4)
        assert torch.equal(torch.cat([x[-n:] for (x, _), n in zip(parts, sizes, strict=True)]), whole)
        assert torch.equal(torch.cat([y[-n:] for (_, y), n in zip(parts, sizes, strict=True)]), wanted)
