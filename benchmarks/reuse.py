"""Steps and arithmetic of the shipped studies, and what would be left if no step were trained twice.

Trials of one seed that train the same bits for a while share these steps. The learning rates of the trials of one
network, batch size, optimizer and so on are a prefix tree, as in Hippo (Shin et al., VLDB 2022); every piece of it is
trained once. The makespan is that of workers of one speed that take the piece first whose longest path to an end is
longest; no checkpoint costs anything. The bound is the larger of all arithmetic over the workers and the longest path.

    python benchmarks/reuse.py [STUDY ...]
"""

from __future__ import annotations

import argparse
import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from cifarsweep.models import cost
from cifarsweep.spec.reader import find, read_study, shipped
from cifarsweep.spec.settings import Settings
from cifarsweep.training.identity import beginning, rates
from cifarsweep.training.schedule import Budget
from cifarsweep.worker.precheck import training_images

WORKERS = (1, 4, 16)
PFLOP = 1e15
_CLASSES = {"cifar100": 100}


@dataclass
class Piece:
    """Steps that several trials share, and what follows them. `work` is in FLOPs."""

    steps: int
    work: float
    after: list[Piece] = field(default_factory=list)

    def all(self) -> Iterator[Piece]:
        yield self
        for piece in self.after:
            yield from piece.all()

    @property
    def path(self) -> float:
        """FLOPs from the first of its steps to the end of the longest trial that begins with them."""
        return self.work + max((piece.path for piece in self.after), default=0.0)


@dataclass(frozen=True)
class Trial:
    """One seed of one cell: what its steps need, and their rates."""

    settings: Settings
    seed: int
    images: int
    rates: tuple[float, ...]

    def work(self, first: int, last: int) -> float:
        """FLOPs of the steps from `first` up to `last`."""
        budget = Budget.of(self.settings, self.images)
        seen = budget.images_seen(last) - budget.images_seen(first)
        return cost(self.settings.model, _CLASSES.get(self.settings.dataset, 10)).training_flops(seen)


def trials_of(name: str) -> list[Trial]:
    """The trials of a study; none for a search, whose points are not known yet."""
    found = []
    for planned in read_study(find(name)).trials():
        settings = planned.cell.settings
        images = training_images(settings, None)
        if images is not None:
            found.append(Trial(settings, planned.seed, images, rates(settings, images)))
    return found


def tree(trials: Iterable[Trial]) -> list[Piece]:
    """The pieces that are trained first, each with what follows it."""
    groups: dict[tuple[str, int, int], list[Trial]] = defaultdict(list)
    for trial in trials:
        groups[beginning(trial.settings), trial.seed, trial.images].append(trial)
    return [piece for group in groups.values() for piece in _branches(sorted(group, key=lambda one: one.rates), 0)]


def _branches(trials: Sequence[Trial], begin: int) -> Iterator[Piece]:
    """The pieces that follow the first `begin` steps of trials that have these in common, in order of their rates."""
    left = [trial for trial in trials if len(trial.rates) > begin]
    while left:
        same = [trial for trial in left if trial.rates[begin] == left[0].rates[begin]]
        left = left[len(same) :]
        end = _common(same[0].rates, same[-1].rates)  # in sorted order, what the ends share, all share
        yield Piece(end - begin, same[0].work(begin, end), list(_branches(same, end)))


def _common(one: Sequence[float], other: Sequence[float]) -> int:
    """How many first rates are equal, by bisection."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[low:middle] == other[low:middle] else (low, middle - 1)
    return low


def makespan(first: Iterable[Piece], workers: int) -> float:
    """FLOPs that one worker has time for until all is trained, the longest path first."""
    due = [(-piece.path, number, piece) for number, piece in enumerate(first)]
    heapq.heapify(due)
    number, now = len(due), 0.0
    running: list[tuple[float, int, Piece]] = []
    while due or running:
        while due and len(running) < workers:
            _, key, piece = heapq.heappop(due)
            heapq.heappush(running, (now + piece.work, key, piece))
        now, _, ended = heapq.heappop(running)
        for piece in ended.after:
            number += 1
            heapq.heappush(due, (-piece.path, number, piece))
    return now


def table(names: Sequence[str]) -> Iterator[str]:
    """The rows of the table."""
    yield "| study | trials | steps | PFLOP | PFLOP without doubles | " + " | ".join(
        f"makespan, {workers} workers, against no reuse (bound)" for workers in WORKERS
    )
    yield "|" + "---|" * (5 + len(WORKERS))
    all_trials = {name: trials_of(name) for name in names}
    yield from (_row(name, trials) for name, trials in all_trials.items() if trials)
    if len(all_trials) > 1:
        yield _row("all together", [trial for trials in all_trials.values() for trial in trials])


def _row(name: str, trials: list[Trial]) -> str:
    alone = [Piece(len(trial.rates), trial.work(0, len(trial.rates))) for trial in trials]
    shared = tree(trials)
    pieces = [piece for first in shared for piece in first.all()]
    before, after = sum(piece.work for piece in alone), sum(piece.work for piece in pieces)
    spans = []
    for workers in WORKERS:
        plain, span = makespan(alone, workers), makespan(shared, workers)
        bound = max(after / workers, max(piece.path for piece in shared))
        spans.append(f"{span / plain - 1:+.0%} ({bound / plain - 1:+.0%})")
    steps, left = sum(piece.steps for piece in alone), sum(piece.steps for piece in pieces)
    return (
        f"| {name} | {len(trials)} | {steps:,} to {left:,} | {before / PFLOP:.1f} | {after / PFLOP:.1f} "
        f"({after / before - 1:+.0%}) | {' | '.join(spans)} |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="*", metavar="STUDY", help="a shipped study or a file; all that ship")
    names = parser.parse_args().studies or [path.stem for path in shipped()]
    print("\n".join(table(names)))


if __name__ == "__main__":
    main()
