"""Settings from the command line over those of a study file, and what that may do to arms, warm-ups and hypotheses."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from cifarsweep.errors import SpecError
from cifarsweep.spec.hypothesis import Hypothesis, selectors
from cifarsweep.spec.study import Cell, select
from cifarsweep.spec.words import NAME_PATTERN

Table = dict[str, Any]
#: Takes a sentence that the user should read.
Note = Callable[[str], None]

_RIVALS = {"epochs": "steps", "steps": "epochs"}
_WARMUPS = {"epochs": "schedule.warmup_epochs", "steps": "schedule.warmup_steps"}
_SHARE = 10
_LONGEST_SHOWN = 200


def parse_override(text: str) -> tuple[str, Any]:
    """`key=value` of `--set`: the value as TOML, a bare word as text. Raises SpecError."""
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or not key:
        raise SpecError(f"--set {_shown(text)}: write it as key=value, for example --set epochs=1")
    try:
        table = tomllib.loads(f"value = {value}")
    # A number of thousands of digits is a ValueError, brackets in thousands of brackets are a RecursionError.
    except (ValueError, RecursionError):
        bare = value.strip()
        if NAME_PATTERN.fullmatch(bare) or bare.startswith("timm:"):
            return key, bare
        raise SpecError(
            f'--set {_shown(text)}: {_shown(value)} is not a TOML value (a number, true, a [list], a "text")'
        ) from None
    if len(table) > 1:
        raise SpecError(f"--set {_shown(text)}: sets more than one key; give each a --set of its own")
    return key, table["value"]


def _shown(text: str) -> str:
    found = repr(text)
    return found if len(found) <= _LONGEST_SHOWN else f"{found[:_LONGEST_SHOWN]}..."


def override(flat: Mapping[str, Any], key: str, value: Any) -> Table:
    """Set one dotted key; epochs and steps replace each other."""
    return {k: v for k, v in flat.items() if k != _RIVALS.get(key)} | {key: value}


def pinned(given: Mapping[str, Any]) -> set[str]:
    """The keys that nothing else may set any more: those given, and the other budget where one is given."""
    return set(given) | {_RIVALS[key] for key in given if key in _RIVALS}


def once(note: Note) -> Note:
    """The same, but each sentence only once."""
    said: set[str] = set()

    def say(sentence: str) -> None:
        if sentence not in said:
            said.add(sentence)
            note(sentence)

    return say


def fit_warmup(flat: Table, given: Mapping[str, Any], note: Note, keep: Collection[str] = ()) -> Table:
    """Cut a warm-up for which a given budget leaves no room to a tenth of it, unless it is given too, or in `keep`."""
    for budget, key in _WARMUPS.items():
        total, warmup = _number(given.get(budget)), _number(flat.get(key))
        if key in given or key in keep or not total or not warmup or warmup < total:
            continue
        cut = total // _SHARE if budget == "steps" else total / _SHARE
        note(f"{key} = {warmup:g} leaves nothing of {budget} = {total:g}; it is cut to {cut:g}")
        flat = flat | {key: cut}
    return flat


def _number(value: object) -> int | float:
    """The value, or 0 for what the settings will refuse."""
    return max(value, 0) if isinstance(value, int | float) and not isinstance(value, bool) else 0


def merge_equal(cells: Sequence[Cell], note: Note) -> list[Cell]:
    """Keep the first of those cells that train the same settings."""
    kept: dict[str, Cell] = {}
    for cell in cells:
        first = kept.setdefault(cell.settings.model_dump_json(), cell)
        if first is not cell:
            note(f"the arm {cell.name!r} is left out: with --set it trains the same as {first.name!r}")
    return list(kept.values())


def still_meant(hypotheses: Sequence[Hypothesis], cells: Sequence[Cell], note: Note) -> list[Hypothesis]:
    """The hypotheses whose cells are all there, and are not the same cell under two names."""
    kept: list[Hypothesis] = []
    for hypothesis in hypotheses:
        chosen = [select(tuple(cells), selector) for selector in selectors(hypothesis).values()]
        same = len(chosen) == 2 and chosen[0] == chosen[1]
        if all(chosen) and not same:
            kept.append(hypothesis)
        else:
            note(f"the hypothesis {hypothesis.claim!r} is left out: with --set its cells are merged or gone")
    return kept
