"""Where the images of an import lie in their folders, which of them become test images, and what is refused."""

from __future__ import annotations

import hashlib
from bisect import insort
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from cifarsweep.data.archives import member_name
from cifarsweep.errors import DataError
from cifarsweep.text import quoted

SPLITS = ("train", "test")
IN_A_SPLIT = "lies in a split already; leave --test out, which is for <class>/<file>"
#: Split, class and file name of an image. Sorting by it makes the digest reproducible.
Key = tuple[str, str, str]
#: Members that are named for each reason, and reasons that are listed.
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Layout:
    """The folders below at most one top folder: `<split>/<class>/<file>`, or `<class>/<file>` if `plain`."""

    plain: bool = False

    def depth(self, parts: tuple[str, ...]) -> int | None:
        """Return how many folders stand before a file's split or class, 0 or 1; None if it does not fit."""
        depth = len(parts) - (2 if self.plain else 3)
        fits = depth in (0, 1) and (self.plain or parts[depth] in SPLITS)
        return depth if fits else None

    def key(self, parts: tuple[str, ...]) -> Key:
        """Return the key of a file that fits; its split is empty where the folders do not say it."""
        return "" if self.plain else parts[-3], parts[-2], parts[-1]

    def class_of(self, folder: tuple[str, ...], depth: int) -> str | None:
        """Return the class that a folder stands for, below so many others; None for another folder."""
        at = depth + (0 if self.plain else 1)
        return folder[at] if len(folder) == at + 1 else None

    def allows(self, folder: tuple[str, ...], depth: int) -> bool:
        """Whether an empty folder is allowed: a top folder, a split, or a class, which is then named."""
        return len(folder) <= depth or (
            len(folder) <= depth + (1 if self.plain else 2) and (self.plain or folder[depth] in SPLITS)
        )

    def misfit(self, parts: tuple[str, ...]) -> str:
        """Return why a file does not fit."""
        if not self.plain:
            return "does not fit <split>/<class>/<file> with train and test as splits; move it"
        if set(SPLITS) & set(parts[:-2]):
            return IN_A_SPLIT
        return "does not fit <class>/<file>; move it"


def with_splits(digests: Mapping[Key, bytes], share: float, seed: int) -> dict[Key, Key]:
    """Return the key with its split of each file, of which `share` of each class become test images.

    The bytes of the files and the seed decide it, and no names: the same files are split in the same way everywhere,
    and copies of one stay on one side. Raises DataError for a class without two different files.
    """
    found: dict[Key, Key] = {}
    classes: dict[str, list[tuple[bytes, Key]]] = defaultdict(list)
    for key, digest in digests.items():
        classes[key[1]].append((hashlib.sha256(f"{seed} ".encode() + digest).digest(), key))
    for name, members in classes.items():
        members.sort()
        places = [place for place in range(1, len(members)) if members[place - 1][0] != members[place][0]]
        if not places:
            raise DataError(
                f"class {quoted(name)} has {len(members):,} file{'s' * (len(members) > 1)} and no two different ones, "
                "of which one could be a test image; add some or drop it"
            )
        last = min(places, key=lambda place: abs(place - share * len(members)))
        for place, (_, (_, kind, file)) in enumerate(members):
            found["", kind, file] = ("test" if place < last else "train", kind, file)
    return found


@dataclass(slots=True)
class Problems:
    """The number of members for each reason, and the first of them by name."""

    _counts: Counter[str] = field(default_factory=Counter)
    _names: dict[str, list[str]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self._counts)

    def add(self, name: str, reason: str, count: int = 1) -> None:
        """Count the member `name`, or `count` members of which it is one, as refused for `reason`."""
        self._counts[reason] += count
        names = self._names.setdefault(reason, [])
        insort(names, name)
        del names[_NAMED:]

    def sentence(self, source: str) -> str:
        """Return one line: the most frequent reasons, each with its first member and the number of others."""
        reasons = sorted(self._counts, key=lambda reason: (-self._counts[reason], reason))
        told = [
            f"{member_name(source, self._names[reason][0])} {reason}{more(self._names[reason], self._counts[reason])}"
            for reason in reasons[:_NAMED]
        ]
        if left := sum(self._counts[reason] for reason in reasons[_NAMED:]):
            told.append(f"{left} more have other faults")
        return ". ".join(told)


def more(names: list[str], count: int) -> str:
    """Return the text on the other names, if the first of `count` was named."""
    if count == 1:
        return ""
    rest = [quoted(name) for name in names[1:_NAMED]]
    listed = ", ".join(rest + ["..."] * (count > 1 + len(rest)))
    return f" (and {count - 1:,} more: {listed})" if rest else f" (and {count - 1:,} more)"
