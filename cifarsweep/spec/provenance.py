"""What a trial was trained with: which of its attempts its result rests on, and in what these differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

from cifarsweep.spec.types import DATA_VERSION

#: The name of a device among versions.
DEVICE = "device"


def without_data(versions: Mapping[str, str]) -> dict[str, str]:
    """The versions but for the digests of data sets."""
    return {name: version for name, version in versions.items() if not name.startswith(DATA_VERSION)}


def contributing(first_steps: Sequence[int | None]) -> list[int]:
    """Which attempts, given the steps that they went on from, trained what the last one ended with; oldest first.

    An attempt that left no checkpoint, or whose checkpoint was not used, trained nothing of it. One whose first step is
    not known counts.
    """
    found: list[int] = []
    needed: int | None = None
    for place in reversed(range(len(first_steps))):
        first = first_steps[place]
        if needed is None or first is None or first < needed:
            found.append(place)
            needed = needed if first is None else first
        if needed == 0:
            break
    return found[::-1]


class Attempt(Protocol):
    """What is asked of an attempt, from wherever it was read."""

    @property
    def first_step(self) -> int | None:
        """The step that it went on from."""

    @property
    def device(self) -> str:
        """The model of its device, empty where that is not known."""

    @property
    def versions(self) -> Mapping[str, str]:
        """What it ran with, and the digest of its images."""


A = TypeVar("A", bound=Attempt)


def trained_by(attempts: Sequence[A]) -> tuple[A, ...]:
    """The attempts that a trial's result rests on, oldest first."""
    if len(attempts) < 2:  # as of most trials of large studies
        return tuple(attempts)
    return tuple(attempts[place] for place in contributing([each.first_step for each in attempts]))


def changed(attempts: Sequence[Attempt]) -> dict[str, tuple[str, ...]]:
    """What a trial changed on its way, so that its bits are not promised again; empty where it changed nothing."""
    found = trained_by(attempts)
    if len(found) < 2:
        return {}
    return changes({**each.versions, **({DEVICE: each.device} if each.device else {})} for each in found)


def changes(environments: Iterable[Mapping[str, str]]) -> dict[str, tuple[str, ...]]:
    """What attempts of one trial do not have in common, with the values in the order in which they came.

    What one of them did not record is not compared.
    """
    known = [each for each in environments if each]
    keys = sorted(set[str]().union(*known)) if known else []
    found = {key: tuple(dict.fromkeys(each[key] for each in known if key in each)) for key in keys}
    return {key: values for key, values in found.items() if len(values) > 1}


def changes_text(found: Mapping[str, Sequence[str]]) -> str:
    """The changes as a reader meets them: torch 2.14.0, then 2.15.0."""
    return "; ".join(f"{key} {', then '.join(values)}" for key, values in found.items())
