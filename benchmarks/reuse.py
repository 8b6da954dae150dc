"""Steps, arithmetic and makespan of the shipped studies, each step trained once as `create` plans it, against no reuse.

The studies are created one after the other, as a user does, by the planner of `create` itself. The makespan is that of
workers of one speed that claim as the queue does: what most steps wait for first, then the oldest; a trial that takes
steps from another one is not due before that one has them; a whole trial is taken in no time, and no checkpoint costs
anything. Without reuse the oldest comes first. The bound is the larger of all arithmetic that is left over the workers,
and the longest trial. Nothing is trained here.

    python benchmarks/reuse.py [STUDY ...]
"""

from __future__ import annotations

import argparse
import heapq
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count

from cifarsweep.data.catalog import BUILT_IN
from cifarsweep.models import cost
from cifarsweep.spec.links import Candidate, Plan
from cifarsweep.spec.reader import find, read_study, shipped
from cifarsweep.training.schedule import Budget
from cifarsweep.training.sharing import plan
from cifarsweep.worker.known_here import KnownHere

WORKERS = (1, 4, 16)
PFLOP = 1e15


@dataclass(frozen=True)
class Trial:
    """A trial with its FLOPs by steps, and what it takes from another one."""

    one: Candidate
    steps: int
    budget: Budget
    flops_an_image: int

    @property
    def source(self) -> int | None:
        return self.one.source_id

    @property
    def first(self) -> int:
        """Steps that it takes from its source."""
        whole = self.one.source_id is not None and self.one.branch_step is None
        return self.steps if whole else self.one.branch_step or 0

    def work(self, first: int, last: int) -> float:
        """FLOPs of the steps from `first` up to `last`."""
        return 3.0 * self.flops_an_image * (self.budget.images_seen(last) - self.budget.images_seen(first))


@dataclass
class Queue:
    """Trials of studies that were created one after the other."""

    trials: dict[int, Trial]
    waiting_steps: dict[int, int]


def created(names: Sequence[str], *, reuse: bool = True) -> Queue:
    """Return the queue after these studies were created, but for those whose images are not here.

    A search has no trials yet: its points come later.
    """
    here, numbers, queue = KnownHere(), count(1), Queue({}, {})
    for name in names:
        planned = [(one.cell.settings, one.seed) for one in read_study(find(name)).trials()]
        planned = [each for each in planned if here.images(each[0]) is not None]
        new = [Candidate(next(numbers), settings, seed, "new") for settings, seed in planned]
        there = [replace(trial.one, state="queued") for trial in queue.trials.values()]
        made = plan([*there, *new], here.images) if reuse else Plan()
        links = {link.trial_id: link for link in made.links}
        for one in new:
            if (link := links.get(one.trial_id)) is not None:
                one = replace(one, source_id=link.source_id, branch_step=link.branch_step)
            queue.trials[one.trial_id] = _trial(here, one)
        for trial_id, steps in made.waiting_steps.items():
            queue.waiting_steps[trial_id] = max(steps, queue.waiting_steps.get(trial_id, 0))
    return queue


def _trial(here: KnownHere, one: Candidate) -> Trial:
    images, flops = here.images(one.settings), here.flops(one.settings)
    if flops is None:  # of timm, which has to be built
        flops = cost(one.settings.model, BUILT_IN[one.settings.dataset].classes).flops_per_image
    assert images is not None  # `created` left the others out
    budget = Budget.of(one.settings, images.count)
    return Trial(one, budget.total_steps, budget, flops)


def makespan(trials: Mapping[int, Trial], waiting_steps: Mapping[int, int], workers: int) -> float:
    """Return the FLOPs that one worker has time for until all is trained."""
    after: dict[int, list[Trial]] = defaultdict(list)
    for trial in trials.values():
        if trial.source is not None:
            after[trial.source].append(trial)
    due: list[tuple[int, int]] = []
    events: list[tuple[float, int, bool]] = []
    for number, trial in trials.items():
        if trial.source is None:
            events.append((0.0, number, False))
    heapq.heapify(events)
    now, free = 0.0, workers
    while events:
        now = events[0][0]
        while events and events[0][0] <= now:
            _, number, ends = heapq.heappop(events)
            if ends:
                free += 1
            else:
                heapq.heappush(due, (-waiting_steps.get(number, 0), number))
        while due and free:
            _, number = heapq.heappop(due)
            trial = trials[number]
            free -= 1
            for other in after[number]:
                step = other.one.branch_step or trial.steps
                heapq.heappush(events, (now + trial.work(trial.first, step), other.one.trial_id, False))
            heapq.heappush(events, (now + trial.work(trial.first, trial.steps), number, True))
    return now


def table(names: Sequence[str]) -> Iterator[str]:
    """Yield the rows of the table: a study each, and all together."""
    spans = (f"makespan, {workers} workers, against no reuse (bound)" for workers in WORKERS)
    yield "| study | trials | steps, and with reuse | PFLOP, and with reuse | " + " | ".join(spans) + " |"
    yield "|" + "---|" * (4 + len(WORKERS))
    rows = [[name] for name in names] + ([list(names)] if len(names) > 1 else [])
    for row in rows:
        if text := _row(row[0] if len(row) == 1 else "all together", created(row, reuse=False), created(row)):
            yield text


def _row(name: str, plain: Queue, shared: Queue) -> str | None:
    if not plain.trials:
        return None
    before = sum(trial.work(0, trial.steps) for trial in plain.trials.values())
    after = sum(trial.work(trial.first, trial.steps) for trial in shared.trials.values())
    longest = max(trial.work(0, trial.steps) for trial in plain.trials.values())
    spans = []
    for workers in WORKERS:
        alone = makespan(plain.trials, {}, workers)
        span, bound = makespan(shared.trials, shared.waiting_steps, workers), max(after / workers, longest)
        spans.append(f"{span / alone - 1:+.0%} ({bound / alone - 1:+.0%})")
    steps = sum(trial.steps for trial in plain.trials.values())
    left = sum(trial.steps - trial.first for trial in shared.trials.values())
    return (
        f"| {name} | {len(plain.trials)} | {steps:,}, {left:,} | {before / PFLOP:.1f}, {after / PFLOP:.1f} "
        f"({after / before - 1:+.1%}) | {' | '.join(spans)} |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="*", metavar="STUDY", help="a shipped study or a file; all that ship")
    names = parser.parse_args().studies or [path.stem for path in shipped()]
    print("\n".join(table(names)))


if __name__ == "__main__":
    main()
