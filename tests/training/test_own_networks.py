"""Networks of the user's own code keep the promises of ours, and what is wrong with one is said at once."""

from pathlib import Path

import pytest
import torch
from stripes import TINY, bits, finished, stop_after
from support.own_code import FILES, NETS, usable, with_model

from cifarsweep.errors import SpecError
from cifarsweep.models import build, cost, smallest_batch
from cifarsweep.spec.image_shape import CIFAR
from cifarsweep.training.first_steps import check_first_steps

pytestmark = pytest.mark.usefixtures("no_code_stays")
SETTINGS = TINY.model_copy(update={"threads": 1})


@pytest.fixture
def code(tmp_path: Path) -> str:
    return usable(tmp_path / "code")


@pytest.mark.parametrize("polls", [0, 3, 7, 12])
def test_a_trial_that_is_interrupted_comes_to_the_same_bits(bench, code, polls):
    settings = with_model(TINY, code, depth=2)
    whole = bench.undisturbed(settings)

    folder = bench.folder()
    first = bench.events(settings, folder=folder, should_stop=stop_after(polls))
    torch.manual_seed(99)  # the second attempt is another process
    second = bench.events(settings, folder=folder, resume=(first[-2].checkpoint,))

    assert bits(first) | bits(second) == bits(whole)
    assert finished(second).result.weights_sha256 == finished(whole).result.weights_sha256


def test_weights_follow_the_seed_and_nothing_else(code):
    model = with_model(TINY, code).model
    torch.manual_seed(1)
    first = build(model, 4, torch.Generator().manual_seed(5)).state_dict()
    drawn = torch.rand(1)
    torch.manual_seed(2)
    second = build(model, 4, torch.Generator().manual_seed(5)).state_dict()
    other = build(model, 4, torch.Generator().manual_seed(6)).state_dict()

    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["stem.weight"], other["stem.weight"])
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), drawn)


def test_its_cost_is_counted(code):
    price = cost(with_model(TINY, code, width=4).model, 10)
    assert price.params == (3 * 9 + 1) * 4 + (4 * 9 + 1) * 4 + 2 * 4 + (4 + 1) * 10
    assert price.flops_per_image == 2 * (32 * 32 * 9 * (3 * 4 + 4 * 4) + 4 * 10)


def test_a_batch_norm_of_one_pixel_needs_two_images(tmp_path):
    head = "nn.Sequential(nn.BatchNorm1d(width), nn.Linear(width, classes))"
    code = usable(tmp_path, FILES | {"nets.py": NETS.replace("nn.Linear(width, classes)", head)})
    assert smallest_batch(with_model(TINY, code).model) == 2


CLASS = "from torch import nn\nclass Wide(nn.Module):\n    def __init__"
NET = """
import random
import torch
from torch import nn

class Wide(nn.Module):
    calls = 0

    def __init__(self, classes, width=4, fast=False):
        super().__init__()
        self.head, self.other = nn.Linear(3072, classes), nn.Linear(2, 2)

    def forward(self, images):
        {body}
"""


def checked(tmp_path: Path, body: str, settings=SETTINGS, **arguments: object) -> list[str]:
    code = usable(tmp_path / "code", {"nets.py": NET.replace("{body}", body)})
    return check_first_steps(with_model(settings, code, **arguments), 4, CIFAR, tmp_path / "tried")


RANDOM = "return self.head(images.flatten(1)) * random.SystemRandom().random()"
USUAL = "return self.head(images.flatten(1))"


def test_a_network_that_keeps_the_promises_passes_with_notes(tmp_path):
    notes = checked(tmp_path, USUAL)
    assert [note.split(":")[0] for note in notes] == [
        "parameters of nets",
        "whether a step of nets",
    ]
    assert "other.weight, other.bias" in notes[0] and "was not tried, without a GPU" in notes[1]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("return images", r"must turn 8 images into floating-point logits \(8, 4\).*not into \(8, 3, 32, 32\)"),
        ("return self.head(images.flatten(1)), 1", "not into tuple"),
        ("return self.head(images.flatten(1)).detach()", "depend on no parameter that is trained"),
        ("return self.head(images.flatten(1)) * float('nan')", "is nan at the first step, before anything is trained"),
        ("return self.head(images)", r"nets\.py, line 14: RuntimeError: .*mat1 and mat2"),
        (RANDOM, "two runs of 3 steps .* different bits"),
        (
            "self.calls += 1; return self.head(images.flatten(1)) * self.calls",
            "does not go on to the same bits from a checkpoint",
        ),
    ],
)
def test_what_breaks_a_promise_is_refused(tmp_path, body, says):
    with pytest.raises(SpecError, match=says):
        checked(tmp_path, body)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"widht": 3}, r"model\.widht: nets:Wide has no such argument\. Did you mean 'width'\? It has: width, fast\."),
        ({"classes": 3}, r"model\.classes: is no setting"),
        ({"name": "nets:random"}, r"must be defined in \[code\]"),
    ],
)
def test_arguments_are_those_of_the_class(tmp_path, arguments, says):
    with pytest.raises(SpecError, match=says):
        checked(tmp_path, USUAL, **arguments)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("def Wide(classes): return None", "must be a class that inherits torch.nn.Module"),
        (f"{CLASS}(self, classes): super().__init__()", "no parameter to train"),
        (f"{CLASS}(self, depth): pass", r"model\.depth: is missing"),
        (f"{CLASS}(self, classes): self.x = nn.Linear(2, 2)", r"can't be built: nets\.py, line 3: AttributeError"),
    ],
)
def test_what_is_no_network_is_refused(tmp_path, text, says):
    code = usable(tmp_path / "code", {"nets.py": text})
    with pytest.raises(SpecError, match=says):
        check_first_steps(with_model(TINY, code), 4, CIFAR, tmp_path / "tried")


def test_what_waits_for_the_host_is_told(tmp_path):
    notes = checked(tmp_path, "return self.head(images.flatten(1)) * (1 if images.sum().item() else 2)")
    assert any("can't be one CUDA graph" in note and "_local_scalar_dense" in note for note in notes)


def test_without_exact_bits_two_runs_may_differ(tmp_path):
    checked(tmp_path, RANDOM, TINY.model_copy(update={"determinism": "fast"}))
