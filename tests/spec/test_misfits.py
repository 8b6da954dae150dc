"""What images of a shape can't have is said before anything is trained, and everything else trains."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cifarsweep.models import counted_cost
from cifarsweep.spec.image_shape import CIFAR, ImageShape
from cifarsweep.spec.misfits import misfit
from cifarsweep.spec.settings import Augment, ConvNet, Normalize, Settings, ViT

GREY = ImageShape(28, 1)


def changed(dataset: str = "mine", **changes: object) -> Settings:
    return Settings(dataset=dataset, epochs=1, **changes)


@pytest.mark.parametrize(
    ("settings", "shape", "says"),
    [
        (
            changed(model=ConvNet(widths=(8,) * 6)),
            GREY,
            "model.widths: 6 stages are too many for images of 28x28 grey: each but the first halves them; give at "
            "most 5 widths",
        ),
        (
            changed(model=ConvNet(widths=(8,) * 5, norm="instance")),
            GREY,
            "halves them, and instance norm needs more than one pixel; give at most 4 widths",
        ),
        (
            changed(model=ViT(patch_size=8)),
            GREY,
            "model.patch_size: 8 does not divide the side of images of 28x28 grey; use one of 1, 2, 4, 7, 14, 28",
        ),
        (changed(model=ViT(patch_size=8, stem="conv")), GREY, "use one of 1, 2, 4$"),
        (changed(augment=Augment(crop=15)), GREY, "augment.crop: a padding of 15 pixels .* use at most 14"),
        (changed(augment=Augment(cutout=29)), GREY, "augment.cutout: 29 pixels are more .* use at most 28"),
        (
            changed(normalize=Normalize(mean=(0.5,) * 3, std=(0.5,) * 3)),
            GREY,
            "normalize.mean: 3 for images of 28x28 grey; give 1 number as mean and as std",
        ),
        (changed(normalize=Normalize(mean=(0.5,), std=(0.5,))), CIFAR, "1 for images of 32x32 RGB; give 3 numbers"),
    ],
)
def test_what_does_not_fit_is_named_with_the_remedy(settings, shape, says):
    assert misfit(settings) is None, "nobody knows the images yet"
    with pytest.raises(ValueError, match=says):
        raise ValueError(misfit(settings, shape))


def test_what_fits_is_not_refused():
    recipe = Augment(crop=14, cutout=28)
    assert misfit(changed(augment=recipe, normalize=Normalize(mean=(0.5,), std=(0.5,))), GREY) is None
    assert misfit(changed(model=ViT(patch_size=7)), GREY) is None
    assert misfit(changed(model=ConvNet(widths=(8,) * 9)), ImageShape(256, 3)) is None


def test_data_sets_that_are_known_by_name_have_the_shape_of_cifar():
    assert "does not divide" in misfit(changed("digits", model=ViT(patch_size=7)))
    assert misfit(changed("cifar10", augment=Augment(crop=16))) is None


@given(st.integers(8, 256), st.integers(1, 9))
def test_a_plain_net_has_as_many_stages_as_it_says(side, stages):
    """Stages and pixels of the meta device, where nothing is computed."""
    settings = changed(model=ConvNet(widths=(8,) * stages, convs_per_stage=1, norm="none"))
    shape = ImageShape(side, 1)

    if misfit(settings, shape) is None:
        assert counted_cost(settings.model, 2, shape).params
    else:
        with pytest.raises(RuntimeError, match="too small"):
            counted_cost(settings.model, 2, shape)


@pytest.mark.parametrize("wrong", [((0.5,) * 2, (0.5,) * 2), ((0.5,), (0.5,) * 3), ((), ())])
def test_constants_are_for_one_channel_or_three(wrong):
    with pytest.raises(ValueError, match="mean: give 3 numbers as mean and as std, or 1 for grey images"):
        Normalize(mean=wrong[0], std=wrong[1])


def test_a_stem_of_convolutions_needs_a_power_of_two():
    with pytest.raises(ValueError, match="patch_size: 7 is no power of 2, and the conv stem halves images"):
        ViT(patch_size=7, stem="conv")
