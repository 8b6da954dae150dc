"""What stands in the table of our networks is what the networks are."""

import pytest

from cifarsweep.errors import SpecError
from cifarsweep.models import counted_cost
from cifarsweep.models.registry import _Own
from cifarsweep.spec import networks
from cifarsweep.spec.image_shape import CIFAR, ImageShape
from cifarsweep.spec.networks import OWN, own_rows


@pytest.mark.parametrize("known", OWN, ids=lambda known: f"{known.model.name} {networks.options(known.model)}")
@pytest.mark.parametrize(("classes", "shape"), [(2, CIFAR), (100, CIFAR), (10, ImageShape(28, 1)), (7, ImageShape(64))])
def test_a_network_costs_what_the_table_says(known, classes, shape):
    counted = counted_cost(known.model, classes, shape)

    row = known.row(classes, shape)
    assert (row.params, row.flops, row.size) == (counted.params, counted.flops_per_image, shape.side)


def test_only_networks_that_fit_are_listed_and_a_named_one_is_refused():
    odd = ImageShape(45, 1)

    assert "vit" not in {row.name for row in own_rows([], 10, odd)} and len(own_rows([], 10, odd)) == len(OWN) - 2
    with pytest.raises(SpecError, match="model.patch_size: 4 does not divide the side of images of 45x45 grey"):
        own_rows(["vit"], 10, odd)


def test_every_family_of_our_own_is_in_the_table():
    families = {family.__name__.lower() for family in _Own.__args__}

    assert {type(known.model).__module__ for known in OWN} == {"cifarsweep.spec.model_settings"}
    assert {type(known.model).__name__.lower() for known in OWN} == families
    assert len(own_rows([], 10)) == len(OWN)
