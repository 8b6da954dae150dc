"""Counts what is wrong with the members of a folder or an archive, so that one answer names it all."""

from __future__ import annotations

from bisect import insort
from collections import Counter
from dataclasses import dataclass, field

from cifarsweep.data.members import location
from cifarsweep.data.text import shown

#: Members that are named for each reason, and reasons that are told.
_NAMED = 3


@dataclass(slots=True)
class Faults:
    """How many members each reason refuses, and the first of them by name, in whatever order they were found."""

    _counts: Counter[str] = field(default_factory=Counter)
    _names: dict[str, list[str]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self._counts)

    def add(self, name: str, reason: str, count: int = 1) -> None:
        """Note that `reason` refuses the member `name`, or `count` members of which it is one."""
        self._counts[reason] += count
        names = self._names.setdefault(reason, [])
        insort(names, name)
        del names[_NAMED:]

    def sentence(self, source: str) -> str:
        """One line: the most frequent reasons, each with its first member and how many more there are."""
        reasons = sorted(self._counts, key=lambda reason: (-self._counts[reason], reason))
        told = [
            f"{location(source, self._names[reason][0])} {reason}{more(self._names[reason], self._counts[reason])}"
            for reason in reasons[:_NAMED]
        ]
        if left := sum(self._counts[reason] for reason in reasons[_NAMED:]):
            told.append(f"{left} more have other faults")
        return ". ".join(told)


def more(names: list[str], count: int) -> str:
    """What to say of the others, where the first of `count` names was told."""
    if count == 1:
        return ""
    rest = [shown(name) for name in names[1:_NAMED]]
    listed = ", ".join(rest + ["..."] * (count > 1 + len(rest)))
    return f" (and {count - 1:,} more: {listed})" if rest else f" (and {count - 1:,} more)"
