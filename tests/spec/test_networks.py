"""What stands in the table of our networks is what the networks are."""

import pytest

from cifarsweep.models import cost
from cifarsweep.models.registry import _Own
from cifarsweep.spec import networks
from cifarsweep.spec.image_shape import CIFAR
from cifarsweep.spec.networks import OWN, own_rows


@pytest.mark.parametrize("known", OWN, ids=lambda known: f"{known.model.name} {networks.options(known.model)}")
@pytest.mark.parametrize("classes", [2, 100])
def test_a_network_costs_what_the_table_says(known, classes):
    counted = cost(known.model, classes)

    row = known.row(classes)
    assert (row.params, row.flops, row.size) == (counted.params, counted.flops_per_image, CIFAR.side)


def test_every_family_of_our_own_is_in_the_table():
    families = {family.__name__.lower() for family in _Own.__args__}

    assert {type(known.model).__module__ for known in OWN} == {"cifarsweep.spec.model_settings"}
    assert {type(known.model).__name__.lower() for known in OWN} == families
    assert len(own_rows([], 10)) == len(OWN)
