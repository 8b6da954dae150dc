"""Finds the attempts that trained a trial's result, and the differences among their environments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from cifarsweep.spec.types import DATA_VERSION

#: The names of a device among versions, and of what a program ran from: its commit, and the digest of its packages.
DEVICE, PROGRAM_GIT, PROGRAM_PACKAGES = "device", "program git", "program packages"


@dataclass(frozen=True, slots=True)
class Source:
    """A trial from which another one took over its first `steps` steps, instead of training them again."""

    name: str
    """STUDY/NUMBER."""
    steps: int

    def text(self, steps: int) -> str:
        """Say what a trial of so many steps took over: all of it, or its beginning."""
        return f"reused from {self.name}" if self.steps >= steps else f"first {self.steps:,} steps from {self.name}"


def without_data(versions: Mapping[str, str]) -> dict[str, str]:
    """Return the versions without the digests of data sets."""
    return {name: version for name, version in versions.items() if not name.startswith(DATA_VERSION)}


def contributing(first_steps: Sequence[int | None]) -> list[int]:
    """Return which attempts contributed to the last one, given the steps they resumed from; oldest first.

    An attempt whose checkpoint was lost or not used contributed nothing. One with an unknown first step counts.
    """
    found: list[int] = []
    needed: int | None = None
    for index in reversed(range(len(first_steps))):
        first = first_steps[index]
        if needed is None or first is None or first < needed:
            found.append(index)
            needed = needed if first is None else first
        if needed == 0:
            break
    return found[::-1]


class Attempt(Protocol):
    """The properties of an attempt that this module needs."""

    @property
    def first_step(self) -> int | None:
        """The step that it resumed from."""

    @property
    def device(self) -> str:
        """The model of its device, empty if unknown."""

    @property
    def versions(self) -> Mapping[str, str]:
        """The versions of its software, and the digest of its images."""


A = TypeVar("A", bound=Attempt)


def trained_by(attempts: Sequence[A], reused_steps: int = 0) -> tuple[A, ...]:
    """Return the attempts that contributed to a trial's result, oldest first.

    Those that began before the end of the steps that it took over from another trial contributed nothing: where it took
    over all of them, none did.
    """
    began = [each for each in attempts if each.first_step is None or each.first_step >= reused_steps]
    if len(began) < 2:  # the common case
        return tuple(began)
    return tuple(began[index] for index in contributing([each.first_step for each in began]))


def changed(attempts: Sequence[Attempt]) -> dict[str, tuple[str, ...]]:
    """Return what changed between a trial's attempts, so that its bits may not repeat; empty if nothing did."""
    found = trained_by(attempts)
    if len(found) < 2:
        return {}
    return changes({**each.versions, **({DEVICE: each.device} if each.device else {})} for each in found)


def changes(environments: Iterable[Mapping[str, str]]) -> dict[str, tuple[str, ...]]:
    """Return the differences among the environments of a trial's attempts, with the values in their order.

    Values that an attempt did not record are ignored.
    """
    known = [each for each in environments if each]
    keys = sorted(set[str]().union(*known)) if known else []
    found = {key: tuple(dict.fromkeys(each[key] for each in known if key in each)) for key in keys}
    return {key: values for key, values in found.items() if len(values) > 1}


def changes_text(found: Mapping[str, Sequence[str]]) -> str:
    """Return the changes as text: torch 2.14.0, then 2.15.0."""
    return "; ".join(f"{key} {', then '.join(values)}" for key, values in found.items())
