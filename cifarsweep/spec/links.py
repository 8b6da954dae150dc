"""What is planned of trials that have steps in common: who takes whose. Plain records that planner and store share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from cifarsweep.spec.settings import Settings


@dataclass(frozen=True, slots=True)
class Candidate:
    """A trial that may take steps from another one, if it is new, or give some.

    `queued` and `leased` ones are on their way.
    """

    trial_id: int
    settings: Settings
    seed: int
    state: Literal["new", "queued", "leased", "done"]
    step: int = 0
    """Steps that its newest checkpoint has, if it is not done."""
    source_id: int | None = None
    branch_step: int | None = None
    """It begins with so many steps of its source; None with a source: it takes all of them."""
    branches: frozenset[int] = frozenset()
    """The steps whose state it keeps for others, or will keep when it gets there."""
    data: str | None = None
    """The digest of the images that it was trained on; None if it was not, or where nobody wrote it down."""
    reusable: bool = True
    """Whether others may take from it when it is done: all of it was trained alike, and its rows have a digest."""


@dataclass(frozen=True, slots=True)
class Link:
    """A trial takes the first `steps` steps from another one: all of them where `branch_step` is None."""

    trial_id: int
    source_id: int
    branch_step: int | None
    steps: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What new trials take from others."""

    links: tuple[Link, ...] = ()
    waiting_steps: Mapping[int, int] = field(default_factory=dict)
    """By source: the steps of the longest path of trials that wait for it; at least 1."""
    known: Mapping[int, int] = field(default_factory=dict)
    """By new trial: a done one that trained the same, but for device and versions."""
    lost: tuple[int, ...] = ()
    """New trials of which a done one trained the same, and none that is reusable."""
    missed: Mapping[int, int] = field(default_factory=dict)
    """By new trial: first steps that a done one has trained too, and whose state it keeps no more."""


#: Plans what the new ones among the candidates take.
Planner = Callable[[Sequence[Candidate]], Plan]
