"""What processes of a team compute together, here in threads: the numbers of one that has the whole batch."""

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from cifarsweep.errors import DeviceError
from cifarsweep.training.batch_norm import Synchronised
from cifarsweep.training.parallel import Team

CPU = torch.device("cpu")


class Meeting:
    """Where threads leave their values, and take those of all."""

    def __init__(self, size):
        self.slots, self.barrier = [None] * size, threading.Barrier(size, timeout=200)


class Thread(Team):
    """A process of a team, played by a thread."""

    def __init__(self, rank, size, meeting):
        super().__init__(rank, size, CPU, bool)
        self._meeting = meeting

    def gather(self, values):
        self._meeting.slots[self.rank] = values.detach().clone()
        self._meeting.barrier.wait()
        found = torch.stack(self._meeting.slots)
        self._meeting.barrier.wait()
        return found

    def _summed(self, vector):
        return self.total(vector)


def together(size, work):
    """Let each thread of a team do the work with its team, and return what they return by rank."""
    meeting = Meeting(size)
    with ThreadPoolExecutor(size) as threads:
        return list(threads.map(lambda rank: work(Thread(rank, size, meeting)), range(size)))


@given(st.integers(0, 500), st.integers(1, 64))
def test_the_parts_of_a_batch_are_the_whole_of_it_and_differ_by_one_image_at_most(images, size):
    parts = [Team(rank, size, CPU, bool).part(images) for rank in range(size)]

    assert parts[0][0] == 0 and parts[-1][1] == images
    assert all(left[1] == right[0] for left, right in pairwise(parts))
    assert {last - first for first, last in parts} <= {images // size, images // size + 1}


def test_a_gradient_is_the_sum_of_those_that_there_are_and_none_where_there_is_none():
    gradients = [{"both": 1.0, "one": 2.0}, {"both": 3.0}]

    def add(team):
        held = {name: nn.Parameter(torch.zeros(3, 2)) for name in ("both", "one", "idle")}
        for name, value in gradients[team.rank].items():
            held[name].grad = torch.full((3, 2), value)
        team.add_gradients(list(held.values()))
        return {name: None if each.grad is None else each.grad[0, 0].item() for name, each in held.items()}

    assert together(2, add) == [{"both": 4.0, "one": 2.0, "idle": None}] * 2


def test_weights_that_differ_are_an_error_that_names_the_device():
    def compare(team, other=2):
        model = nn.Linear(2, 2)
        nn.init.constant_(model.weight, 1.0 + (team.rank == other))
        nn.init.zeros_(model.bias)
        team.check_equal(model, 7)

    with pytest.raises(DeviceError, match=r"device 2 of this trial's 3 has other weights than device 0 after step 7"):
        together(3, compare)
    together(3, lambda team: compare(team, other=None))


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("sizes", [(4, 4), (3, 2, 2), (1, 1)], ids=repr)
def test_synchronised_batch_norm_is_batch_norm_of_the_whole_batch(sizes, affine):
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(sum(sizes), 3, 2, 2, generator=generator) * 3 + 100
    weights = torch.randn(images.shape, generator=generator)

    def train(part, weights, mode=None):
        norm = nn.BatchNorm2d(3, affine=affine)
        if affine:
            nn.init.constant_(norm.weight, 1.5)
        part = part.clone().requires_grad_()
        if mode is None:
            made = norm(part)
        else:
            with mode:
                made = norm(part)
        (made * weights).sum().backward()
        own = [norm.weight.grad, norm.bias.grad] if affine else []
        return made.detach(), part.grad, own, [norm.running_mean, norm.running_var]

    made, grads, own, running = train(images, weights)
    parts, parts_of_weights = images.split(sizes), weights.split(sizes)
    found = together(len(sizes), lambda team: train(parts[team.rank], parts_of_weights[team.rank], Synchronised(team)))

    close = {"rtol": 1e-4, "atol": 1e-4}
    torch.testing.assert_close(torch.cat([each[0] for each in found]), made, **close)
    torch.testing.assert_close(torch.cat([each[1] for each in found]), grads, **close)
    for number, expected in enumerate(own):
        torch.testing.assert_close(sum(each[2][number] for each in found), expected, **close)
    for each in found:
        torch.testing.assert_close(each[3], running, **close)
        assert torch.equal(each[3][0], found[0][3][0]) and torch.equal(each[3][1], found[0][3][1])


def test_synchronised_batch_norm_evaluates_as_the_plain_one():
    norm, images = nn.BatchNorm2d(3).eval(), torch.randn(2, 3, 4, 4)
    expected = norm(images)
    with Synchronised(Team(0, 2, CPU, bool)):
        assert torch.equal(norm(images), expected)
