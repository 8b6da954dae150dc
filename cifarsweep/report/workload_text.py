"""Says what new trials are to train: in lines of a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from cifarsweep.analysis.workload import Workload
from cifarsweep.formatting import duration, plural
from cifarsweep.spec.provenance import DEVICE

_UNITS = ((1e15, "PFLOP"), (1e12, "TFLOP"), (1e9, "GFLOP"))
#: Versions that are named beside the device; more of them decide bits.
_NAMED = ("torch", "cuda")
#: Environments that are named.
_MOST = 3


def workload_lines(work: Workload, trained_on: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """Yield what is known, what is shared, and what is left; `trained_on` are the environments of what is known."""
    if work.known:
        was = "was" if work.known == 1 else "were"
        yield (
            f"{plural(work.known, 'trial')} {was} trained before, on {_environments(trained_on)}: workers with that "
            "device and these versions take the results, others train them again"
        )
    if work.lost:
        was, result = ("was", "its result") if work.lost == 1 else ("were", "their results")
        yield (
            f"{plural(work.lost, 'trial')} {was} trained before and will be again: nobody can take {result}, since "
            "device or versions changed on the way, or an earlier cifarsweep trained it"
        )
    if work.shared_steps:
        take = "takes" if work.shared_trials == 1 else "take"
        yield (
            f"{plural(work.shared_trials, 'trial')} {take} {plural(work.shared_steps, 'step')} from other trials, "
            "which train them anyway"
        )
    if work.missed_steps:
        train = "trains" if work.missed_trials == 1 else "train"
        yield (
            f"{plural(work.missed_trials, 'trial')} {train} {plural(work.missed_steps, 'step')} again that done trials "
            "have in common: no checkpoint for others is kept there, and the last one of a trial holds its own end"
        )
    yield f"To train: {', '.join(_left(work))}"


def _left(work: Workload) -> Iterator[str]:
    of_all = f"{work.left_steps:,} of " if work.left_steps < work.steps else ""
    yield f"{of_all}{plural(work.steps, 'step')}"
    if work.left_flops:
        yield _flops(work.left_flops)
    if work.seconds and work.left_steps:
        times = " or ".join(f"{duration(seconds)} on {device}" for device, seconds in work.seconds.items())
        yield f"about {times} for one trial after the other, at the pace of these networks there"


def _flops(flops: int) -> str:
    size, unit = next((known for known in _UNITS if flops >= 0.1 * known[0]), _UNITS[-1])
    return f"{flops / size:,.0f} {unit}" if flops >= 1000 * size else f"{flops / size:.3g} {unit}"


def _environments(found: Sequence[Mapping[str, str]]) -> str:
    named = list(dict.fromkeys(map(_environment, found)))
    more = f" or {len(named) - _MOST} others" if len(named) > _MOST else ""
    return " or ".join(named[:_MOST]) + more


def _environment(its: Mapping[str, str]) -> str:
    versions = ", ".join(f"{name} {its[name]}" for name in _NAMED if its.get(name))
    device = its.get(DEVICE) or "a device that nobody wrote down"
    return f"{device} with {versions}" if versions else device
