import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import Parameter

from cifarsweep.spec.settings import Optimizer
from cifarsweep.training.optimizers import clip_gradients, make_optimizer, set_rate

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
    family = torch.optim.AdamW if settings.name == "adamw" else torch.optim.Adam
    decay, amsgrad = settings.weight_decay, settings.amsgrad
    return family([held], 9.0, betas, 1e-8, decay, amsgrad=amsgrad, foreach=False, fused=False)


@pytest.mark.parametrize(
    "settings",
    [
        Optimizer(),
        Optimizer(beta1=0.5, beta2=0.95, weight_decay=0.1),
        Optimizer(amsgrad=True, beta2=0.5),
        Optimizer(name="adam", amsgrad=True, beta2=0.5),
        Optimizer(name="adam"),
        Optimizer(name="adam", beta1=0.5, beta2=0.95, weight_decay=0.1),
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


@pytest.mark.parametrize("name", ["adamw", "adam"])
def test_amsgrad_changes_the_steps_of_adam_and_is_refused_for_sgd(name):
    plain_steps, amsgrad_steps = (
        after_three_steps(make_optimizer(Optimizer(name=name, beta2=0.5, amsgrad=on), [held]), held)
        for on, held in ((False, parameter()), (True, parameter()))
    )
    assert not torch.equal(plain_steps, amsgrad_steps)
    with pytest.raises(ValueError, match="amsgrad: sgd has no second moment"):
        Optimizer(name="sgd", amsgrad=True)


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
def test_decay_spares_norms_and_biases_where_asked(name):
    settings = Optimizer(name=name, weight_decay=0.1, decay_norms=False)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    optimizer = make_optimizer(settings, model.parameters())
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    found = {name: decay[id(p)] for name, p in model.named_parameters()}
    assert found == {"0.weight": 0.1, "0.bias": 0.0, "1.weight": 0.0, "1.bias": 0.0}
    before = [p.clone() for p in model.parameters()]
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    set_rate(optimizer, 0.1)
    optimizer.step()
    assert [not torch.equal(p, old) for p, old in zip(model.parameters(), before, strict=True)] == [True] + 3 * [False]


def test_two_groups_step_as_torchs_do():
    settings = Optimizer(weight_decay=0.1, decay_norms=False)
    ours, theirs = [parameter(), Parameter(torch.ones(3))], [parameter(), Parameter(torch.ones(3))]
    groups = [{"params": theirs[:1], "weight_decay": 0.1}, {"params": theirs[1:], "weight_decay": 0.0}]
    plain = torch.optim.AdamW(groups, 9.0, (0.9, 0.999), 1e-8, foreach=False, fused=False)
    for held, optimizer in ((ours, make_optimizer(settings, ours)), (theirs, plain)):
        for rate, gradient in zip(RATES, gradients(), strict=True):
            held[0].grad, held[1].grad = gradient.clone(), gradient[:, 0].clone()
            set_rate(optimizer, rate)
            optimizer.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)


@given(st.floats(1e-3, 1e3), st.floats(1e-2, 10))
def test_gradients_are_clipped_to_one_norm_over_all(scale, most):
    held = [Parameter(torch.zeros(3, 4)), Parameter(torch.zeros(4))]
    held[0].grad, held[1].grad = scale * gradients()[0], scale * gradients()[1][0]
    before = torch.cat([p.grad.flatten() for p in held])
    clip_gradients(Optimizer(clip=most), held)
    after = torch.cat([p.grad.flatten() for p in held])
    torch.testing.assert_close(after, before * min(1.0, most / float(before.norm())), rtol=1e-4, atol=1e-6)


def test_without_a_limit_gradients_stay_as_they_are():
    held = parameter()
    held.grad = 1e9 * gradients()[0]
    clip_gradients(Optimizer(), [held])
    assert torch.equal(held.grad, 1e9 * gradients()[0])
