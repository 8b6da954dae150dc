import pytest
from hypothesis import given
from hypothesis import strategies as st

from cifarsweep.errors import SpecError
from cifarsweep.spec.settings import Settings
from cifarsweep.training.schedule import Budget

budgets = st.builds(Budget, images=st.integers(1, 500), batch_size=st.integers(1, 600), total_steps=st.integers(1, 100))


@given(budgets, st.integers(0, 3))
def test_the_slices_of_an_epoch_are_its_images_once(budget, epoch):
    first = epoch * budget.steps_per_epoch
    slices = [budget.slice(step) for step in range(first, first + budget.steps_per_epoch)]
    images = [image for part in slices for image in range(part.start, part.stop)]
    assert images == list(range(budget.images))
    assert {part.epoch for part in slices} == {epoch}
    assert all(part.stop - part.start == budget.batch_size for part in slices[:-1])


@given(budgets, st.integers(0, 100))
def test_images_seen_are_the_sizes_of_the_steps_done(budget, steps):
    done = [budget.slice(step) for step in range(steps)]
    assert budget.images_seen(steps) == sum(part.stop - part.start for part in done)


@given(budgets, st.integers(0, 5))
def test_an_epoch_is_whole_at_its_end(budget, epochs):
    assert budget.epoch(epochs * budget.steps_per_epoch) == epochs


def test_epochs_and_steps_are_both_budgets():
    assert Budget.of(Settings(epochs=3, batch_size=40), images=100).total_steps == 9
    assert Budget.of(Settings(steps=7, batch_size=40), images=100).total_steps == 7


def test_a_last_batch_that_is_too_small_is_refused():
    settings = Settings(steps=1, batch_size=33)
    assert Budget.of(settings, images=101, smallest_batch=2).steps_per_epoch == 4
    with pytest.raises(SpecError, match="batch_size: 33 leaves a batch of 1 at the end of 100 images"):
        Budget.of(settings, images=100, smallest_batch=2)


def test_a_batch_larger_than_the_data_set_is_refused():
    assert Budget.of(Settings(steps=1, batch_size=100), images=100).steps_per_epoch == 1
    with pytest.raises(SpecError, match="batch_size: 101 is more than the 100 training images of .*at most 100"):
        Budget.of(Settings(steps=1, batch_size=101), images=100)


@pytest.mark.parametrize(
    ("changes", "smallest", "found"),
    [
        ({"devices": 4}, 2, None),
        ({"devices": 5}, 2, r"leaves a batch of 8 at the end of 104 .*5 devices need 2 each.*or at most 4 devices"),
        ({"devices": 5, "batch_norm": "synchronised"}, 2, None),
        ({"devices": 9}, 1, r"9 devices need 1 each; choose another batch_size, or at most 8 devices"),
        ({"devices": 8, "batch_size": 13}, 2, r"batch_size: 13 images are too few.* at least 16, or at most 6 devices"),
    ],
)
def test_each_device_gets_as_many_images_as_the_network_needs(changes, smallest, found):
    settings = Settings(**{"steps": 1, "batch_size": 32, **changes})
    if found is None:
        Budget.of(settings, 104, smallest)
    else:
        with pytest.raises(SpecError, match=found):
            Budget.of(settings, 104, smallest)


def test_more_devices_than_images_of_a_batch_are_refused():
    with pytest.raises(ValueError, match="devices: 8 devices can't share a batch of 4; choose at most 4"):
        Settings(epochs=1, batch_size=4, devices=8)
