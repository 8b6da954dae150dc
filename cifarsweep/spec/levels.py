"""Levels of factors: when they are the same, and how they are named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping
from itertools import product

from cifarsweep.spec.settings import NONE
from cifarsweep.spec.types import Value


def level_key(value: Value) -> Hashable:
    """Return a key that is equal for equal levels: 1 equals 1.0, but true does not equal 1."""
    if isinstance(value, tuple):
        return tuple(level_key(item) for item in value)
    # In Python True == 1.
    return isinstance(value, bool), value


def same_level(left: Value, right: Value) -> bool:
    """Whether two values of a setting are the same level. Use this for every comparison of levels."""
    return level_key(left) == level_key(right)


def crossed(factors: Mapping[str, tuple[Value, ...]]) -> Iterator[dict[str, Value]]:
    """Yield every combination of levels, the last factor varying fastest; nothing without factors."""
    if factors:
        for combination in product(*factors.values()):
            yield dict(zip(factors, combination, strict=True))


def cell_name(levels: Mapping[str, Value], keys: list[str], *, as_before: bool = False) -> str:
    """Return a short name: keys with their levels; `as_before` is the name that earlier versions gave."""
    called = (short_keys if as_before else shown_keys)(keys)
    return ", ".join(f"{called[key]}={level_text(levels[key])}" for key in keys) or "base"


def levels_text(levels: Mapping[str, Value]) -> str:
    """Return levels as names of cells say them; nothing without levels."""
    return cell_name(levels, list(levels)) if levels else ""


def short_keys(keys: Iterable[str]) -> dict[str, str]:
    """Return the last part of each key, or all of it if two would be equal: the words in names of earlier versions."""
    return _told_apart({key: key.rsplit(".", 1)[-1] for key in keys})


def shown_keys(keys: Iterable[str]) -> dict[str, str]:
    """Return what readers call each key, and names of cells: as `short_keys`, but `optimizer` for `optimizer.name`."""
    return _told_apart({key: key.removesuffix(".name").rsplit(".", 1)[-1] for key in keys})


def words_in(names: Iterable[str], keys: Iterable[str]) -> dict[str, str]:
    """Return by key what the first name that is made of levels calls it, in the order of that name; else nothing."""
    both = [(words, sorted(words.values())) for words in (shown_keys(keys), short_keys(keys))]
    for name in names:
        heads = [part.partition("=")[0] for part in name.split(", ")]
        for words, expected in both:
            if sorted(heads) == expected:
                return dict(sorted(words.items(), key=lambda pair: heads.index(pair[1])))
    return {}


def _told_apart(short: dict[str, str]) -> dict[str, str]:
    count = Counter(short.values())
    return {key: name if count[name] == 1 else key for key, name in short.items()}


def level_text(value: Value) -> str:
    """Return a level as text: `yes`, `none`, `3e-4`, `32-64-128`. Parsing the text of a number gives it back."""
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return "-".join(level_text(item) for item in value)
    if not isinstance(value, float):
        return str(value)
    short = f"{value:g}"
    return short if float(short) == value else repr(value)
