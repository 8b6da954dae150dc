"""Images of other sizes and grey ones train as those of CIFAR do: to the same bits after an interruption."""

import pytest
import torch
from stripes import CLASSES, TINY, bits, finished, stop_after

from cifarsweep.data.dataset import Split, _statistics
from cifarsweep.errors import SpecError
from cifarsweep.models import cost
from cifarsweep.spec.image_shape import CIFAR, ImageShape
from cifarsweep.spec.settings import Augment, ConvNet, Normalize, ViT
from cifarsweep.training.batches import EVAL_BATCH, eval_batch

GREY, LARGE = ImageShape(28, 1), ImageShape(48, 3)
RECIPES = {
    "plain": TINY,
    "everything": TINY.model_copy(
        update={"augment": Augment(crop=3, vflip=True, randaugment=2, cutout=9, erasing=0.5, mixup=0.5, cutmix=1.0)}
    ),
    "resized": TINY.model_copy(update={"augment": Augment(crop=0, resized_crop=0.3)}),
    "vit": TINY.model_copy(update={"model": ViT(width=16, depth=1, heads=2, patch_size=4)}),
}


def noise(shape: ImageShape) -> Split:
    draw = torch.Generator().manual_seed(shape.side)
    images = torch.randint(0, 256, (132, shape.channels, shape.side, shape.side), dtype=torch.uint8, generator=draw)
    images, labels = images.contiguous(memory_format=torch.channels_last), torch.arange(132) % CLASSES
    return Split(images[:92], labels[:92], images[92:], labels[92:], *_statistics(images[:92]))


@pytest.mark.parametrize("shape", [GREY, LARGE], ids=str)
@pytest.mark.parametrize("name", RECIPES)
def test_an_interrupted_run_equals_the_whole_one(bench, shape, name):
    bench.split = noise(shape)
    whole, folder = bench.events(RECIPES[name]), bench.folder()

    first = bench.events(RECIPES[name], folder=folder, should_stop=stop_after(7))
    second = bench.events(RECIPES[name], folder=folder, resume=(first[-2].checkpoint,))

    assert bits(first) | bits(second) == bits(whole)
    assert finished(second).result.weights_sha256 == finished(whole).result.weights_sha256


@pytest.mark.parametrize("shape", [GREY, LARGE], ids=str)
def test_the_first_event_tells_what_the_network_costs_on_these_images(bench, shape):
    bench.split = noise(shape)

    started = bench.events()[0]

    price = cost(TINY.model, CLASSES, shape)
    assert (started.params, started.flops_per_image) == (price.params, price.flops_per_image)
    assert price != cost(TINY.model, CLASSES)


def test_constants_of_grey_images_replace_their_statistics(bench):
    bench.split = noise(GREY)
    halves = TINY.model_copy(update={"normalize": Normalize(mean=(0.5,), std=(0.25,))})

    assert bits(bench.events(halves)) != bits(bench.events())


def test_images_that_a_network_can_not_have_are_refused_at_once(bench):
    bench.split = noise(GREY)

    with pytest.raises(SpecError, match="model.widths: 6 stages are too many for images of 28x28 grey"):
        bench.events(TINY.model_copy(update={"model": ConvNet(widths=(4,) * 6)}))


def test_evaluations_of_large_images_need_no_more_memory():
    assert [eval_batch(shape) for shape in (ImageShape(8, 1), CIFAR)] == [EVAL_BATCH] * 2 == [500] * 2
    assert [eval_batch(ImageShape(side, 3)) for side in (64, 96, 256)] == [125, 55, 50]
