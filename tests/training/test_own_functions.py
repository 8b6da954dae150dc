"""Losses, augmentations and metrics of the user's own, and the two metrics that are built in as options."""

from pathlib import Path

import pytest
import torch
from pretended_gpu import pretended_gpu
from sklearn.metrics import top_k_accuracy_score
from stripes import TINY, bits, finished, rows, stop_after
from support.own_code import usable

from cifarsweep.errors import SpecError
from cifarsweep.spec.image_shape import CIFAR
from cifarsweep.spec.settings import Augment, EarlyStop, Metrics, OwnAugmentation, OwnLoss, Settings, Validation
from cifarsweep.training import step
from cifarsweep.training.equal_cells import read_settings
from cifarsweep.training.events import CaptureFailed
from cifarsweep.training.first_steps import check_first_steps
from cifarsweep.training.identity import rows_identity, training_identity
from cifarsweep.training.own_functions import calibration_error, top5_accuracy

pytestmark = pytest.mark.usefixtures("no_code_stays")

PARTS = """
import torch
import torch.nn.functional as F
from torch import nn

def focal(logits, labels, gamma=1.0):
    chance = logits.log_softmax(1).gather(1, labels.unsqueeze(1)).squeeze(1)
    return -((1 - chance.exp()) ** gamma * chance).mean()

class Weighted(nn.Module):
    def __init__(self, classes, label_smoothing=0.0):
        super().__init__()
        self.smoothing = label_smoothing
        self.register_buffer("weights", torch.linspace(1, 2, classes))

    def forward(self, logits, labels):
        return F.cross_entropy(logits, labels, self.weights, label_smoothing=self.smoothing)

class Learned(nn.Linear):
    def __init__(self):
        super().__init__(2, 2)

def noisy(images, scale=0.1):
    return images + scale * torch.randn_like(images)

def spread(logits, labels):
    return logits.std()

def words(logits, labels):
    return "many"

def each(logits, labels):
    return logits

def accuracy(logits, labels):
    return 1.0

def halves(images):
    return images[:4]

def two(logits, labels):
    return F.cross_entropy(logits, labels, reduction="none")

number = 3
"""


@pytest.fixture
def code(tmp_path: Path) -> str:
    return usable(tmp_path / "code", {"parts.py": PARTS})


def loss(code: str, name: str = "focal", **arguments: object) -> OwnLoss:
    return OwnLoss.model_validate({"name": f"parts:{name}", "code": code, **arguments})


def augment(code: str, name: str = "noisy", **arguments: object) -> Augment:
    own = OwnAugmentation.model_validate({"name": f"parts:{name}", "code": code, **arguments})
    return Augment(crop=2, own=own)


def measured(code: str, *names: str) -> Metrics:
    return Metrics(top5=True, ece=True, own=tuple(f"parts:{name}" for name in names), code=code)


def change(**changes: object) -> Settings:
    return TINY.model_copy(update=changes)


def all_parts(code: str) -> Settings:
    return change(loss=loss(code, gamma=2.0), augment=augment(code), metrics=measured(code, "spread"))


@pytest.mark.parametrize("polls", [0, 5, 9])
def test_an_interrupted_trial_of_own_parts_comes_to_the_same_bits(bench, code, polls):
    settings = all_parts(code)
    whole, folder = bench.undisturbed(settings), bench.folder()
    first = bench.events(settings, folder=folder, should_stop=stop_after(polls))
    torch.manual_seed(99)  # the second attempt is another process
    second = bench.events(settings, folder=folder, resume=(first[-2].checkpoint,))
    assert bits(first) | bits(second) == bits(whole)
    assert finished(second).result.weights_sha256 == finished(whole).result.weights_sha256


@pytest.mark.parametrize("part", ["loss", "augment"])
def test_each_part_changes_what_is_trained(bench, code, part):
    parts = {"loss": loss(code), "augment": augment(code)}
    own = finished(bench.events(change(**{part: parts[part]}))).result.weights_sha256
    assert own != finished(bench.undisturbed(TINY)).result.weights_sha256


def test_a_class_of_losses_gets_classes_and_smoothing(bench, code):
    settings = change(loss=loss(code, "Weighted"), augment=Augment(label_smoothing=0.1))
    assert finished(bench.events(settings)).result.weights_sha256


def test_metrics_are_rows_of_evaluations_and_of_the_result(bench, code):
    settings = change(metrics=measured(code, "spread"))
    events = bench.events(settings)
    added = {key for key in rows(events) if key not in rows(bench.undisturbed(TINY))}
    assert added == {(f"val/{name}", step) for name in settings.metrics.names for step in (6, 12)}
    assert finished(events).result.final["val/top5_accuracy"] == 1.0
    assert {key: value for key, value in bits(events).items() if key not in added} == bits(bench.undisturbed(TINY))
    assert finished(events).result.weights_sha256 == finished(bench.undisturbed(TINY)).result.weights_sha256


def test_nothing_is_kept_where_no_metric_is_on(bench):
    assert not {key[0] for key in rows(bench.undisturbed(TINY))} & {"val/top5_accuracy", "val/calibration_error"}


