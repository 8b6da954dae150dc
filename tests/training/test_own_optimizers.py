"""Muon, Lion, all of torch.optim and optimizers of the user's own code keep the promises of ours."""

import importlib
import importlib.util
from pathlib import Path

import pytest
import torch
from pretended_gpu import pretended_gpu
from stripes import TINY, bits, finished, stop_after
from support.own_code import usable
from torch.nn import Parameter

from cifarsweep.errors import SpecError
from cifarsweep.spec.image_shape import CIFAR
from cifarsweep.spec.settings import Lion, Muon, OwnOptimizer, Settings
from cifarsweep.spec.validation import validated
from cifarsweep.training import step
from cifarsweep.training.equal_cells import read_settings
from cifarsweep.training.events import CaptureFailed, Stopped
from cifarsweep.training.first_steps import check_first_steps
from cifarsweep.training.optimizers import make_optimizer

needs_timm = pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="timm is not installed")
pytestmark = pytest.mark.usefixtures("no_code_stays")

SIGNS = """
import torch
from torch.optim import Optimizer

class Signs(Optimizer):
    def __init__(self, params, lr, beta=0.9, weight_decay=0.0):
        super().__init__(params, {"lr": lr, "beta": beta, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                if "mean" not in state:
                    state["mean"], state["steps"] = torch.zeros_like(p), 0
                state["steps"] += 1
                state["mean"].lerp_(p.grad, 1 - group["beta"])
                p.add_(state["mean"].sign(), alpha=-group["lr"] / state["steps"] ** 0.5)

class Forgetful(Optimizer):
    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})
        self.steps = 0

    @torch.no_grad()
    def step(self):
        self.steps += 1
        for group in self.param_groups:
            for p in group["params"]:
                p.sub_(p.grad * (group["lr"] / self.steps))

class NoRate(Optimizer):
    def __init__(self, params, rate=0.1):
        super().__init__(params, {"rate": rate})

def plain(params, lr):
    return None
"""


def torchs(name: str, **arguments: object) -> OwnOptimizer:
    return OwnOptimizer.model_validate({"name": f"torch.optim:{name}", "lr": 1e-2, **arguments})


def signs(tmp_path: Path, name: str = "Signs", **arguments: object) -> OwnOptimizer:
    code = usable(tmp_path / "code", {"optim_ours.py": SIGNS})
    return OwnOptimizer.model_validate({"name": f"optim_ours:{name}", "code": code, "lr": 1e-2, **arguments})


def trained_with(optimizer: object) -> Settings:
    return TINY.model_copy(update={"optimizer": optimizer})


ALL = {
    "muon": Muon(name="muon", lr=1e-2),
    "muon, spared norms, clipped": Muon(name="muon", lr=1e-2, decay_norms=False, clip=0.5),
    "lion": Lion(name="lion", lr=1e-3),
    "nadam": torchs("NAdam", betas=(0.5, 0.9), momentum_decay=0.01),
    "radam": torchs("RAdam"),
    "adagrad": torchs("Adagrad"),
    "rmsprop": torchs("RMSprop", momentum=0.9, centered=True),
    "asgd": torchs("ASGD"),
}


def interrupted_equals_whole(bench, settings, polls):
    whole, folder = bench.undisturbed(settings), bench.folder()
    first = bench.events(settings, folder=folder, should_stop=stop_after(polls))
    assert isinstance(first[-1], Stopped)
    torch.manual_seed(99)  # the second attempt is another process
    second = bench.events(settings, folder=folder, resume=(first[-2].checkpoint,))
    assert second[0].start_step == first[-1].step
    assert bits(first) | bits(second) == bits(whole)
    assert finished(second).result.weights_sha256 == finished(whole).result.weights_sha256


@needs_timm
@pytest.mark.parametrize("polls", [0, 7])
@pytest.mark.parametrize("name", ALL)
def test_interrupted_trials_come_to_the_same_bits(bench, name, polls):
    interrupted_equals_whole(bench, trained_with(ALL[name]), polls)


@pytest.mark.parametrize("polls", [0, 3, 7])
def test_so_do_those_of_an_own_optimizer(bench, tmp_path, polls):
    interrupted_equals_whole(bench, trained_with(signs(tmp_path, beta=0.8)), polls)


def three_steps(optimizer, held: Parameter) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    for _ in range(3):
        held.grad = torch.randn(held.shape, generator=generator)
        optimizer.step()
    return held.detach()


def parameter() -> Parameter:
    return Parameter(torch.linspace(-1, 1, 12).reshape(3, 4))


def test_steps_of_torch_are_torchs():
    ours, theirs = parameter(), parameter()
    made = make_optimizer(torchs("NAdam", momentum_decay=0.01, weight_decay=0.1), [ours])
    assert torch.equal(
        three_steps(made, ours),
        three_steps(torch.optim.NAdam([theirs], lr=1e-2, momentum_decay=0.01, weight_decay=0.1), theirs),
    )


@needs_timm
def test_lion_steps_by_the_sign_of_its_momentum():
    """Algorithm 2 of Chen et al. 2023 (arXiv 2302.06675)."""
    held, expected, mean = parameter(), parameter().detach(), torch.zeros(3, 4)
    generator = torch.Generator().manual_seed(3)
    for _ in range(3):
        gradient = torch.randn(3, 4, generator=generator)
        expected = expected - 1e-2 * ((0.9 * mean + 0.1 * gradient).sign() + 0.1 * expected)
        mean = 0.99 * mean + 0.01 * gradient
    torch.testing.assert_close(three_steps(make_optimizer(Lion(name="lion", lr=1e-2), [held]), held), expected)


