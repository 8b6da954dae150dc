"""Plans which trials take their first steps from another one, so that no step is trained twice. Imports no torch.

Trials of one seed that write the same rows for a while are a prefix tree over the rates of their steps, as in Hippo
(Shin et al., VLDB 2022). Each new trial begins where it leaves the trials that are there, at a branch step of the one
that trains that step; so the steps that are trained are those of the tree, each once, whatever the order is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from cifarsweep.errors import SpecError
from cifarsweep.spec.links import Candidate, Link, Plan
from cifarsweep.spec.settings import Settings
from cifarsweep.training.identity import Curve, beginning_of_rows, curve, shared_rates
from cifarsweep.training.schedule import rate_of_steps

#: A branch saves at least this part of a trial, or an evaluation: else it is not worth a checkpoint.
_WORTH = 0.01


@dataclass(frozen=True, slots=True)
class _Kind:
    """What the trials of one cell have in common. Those of equal beginnings share steps while their rates are equal."""

    number: int
    beginning: tuple[str, int, float]
    """What decides the first step beside the seed, its rate at the end."""
    sha256: str | None
    curve: Curve
    total: int
    worth: float
    """The fewest steps that a branch must save."""


@dataclass(frozen=True, slots=True)
class _Member:
    """A trial among those of one seed and beginning."""

    trial: Candidate
    kind: _Kind
    known: int | None = None
    """A done trial that trained the same."""

    @property
    def own_from(self) -> int:
        """Steps before its own: it can't keep their state for others any more."""
        taken = self.kind.total if self.trial.branch_step is None else self.trial.branch_step
        return max(self.trial.step, 0 if self.trial.source_id is None else taken)

    @property
    def is_lost(self) -> bool:
        return self.trial.state == "done" and not self.trial.reusable

    @property
    def is_twin(self) -> bool:
        return self.trial.source_id is not None and self.trial.branch_step is None

    def gives(self, shared: int) -> int:
        """The last of its first `shared` steps at which another trial can begin; 0 if there is none."""
        if self.trial.state in ("new", "queued") and shared > self.own_from:
            return shared
        return max((step for step in self.trial.branches if step <= shared), default=0)


@dataclass(frozen=True, slots=True)
class TrainingImages:
    """How many images a trial trains on, and their digest; None where it is not known here."""

    count: int
    sha256: str | None = None


#: What a trial of those settings trains on; None where it is not known.
Known = Callable[[Settings], TrainingImages | None]


def plan(candidates: Iterable[Candidate], images: Known) -> Plan:
    """Plan what the new ones among the candidates take from others and from one another.

    Trials that were trained on other images, whose images are unknown, or which can't train, are left out. The longest
    trials come first, which the others then leave; those that are known come last, so that nobody waits for a state
    that they do not come by. Where a trial has a link already, it keeps it.
    """
    links: list[Link] = []
    waiting: dict[int, int] = {}
    known: dict[int, int] = {}
    lost: list[int] = []
    missed: dict[int, int] = {}
    shared = _Shared()
    for members in _groups(candidates, images):
        named = _named(members, shared)
        there = [one for one in named if one.trial.state != "new" and one.trial.reusable]
        for one in sorted((one for one in named if one.trial.state == "new"), key=_order):
            trial_id = one.trial.trial_id
            if one.known is not None:
                known[trial_id] = one.known
            elif any(other.is_lost and shared.all(one, other) for other in named):
                lost.append(trial_id)
            else:
                missed |= _missed(one, there, shared)
            if link := _link(one, there, shared):
                links.append(link)
                one = replace(one, trial=replace(one.trial, source_id=link.source_id, branch_step=link.branch_step))
            there.append(one)
        waiting |= _waiting(there)
    return Plan(tuple(sorted(links, key=lambda link: link.trial_id)), waiting, known, tuple(sorted(lost)), missed)


