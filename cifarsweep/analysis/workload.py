"""What new trials are to train: their steps, those that are known or shared already, and what is left."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from cifarsweep.spec.links import Candidate, Plan
from cifarsweep.spec.settings import Settings
from cifarsweep.store.times import TrainingTime
from cifarsweep.training.schedule import Budget
from cifarsweep.training.sharing import Known

#: FLOPs of one image, forward; None where they are not known.
Flops = Callable[[Settings], int | None]
#: The backward pass takes twice the forward pass (https://arxiv.org/abs/2001.08361, section 2.1).
_TRAINING = 3


@dataclass(frozen=True, slots=True)
class Workload:
    """The work of new trials. What is left is what they train where each known trial's result is taken."""

    trials: int
    steps: int
    known: int = 0
    """Trials that were trained before, but for device and versions."""
    lost: int = 0
    """Those that were trained before too, but whose results nobody can take."""
    shared_trials: int = 0
    shared_steps: int = 0
    """First steps that these take from others."""
    missed_trials: int = 0
    missed_steps: int = 0
    """First steps of these that trials which are done have trained, and keep no state of."""
    left_steps: int = 0
    left_flops: int | None = None
    """None where the arithmetic of a network is not known."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """What is left by device, as trials of the same networks took there; only devices that trained all of them."""


def workload(
    new: Sequence[Candidate], plan: Plan, images: Known, flops: Flops, times: Iterable[TrainingTime] = ()
) -> Workload | None:
    """Return the work of new trials of which so much is planned; None where a number of images is unknown."""
    taken = {link.trial_id: link.steps for link in plan.links}
    steps = left_steps = arithmetic = 0
    left: dict[Settings, int] = defaultdict(int)
    for one in new:
        here = images(one.settings)
        if here is None:
            return None
        budget = Budget.of(one.settings, here.count)
        steps += budget.total_steps
        if one.trial_id not in plan.known:
            first = taken.get(one.trial_id, 0)
            left_steps += budget.total_steps - first
            left[one.settings] += budget.images_seen(budget.total_steps) - budget.images_seen(first)
    prices = {settings: flops(settings) for settings in left}
    arithmetic = sum(_TRAINING * (prices[settings] or 0) * seen for settings, seen in left.items())
    sharing = [link for link in plan.links if link.trial_id not in plan.known]
    return Workload(
        trials=len(new),
        steps=steps,
        known=len(plan.known),
        lost=len(plan.lost),
        shared_trials=len(sharing),
        shared_steps=sum(link.steps for link in sharing),
        missed_trials=len(plan.missed),
        missed_steps=sum(plan.missed.values()),
        left_steps=left_steps,
        left_flops=None if None in prices.values() else arithmetic,
        seconds=_seconds(left, times),
    )


def _seconds(left: Mapping[Settings, int], times: Iterable[TrainingTime]) -> dict[str, float]:
    """The time of so many images by device, at the pace of the same networks on as many devices there."""
    paces: dict[str, dict[str, tuple[float, float]]] = defaultdict(dict)
    for one in times:
        network = _pace_of(one.settings)
        seconds, seen = paces[one.device].get(network, (0.0, 0.0))
        paces[one.device][network] = (seconds + one.seconds, seen + one.steps * one.settings.batch_size)
    wanted: dict[str, int] = defaultdict(int)
    for settings, seen_images in left.items():
        wanted[_pace_of(settings)] += seen_images
    several = sorted({settings.devices for settings in left})
    each = f" ({' or '.join(map(str, several))} devices a trial)" if several != [1] else ""
    return {
        f"{device}{each}": sum(count * pace[network][0] / pace[network][1] for network, count in wanted.items())
        for device, pace in sorted(paces.items())
        if wanted and wanted.keys() <= pace.keys()
    }


def _pace_of(settings: Settings) -> str:
    """What is trained at one pace: a network, on so many devices."""
    return f"{settings.devices} {settings.model.model_dump_json()}"
