import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from cifarsweep.errors import SpecError
from cifarsweep.spec.settings import Optimizer, Schedule
from cifarsweep.training.schedule import learning_rate, peak_rate, warmup_steps

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


@given(totals, st.lists(st.tuples(st.floats(0.01, 0.99), st.floats(0.05, 0.95)), max_size=4, unique_by=lambda x: x[0]))
def test_unequal_factors_multiply_one_after_another(total, drops):
    drops.sort()
    milestones, factors = tuple(part for part, _ in drops), tuple(factor for _, factor in drops)
    schedule = Schedule(name="step", milestones=milestones, factors=factors)
    falls = [(round(part * total), factor) for part, factor in drops]
    expected = torch_rates(
        lambda o: lr_scheduler.LambdaLR(o, lambda step: math.prod(by for at, by in falls if step >= at)), total
    )
    assert rates(schedule, total) == pytest.approx(expected, rel=1e-6)


def test_equal_factors_are_the_one_factor():
    one = Schedule(name="step", milestones=(0.6, 0.8), factor=0.5)
    each = one.model_copy(update={"factors": (0.5, 0.5)})
    assert rates(each, 50) == pytest.approx(rates(one, 50))


@pytest.mark.parametrize("factors", [(0.1,), (0.1, 0.2, 0.3)])
def test_a_factor_too_many_or_too_few_is_refused(factors):
    with pytest.raises(ValueError, match=f"factors: {len(factors)} factors for 2 milestones; give one for each"):
        Schedule(name="step", factors=factors)


@given(st.integers(1, 50), st.integers(1, 100), st.floats(0.001, 0.9))
def test_a_warmup_with_a_start_is_torchs_linear_rise_from_it(warmup, rest, start):
    expected = torch_rates(lambda o: lr_scheduler.LinearLR(o, start, 1.0, warmup), warmup + rest)
    schedule = Schedule(warmup_steps=warmup, warmup_start=start)
    assert rates(schedule, warmup + rest) == pytest.approx(expected, rel=1e-6)


@given(
    st.sampled_from(["constant", "step", "cosine", "linear"]),
    st.integers(0, 5),
    st.integers(1, 20),
    st.integers(1, 13),
    st.sampled_from([None, 0.02]),
)
def test_by_epoch_each_step_has_the_rate_of_its_epoch(name, warmup, rest, steps_per_epoch, start):
    curve = Schedule(name=name, final=0.1, warmup_start=start)
    counted = rates(curve.model_copy(update={"warmup_steps": warmup}), warmup + rest, 1)
    by_epoch = curve.model_copy(update={"warmup_epochs": float(warmup), "by": "epoch"})
    found = rates(by_epoch, (warmup + rest) * steps_per_epoch, steps_per_epoch)
    assert found == [rate for rate in counted for _ in range(steps_per_epoch)]


def test_by_epoch_a_last_epoch_that_is_cut_counts_whole():
    schedule = Schedule(name="linear", by="epoch")
    assert rates(schedule, 25, 10) == pytest.approx([PEAK] * 10 + [PEAK * 2 / 3] * 10 + [PEAK / 3] * 5)


@pytest.mark.parametrize("warmup", [{"warmup_steps": 5}, {"warmup_epochs": 0.5}])
def test_by_epoch_a_part_of_an_epoch_is_no_warmup(warmup):
    with pytest.raises(ValueError, match='by: "epoch" needs a warm-up of whole epochs'):
        Schedule(by="epoch", **warmup)


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


@given(st.floats(1e-6, 10), st.integers(1, 4096), st.integers(1, 4096))
def test_the_rate_scales_with_the_batch_against_a_base(rate, batch, base):
    of = lambda scaling: peak_rate(Optimizer(lr=rate, scaling=scaling, base_batch=base), batch)  # noqa: E731
    assert of("none") == rate
    assert of("linear") == pytest.approx(rate * batch / base)
    assert of("sqrt") == pytest.approx(math.sqrt(of("linear") * rate))