def test_top5_is_what_scikit_learn_counts():
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(500, 20, generator=generator), torch.randint(0, 20, (500,), generator=generator)
    expected = top_k_accuracy_score(labels.numpy(), logits.numpy(), k=5, labels=range(20))
    assert top5_accuracy(logits, labels) == pytest.approx(expected, abs=1e-12)


def test_calibration_error_by_hand():
    """Ten images of a confidence of 0.75, of which 6 are right, and ten of 0.95, of which all are."""
    confidence = torch.tensor([0.75] * 10 + [0.95] * 10, dtype=torch.float64)
    logits = torch.stack([confidence.log(), (1 - confidence).log()], 1)
    labels = torch.tensor([0] * 6 + [1] * 4 + [0] * 10)
    assert calibration_error(logits, labels) == pytest.approx((10 * 0.15 + 10 * 0.05) / 20)


def test_one_who_is_always_sure_and_right_is_calibrated():
    logits = torch.tensor([[100.0, 0.0], [0.0, 100.0]])
    assert calibration_error(logits, torch.tensor([0, 1])) == pytest.approx(0.0)


def test_metrics_decide_rows_and_no_bits(code):
    def identities(settings: Settings) -> tuple[object, object]:
        return training_identity(settings, 0, 44, "d", {}), rows_identity(settings, 0, 44, "d", {})

    plain, with_metrics = identities(TINY), identities(change(metrics=Metrics(top5=True)))
    assert plain[0] == with_metrics[0] and plain[1] != with_metrics[1]
    assert identities(change(loss=loss(code)))[0] != plain[0] != identities(change(augment=augment(code)))[0]
    ended = change(early_stop=EarlyStop(patience=1))
    assert not {"metrics.top5", "loss.name", "augment.own"} & read_settings(ended).keys()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"loss": ("two",)}, "parts:two must turn logits and labels into one number"),
        ({"loss": ("Learned",)}, "parts:Learned has parameters, which nothing trains"),
        ({"loss": ("number",)}, "'number' is imported by|must be a function"),
        ({"loss": ("focal", {"gama": 1})}, r"loss\.gama: .* Did you mean 'gamma'\?"),
        ({"augment": ("halves",)}, r"augment\.own: parts:halves must turn images .* not into \(4, 3, 32, 32\)"),
        ({"augment": ("noisy", {"skale": 1})}, r"augment\.own\.skale: .* Did you mean 'scale'\?"),
        ({"metrics": ("words",)}, "parts:words must return a number, not a str"),
        ({"metrics": ("each",)}, "parts:each must return a number, not a Tensor"),
    ],
)
def test_what_a_part_can_not_be_is_refused(tmp_path, code, changes, says):
    makers = {"loss": loss, "augment": augment, "metrics": lambda code, name, **_: measured(code, name)}
    made = {
        key: makers[key](code, name, **(arguments[0] if arguments else {}))
        for key, (name, *arguments) in changes.items()
    }
    with pytest.raises(SpecError, match=says):
        check_first_steps(change(**made), 4, CIFAR, tmp_path / "tried")


def test_smoothing_needs_a_loss_that_has_it(tmp_path, code):
    settings = change(loss=loss(code), augment=Augment(label_smoothing=0.1))
    with pytest.raises(SpecError, match=r"augment\.label_smoothing: parts:focal has no such argument"):
        check_first_steps(settings, 4, CIFAR, tmp_path / "tried")


def test_own_parts_that_keep_the_promises_pass(tmp_path, code):
    (note,) = check_first_steps(all_parts(code), 4, CIFAR, tmp_path / "tried")
    assert note.startswith("whether a step of parts:focal with parts:noisy with parts:spread can be one CUDA graph")


@pytest.mark.parametrize("names", [("accuracy",), ("spread", "spread")])
def test_a_metric_has_a_name_of_its_own(code, names):
    with pytest.raises(ValueError, match="there is another metric"):
        measured(code, *names)


def test_the_test_set_is_measured_too(bench, code):
    held_out = bench.split.__class__(
        **vars(bench.split) | {"test_images": bench.split.val_images, "test_labels": bench.split.val_labels}
    )
    bench.split = held_out
    settings = change(metrics=measured(code, "spread"), validation=Validation(split="holdout"))
    final = finished(bench.events(settings)).result.final
    assert {f"test/{name}" for name in settings.metrics.names} <= final.keys()
    assert final["test/spread"] == final["val/spread"]


@pytest.mark.long
def test_own_parts_are_captured_to_the_bits_of_plain_steps(bench, monkeypatch, code):
    monkeypatch.setattr(step, "WARM_UPS", 1)
    settings = all_parts(code).model_copy(update={"loss": loss(code, "Weighted")})
    with pretended_gpu():
        plain = bench.events(settings, device="cuda:0", graphs=False)
    with pretended_gpu() as gpu:
        captured = bench.events(settings, device="cuda:0")
    assert gpu.captures == 1 and not [event for event in captured if isinstance(event, CaptureFailed)]
    assert bits(captured) == bits(plain)