def _groups(candidates: Iterable[Candidate], images: Known) -> Iterator[list[_Member]]:
    """The trials that may share steps with new ones, in the order of their ids."""
    kinds: dict[Settings, _Kind | None] = {}
    groups: dict[tuple[tuple[str, int, float], int], list[_Member]] = defaultdict(list)
    for one in sorted(candidates, key=lambda one: one.trial_id):
        if one.settings not in kinds:
            kinds[one.settings] = _kind(len(kinds), one.settings, images(one.settings))
        kind = kinds[one.settings]
        if kind is not None and (one.data in (None, kind.sha256) or kind.sha256 is None):
            groups[kind.beginning, one.seed].append(_Member(one, kind))
    for members in groups.values():
        if any(one.trial.state == "new" for one in members):
            yield members


def _kind(number: int, settings: Settings, images: TrainingImages | None) -> _Kind | None:
    if images is None:
        return None
    try:
        begins, found = beginning_of_rows(settings, images.count), curve(settings, images.count)
        first = rate_of_steps(*found)(0)
    except SpecError:  # a worker will say so
        return None
    if begins is None:
        return None
    worth = min(_WORTH * found.total, settings.eval_every or found.steps_per_epoch)
    return _Kind(number, (begins, images.count, first), images.sha256, found, found.total, worth)


def _order(one: _Member) -> tuple[bool, int, int]:
    return one.known is not None, -one.kind.total, one.trial.trial_id


class _Shared:
    """How many first rates two trials have in common, each pair of cells compared once."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, int], int] = {}

    def steps(self, one: _Member, other: _Member) -> int:
        pair = one.kind.number, other.kind.number
        if pair not in self._found:
            self._found[pair] = shared_rates(one.kind.curve, other.kind.curve)
        return self._found[pair]

    def all(self, one: _Member, other: _Member) -> bool:
        return one.kind.total == other.kind.total == self.steps(one, other)


def _named(members: Sequence[_Member], shared: _Shared) -> list[_Member]:
    """Those that are open with the done ones that trained the same."""
    done = [one for one in members if one.trial.state == "done" and one.trial.reusable]

    def twin(one: _Member) -> int | None:
        return next((other.trial.trial_id for other in done if shared.all(one, other)), None)

    return [one if one.trial.state == "done" else replace(one, known=twin(one)) for one in members]


def _link(one: _Member, there: Sequence[_Member], shared: _Shared) -> Link | None:
    """What a new trial takes from those that are there; of equal gains the first one's."""
    total, trial_id = one.kind.total, one.trial.trial_id
    for other in there:
        if other.trial.state != "done" and not other.is_twin and shared.all(one, other):
            return Link(trial_id, other.trial.trial_id, None, total)
    # A trial that is known may take its result from there, and comes by no state.
    able = [other for other in there if one.known is not None or other.known is None]
    gains = [(other.gives(shared.steps(one, other)), other.trial.trial_id) for other in able]
    steps, source_id = max(gains, key=lambda gain: gain[0], default=(0, 0))
    return Link(trial_id, source_id, steps, steps) if steps and steps >= one.kind.worth else None


def _missed(one: _Member, there: Sequence[_Member], shared: _Shared) -> Mapping[int, int]:
    """The steps that a new trial trains again though a done one has them, and keeps no state there."""
    done = max((shared.steps(one, other) for other in there if other.trial.state == "done"), default=0)
    gain = max((other.gives(shared.steps(one, other)) for other in there), default=0)
    return {one.trial.trial_id: done - gain} if done - gain >= one.kind.worth else {}


def _waiting(members: Sequence[_Member]) -> Mapping[int, int]:
    """By source on its way: the steps of the longest path of trials that wait for a state of it."""
    found: dict[int, int] = {}
    by_id = {one.trial.trial_id: one for one in members}
    for one in members:
        waits: _Member | None = one
        for _ in members:  # no circle of an edited database is followed for ever
            if waits is None or waits.trial.source_id is None or waits.trial.branch_step is None:
                break
            source_id, step = waits.trial.source_id, waits.trial.branch_step
            found[source_id] = max(found.get(source_id, 1), one.kind.total - step)
            waits = by_id.get(source_id)
    return {trial_id: steps for trial_id, steps in found.items() if _on_its_way(by_id.get(trial_id))}


def _on_its_way(one: _Member | None) -> bool:
    return one is not None and one.trial.state != "done"