@needs_timm
def test_muon_steps_along_near_orthogonal_directions():
    """Weights of two axes step by U V^T of their momentum, scaled to 0.2 sqrt(longer side) (Liu et al. 2025)."""
    held = Parameter(torch.zeros(8, 16))
    made = make_optimizer(Muon(name="muon", lr=1.0, weight_decay=0.0), [held])
    held.grad = torch.randn(8, 16, generator=torch.Generator().manual_seed(3))
    made.step()
    singular = torch.linalg.svdvals(held.detach() / (0.2 * 16**0.5))
    assert singular.min() > 0.6 and singular.max() < 1.3


def test_keyword_arguments_are_read_whatever_they_are_called():
    settings = trained_with(torchs("SGD", momentum=0.5, nesterov=True, weight_decay=0.0))
    read = read_settings(settings)
    assert (read["optimizer.momentum"], read["optimizer.nesterov"]) == (0.5, True)
    assert {"optimizer.momentum", "optimizer.beta2"} <= read_settings(trained_with(ALL["muon"])).keys()


@pytest.mark.parametrize(
    ("optimizer", "says"),
    [
        (torchs("NAdan"), r"torch\.optim has no 'NAdan' for this loop\. Did you mean 'NAdam'\?"),
        (torchs("LBFGS"), "torch.optim has no 'LBFGS' for this loop"),
        (torchs("NAdam", momentun_decay=1), r"optimizer\.momentun_decay: .* Did you mean 'momentum_decay'\?"),
        (torchs("NAdam", betas=(2, 0.9)), r"torch\.optim:NAdam can't be made: ValueError: Invalid beta"),
    ],
)
def test_what_torch_does_not_have_is_refused(tmp_path, optimizer, says):
    with pytest.raises(SpecError, match=says):
        check_first_steps(trained_with(optimizer), 4, CIFAR, tmp_path / "tried")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Forgetful", "optim_ours:Forgetful does not go on to the same bits from a checkpoint"),
        ("NoRate", "optim_ours:NoRate must have an argument lr"),
        ("plain", r"optim_ours:plain must be a class that inherits torch\.optim\.Optimizer"),
    ],
)
def test_an_own_optimizer_that_breaks_a_promise_is_refused(tmp_path, name, says):
    with pytest.raises(SpecError, match=says):
        check_first_steps(trained_with(signs(tmp_path, name)), 4, CIFAR, tmp_path / "tried")


def test_one_that_keeps_them_passes_and_is_told_to_be_no_graph(tmp_path):
    (note,) = check_first_steps(trained_with(signs(tmp_path)), 4, CIFAR, tmp_path / "tried")
    assert note.startswith("a step of optim_ours:Signs is no CUDA graph, for it has no argument capturable")


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"name": "adamm"}, r"optimizer: 'adamm' is unknown\. Did you mean 'adam'\? .*muon, lion, FILE:NAME"),
        ({"name": "muon", "nestorov": True}, r"optimizer\.nestorov: unknown key\. Did you mean 'nesterov'\?"),
        ({"name": "lion", "beta1": 1.0}, r"optimizer\.beta1: must be less than 1"),
        ({"name": "torch.optim:NAdam", "lr": 0.0}, r"optimizer\.lr: must be greater than 0"),
    ],
)
def test_what_the_table_can_not_be_is_refused(table, says):
    with pytest.raises(SpecError, match=says):
        validated(Settings, {"epochs": 1, "optimizer": table}, "a file")


@pytest.fixture
def known_gpu(monkeypatch):
    """A GPU whose cache timm knows, and whose second step is captured."""
    monkeypatch.setattr(step, "WARM_UPS", 1)
    helpers = importlib.import_module("timm.optim._helpers")
    monkeypatch.setitem(helpers._L2_CACHE_SIZE, torch.device("cuda:0"), 1 << 20)


def on_a_gpu(bench, settings, **options):
    with pretended_gpu() as gpu:
        return bench.events(settings, device="cuda:0", **options), gpu.captures


@pytest.mark.long
@needs_timm
@pytest.mark.parametrize("name", ["muon", "muon, spared norms, clipped", "nadam", "radam", "rmsprop"])
@pytest.mark.usefixtures("known_gpu")
def test_a_capturable_optimizer_is_captured_to_the_bits_of_plain_steps(bench, name):
    plain, none = on_a_gpu(bench, trained_with(ALL[name]), graphs=False)
    captured, one = on_a_gpu(bench, trained_with(ALL[name]))
    assert (none, one) == (0, 1)
    assert not [event for event in captured if isinstance(event, CaptureFailed)]
    assert bits(captured) == bits(plain)


@pytest.mark.long
@needs_timm
@pytest.mark.usefixtures("known_gpu")
def test_all_others_are_never_captured(bench, tmp_path):
    """Their numbers of Python would be frozen in a graph, and nobody would notice."""
    for optimizer in (ALL["lion"], ALL["adagrad"], signs(tmp_path)):
        events, captures = on_a_gpu(bench, trained_with(optimizer))
        assert captures == 0 and not [event for event in events if isinstance(event, CaptureFailed)]
