"""Images are normalised as the settings say."""

import pytest
import torch
from stripes import CLASSES, TINY, make_split

from cifarsweep.spec.settings import Augment, Normalize
from cifarsweep.training.batches import BatchLoader
from cifarsweep.training.schedule import BatchSlice

MEAN, STD = (0.25, 0.5, 0.75), (0.5, 0.25, 1.0)


def loader(normalize):
    settings = TINY.model_copy(update={"normalize": normalize, "augment": Augment(crop=0, flip=False)})
    return BatchLoader(make_split(), settings, 0, torch.device("cpu"), CLASSES)


def test_training_and_validation_images_have_the_mean_and_deviation_given():
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    images, _ = loader(Normalize(mean=MEAN, std=STD)).train_batch(BatchSlice(0, 0, 8))
    plain, _ = loader(Normalize(mean=(0, 0, 0), std=(1, 1, 1))).train_batch(BatchSlice(0, 0, 8))
    torch.testing.assert_close(images, (plain - mean) / std)
    held_out, _ = next(loader(Normalize(mean=MEAN, std=STD)).validation.batches())
    torch.testing.assert_close(held_out, (make_split().val_images / 255 - mean) / std)


def test_without_them_the_statistics_of_the_training_images_hold():
    split = make_split()
    images, _ = next(loader(Normalize()).validation.batches())
    mean, std = (values.view(3, 1, 1) for values in (split.mean, split.std))
    torch.testing.assert_close(images, (split.val_images / 255 - mean) / std)


@pytest.mark.parametrize("given", [{"mean": MEAN}, {"std": STD}])
def test_one_of_the_two_is_refused(given):
    with pytest.raises(ValueError, match="mean: give mean and std, or neither"):
        Normalize(**given)


@pytest.mark.parametrize(
    "given", [{"mean": MEAN, "std": (0.5, 0.5, 0.0)}, {"mean": (125.0, 0.5, 0.5), "std": STD}, {"mean": (0.5,)}]
)
def test_numbers_that_can_not_be_meant_are_refused(given):
    with pytest.raises(ValueError, match=r"std|mean"):
        Normalize(**given)
