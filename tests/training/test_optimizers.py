import pytest
import torch
from torch.nn import Parameter

from cifarsweep.spec.settings import Optimizer
from cifarsweep.training.optimizers import make_optimizer, set_rate

RATES = (0.1, 0.02, 0.3)


def parameter():
    return Parameter(torch.linspace(-1, 1, 12).reshape(3, 4))


def gradients():
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(3, 4, generator=generator) for _ in RATES]


def after_three_steps(optimizer, held):
    for rate, gradient in zip(RATES, gradients(), strict=True):
        held.grad = gradient.clone()
        set_rate(optimizer, rate)
        optimizer.step()
    return held.detach()


def plain(settings, held):
    """The same optimizer of torch, written out and not fused."""
    if settings.name == "sgd":
        return torch.optim.SGD(
            [held], 9.0, settings.momentum, 0.0, settings.weight_decay, settings.nesterov, foreach=False, fused=False
        )
    betas = (settings.beta1, settings.beta2)
    return torch.optim.AdamW([held], 9.0, betas, 1e-8, settings.weight_decay, foreach=False, fused=False)


@pytest.mark.parametrize(
    "settings",
    [
        Optimizer(),
        Optimizer(beta1=0.5, beta2=0.95, weight_decay=0.1),
        Optimizer(name="sgd"),
        Optimizer(name="sgd", momentum=0.0, weight_decay=0.0),
        Optimizer(name="sgd", momentum=0.8, nesterov=True, weight_decay=0.1),
    ],
)
def test_steps_are_torchs(settings):
    ours, theirs = parameter(), parameter()
    found = after_three_steps(make_optimizer(settings, [ours]), ours)
    expected = after_three_steps(plain(settings, theirs), theirs)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)


def test_the_rate_of_the_settings_holds_until_another_is_set():
    ours, theirs = parameter(), parameter()
    optimizer = make_optimizer(Optimizer(name="sgd", lr=0.5, momentum=0.0, weight_decay=0.0), [ours])
    ours.grad = gradients()[0]
    optimizer.step()
    torch.testing.assert_close(ours.detach(), theirs.detach() - 0.5 * gradients()[0])
