import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from cifarsweep.errors import SpecError
from cifarsweep.spec.settings import Schedule
from cifarsweep.training.schedule import learning_rate, warmup_steps

PEAK = 0.3
totals = st.integers(1, 200)
parts = st.floats(0, 0.9)


def rates(schedule, total, steps_per_epoch=10):
    return [learning_rate(schedule, PEAK, step, total, steps_per_epoch) for step in range(total)]


def torch_rates(make_scheduler, total):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=PEAK)
    scheduler = make_scheduler(optimizer)
    found = []
    for _ in range(total):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


@given(totals, parts)
def test_cosine_is_torchs(total, final):
    expected = torch_rates(lambda o: lr_scheduler.CosineAnnealingLR(o, total, eta_min=final * PEAK), total)
    assert rates(Schedule(name="cosine", final=final), total) == pytest.approx(expected, rel=1e-6, abs=1e-9)


@given(totals, st.floats(0.01, 0.9))
def test_linear_is_torchs(total, final):
    expected = torch_rates(lambda o: lr_scheduler.LinearLR(o, 1.0, final, total), total)
    assert rates(Schedule(name="linear", final=final), total) == pytest.approx(expected, rel=1e-6)


@given(totals, st.lists(st.floats(0.01, 0.99), unique=True, max_size=4).map(sorted))
def test_step_is_torchs(total, milestones):
    schedule = Schedule(name="step", milestones=tuple(milestones), factor=0.1)
    steps = [round(part * total) for part in milestones]
    expected = torch_rates(lambda o: lr_scheduler.MultiStepLR(o, [step for step in steps if step], 0.1), total)
    at_once = 0.1 ** steps.count(0)
    assert rates(schedule, total) == pytest.approx([rate * at_once for rate in expected], rel=1e-6)


@given(st.integers(1, 50), st.integers(1, 100))
def test_warmup_is_torchs_linear_rise(warmup, rest):
    expected = torch_rates(lambda o: lr_scheduler.LinearLR(o, 1 / (warmup + 1), 1.0, warmup), warmup + rest)
    assert rates(Schedule(warmup_steps=warmup), warmup + rest) == pytest.approx(expected, rel=1e-6)


@given(st.sampled_from(["cosine", "linear"]), st.integers(0, 50), st.integers(2, 100), parts)
def test_a_curve_after_warmup_is_the_curve_over_what_is_left(name, warmup, rest, final):
    curve = Schedule(name=name, final=final)
    warmed = curve.model_copy(update={"warmup_steps": warmup})
    assert rates(warmed, warmup + rest)[warmup:] == rates(curve, rest)


@given(
    st.sampled_from(["constant", "step", "cosine", "linear"]),
    st.integers(0, 50),
    st.integers(1, 100),
)
def test_rates_are_positive_rise_then_never_rise_again(name, warmup, rest):
    found = rates(Schedule(name=name, warmup_steps=warmup), warmup + rest)
    assert all(0 < rate <= PEAK for rate in found)
    assert found[:warmup] == sorted(found[:warmup])
    assert found[warmup:] == sorted(found[warmup:], reverse=True)


def test_warmup_in_epochs_counts_steps():
    schedule = Schedule(warmup_epochs=1.5)
    assert warmup_steps(schedule, total_steps=100, steps_per_epoch=10) == 15
    assert math.isclose(learning_rate(schedule, PEAK, 0, 100, 10), PEAK / 16)
    assert learning_rate(schedule, PEAK, 15, 100, 10) == PEAK


def test_a_warmup_that_leaves_nothing_is_refused():
    with pytest.raises(SpecError, match=r"50 steps \(5.0 epochs\) leaves nothing of the budget of 50 steps"):
        warmup_steps(Schedule(warmup_epochs=5), total_steps=50, steps_per_epoch=10)


@st.composite
def phased(draw):
    """Phases in order, with gaps or without, and their ranges."""
    edges = draw(st.lists(st.integers(0, 30), unique=True, min_size=2, max_size=8).map(sorted))
    factors = draw(st.lists(st.sampled_from([5.0, 2.0, 0.5, 0.25]), min_size=len(edges) // 2, max_size=len(edges) // 2))
    ranges = list(zip(edges[::2], edges[1::2], factors, strict=False))
    return tuple(f"{first}-{last} x{factor}" for first, last, factor in ranges), ranges


@given(
    phased(),
    st.sampled_from(["constant", "step", "cosine", "linear"]),
    st.integers(0, 20),
    st.integers(21, 200),
    st.integers(1, 13),
)
def test_phases_multiply_any_schedule_over_their_epochs(phases, name, warmup, total, steps_per_epoch):
    texts, ranges = phases
    plain = Schedule(name=name, warmup_steps=warmup)
    found = rates(plain.model_copy(update={"phases": texts}), total, steps_per_epoch)
    for step, (rate, without) in enumerate(zip(found, rates(plain, total, steps_per_epoch), strict=True)):
        factors = [factor for first, last, factor in ranges if first * steps_per_epoch <= step < last * steps_per_epoch]
        assert rate == without * (factors[0] if factors else 1)


def test_a_phase_begins_and_ends_with_its_epochs():
    found = rates(Schedule(phases=("2-4 x5", "4-5 x0.5")), 60)
    assert [found[step] / PEAK for step in (19, 20, 39, 40, 49, 50)] == pytest.approx([1, 5, 5, 0.5, 0.5, 1])
