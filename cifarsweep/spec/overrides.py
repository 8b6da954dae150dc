"""Applies settings from the command line to arms, warm-ups and hypotheses of a study file."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from cifarsweep.errors import SpecError
from cifarsweep.spec.code import REFERENCE
from cifarsweep.spec.hypothesis import Hypothesis, selectors
from cifarsweep.spec.levels import same_level
from cifarsweep.spec.settings import NONE, OPTIONAL_KEYS, flatten
from cifarsweep.spec.study import Cell, cell_json, ends_before, overlap, select, unmeasured
from cifarsweep.spec.types import NAME_PATTERN, Value
from cifarsweep.spec.validation import Table

#: Gets a sentence for the user.
Note = Callable[[str], None]
#: Returns the steps of an epoch with these settings by dotted key, None if unknown here.
EpochSteps = Callable[[Table], int | None]

_RIVALS = {"epochs": "steps", "steps": "epochs"}
_WARMUP_EPOCHS = "schedule.warmup_epochs"
#: Budgets, and the warm-ups that have to fit them.
_WARMUPS = (("epochs", _WARMUP_EPOCHS), ("steps", "schedule.warmup_steps"), ("steps", _WARMUP_EPOCHS))
_NORMALIZE = ("normalize.mean", "normalize.std")
#: Parts of a dotted key. The deepest setting has 3; Python's reader of TOML takes memory by the square of this number.
DEEPEST = 16
_SHARE = 10
_SPLIT, _FRACTION = "validation.split", "validation.fraction"
#: The part of the training set that a study file holds out if it does not say how much.
FILE_FRACTION = 0.1
_LONGEST_SHOWN = 200

# Strings and comments of TOML, whose dots are no keys; then keys, bare or quoted, with their dots. An unterminated
# string matches too: else each quotation mark in it would be tried as the beginning of another.
_TEXTS = re.compile(
    r'"""(?:[^\\]|\\.)*?(?:"""|\\?\Z)|\'\'\'.*?(?:\'\'\'|\Z)|"(?:[^"\\\n]|\\.)*"?|\'[^\'\n]*\'?|#[^\n]*', re.S
)
_KEYS = re.compile(r"[^\s.=\[\],{}]+(?:[ \t]*\.[ \t]*[^\s.=\[\],{}]+)*")


def check_depth(text: str, where: str) -> None:
    """Raise SpecError for a key of too many parts in a text of TOML, before it is read."""
    for key in _KEYS.finditer(_TEXTS.sub("s", text)):
        if key[0].count(".") >= DEEPEST:
            raise SpecError(
                f"{where}: the key {key[0][:40]!r}... has more than {DEEPEST} parts, and no setting has so many"
            )


def parse_override(text: str) -> tuple[str, Any]:
    """Parse `key=value` of `--set`: the value as TOML, a bare word as text. Raises SpecError."""
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or not key:
        raise SpecError(f"--set {_shown(text)}: write it as key=value, for example --set epochs=1")
    check_depth(text, "--set")
    try:
        table = tomllib.loads(f"value = {value}")
    # A number of thousands of digits is a ValueError, brackets in thousands of brackets are a RecursionError.
    except (ValueError, RecursionError):
        bare = value.strip()
        if NAME_PATTERN.fullmatch(bare) or REFERENCE.fullmatch(bare):
            return key, bare
        raise SpecError(
            f'--set {_shown(text)}: {_shown(value)} is not a TOML value (a number, true, a [list], a "text")'
        ) from None
    if len(table) > 1:
        raise SpecError(f"--set {_shown(text)}: sets more than one key; give each a --set of its own")
    return key, table["value"]


def parse_overrides(texts: Iterable[str], *, free: bool = False) -> Table:
    """Return the settings of several `--set` by dotted key. Raises SpecError if two of them set the same one.

    `free` is for a program, whose parameters have any name.
    """
    given: Table = {}
    said: dict[str, str] = {}
    for text in texts:
        key, value = parse_override(text)
        tables = {key: value}
        for each, setting in (flatten(tables) if free else flat_table(tables, f"--set {_shown(text)}")).items():
            rival = next((one for one in given if (one == each if free else _collide(one, each))), None)
            if rival is not None:
                raise SpecError(
                    f"--set {_shown(text)}: --set {_shown(said[rival])} sets {rival} already; give one of them"
                )
            given[each], said[each] = setting, text
    return given


def flat_table(tree: Mapping[str, Any], where: str) -> Table:
    """Return a table of settings by dotted key, with `normalize = "data"` as the settings that it stands for.

    Raises SpecError for another word in the place of that table.
    """
    flat = flatten(dict(tree))
    if "normalize" not in flat:
        return flat
    if flat["normalize"] != "data":
        raise SpecError(
            f'{where}: normalize: {_shown(str(flat["normalize"]))} is unknown. Allowed: "data" for the statistics of '
            "the training images, or a table with mean and std"
        )
    return {key: value for key, value in flat.items() if key != "normalize"} | dict.fromkeys(_NORMALIZE)


def _collide(one: str, other: str) -> bool:
    """Whether two keys set the same: equal keys, a table and a part of it, or the two budgets."""
    short, long = sorted((one, other), key=len)
    return one == other or long.startswith(f"{short}.") or _RIVALS.get(one) == other


def _shown(text: str) -> str:
    found = repr(text)
    return found if len(found) <= _LONGEST_SHOWN else f"{found[:_LONGEST_SHOWN]}..."


def override(flat: Mapping[str, Any], key: str, value: Any) -> Table:
    """Set one dotted key; epochs and steps replace each other."""
    return {k: v for k, v in flat.items() if k != _RIVALS.get(key)} | {key: value}


def with_file_defaults(fixed: Table, varied: Collection[str], arms: Collection[str]) -> Table:
    """Return the fixed settings with what a study file means if it does not say what accuracy is measured on.

    That is a tenth of the training set. `Validation` itself defaults to the test set, as in studies and checkpoints of
    earlier versions, whose digests leave defaults out; so a file that names the test set, and no fraction, is theirs.
    `varied` are the settings that factors or a search set, `arms` those that some arms set.
    """
    if fixed.get(_SPLIT) == "test" and _SPLIT not in arms:
        return fixed
    held_out = {_SPLIT: "holdout", _FRACTION: FILE_FRACTION}
    return {key: value for key, value in held_out.items() if key not in varied} | fixed


def locked_keys(given: Mapping[str, Any]) -> set[str]:
    """Return the keys that nothing else may set: those given, and the other budget if one is given."""
    return set(given) | {_RIVALS[key] for key in given if key in _RIVALS}


def once(note: Note) -> Note:
    """Wrap `note` so that each sentence comes only once."""
    said: set[str] = set()

    def say(sentence: str) -> None:
        if sentence not in said:
            said.add(sentence)
            note(sentence)

    return say


def fit_warmup(
    flat: Table, given: Mapping[str, Any], note: Note, epoch_steps: EpochSteps, keep: Collection[str] = ()
) -> Table:
    """Cut a warm-up that exceeds a given budget to a tenth of it, unless it is given too, or in `keep`."""
    for budget, key in _WARMUPS:
        total, warmup = _number(given.get(budget)), _number(flat.get(key))
        if key in given or key in keep or not total or not warmup:
            continue
        in_steps = budget == "steps" and key == _WARMUP_EPOCHS
        steps = epoch_steps(flat) if in_steps else 1
        if steps is None or (round(warmup * steps) if in_steps else warmup) < total:
            continue
        whole = key != _WARMUP_EPOCHS or flat.get("schedule.by") == "epoch"
        cut = total // (_SHARE * steps) if whole else float(f"{total / (_SHARE * steps):.4g}")
        note(f"{key} = {warmup:g} leaves nothing of {budget} = {total:g}; it is cut to {cut:g}")
        flat = flat | {key: cut}
    return flat


def _number(value: object) -> int | float:
    """Return the number, or 0 for a value that the settings will refuse."""
    return max(value, 0) if isinstance(value, int | float) and not isinstance(value, bool) else 0


def merge_equal_cells(cells: Sequence[Cell], note: Note) -> list[Cell]:
    """Keep the first of cells with the same settings."""
    kept: dict[str, Cell] = {}
    for cell in cells:
        first = kept.setdefault(cell_json(cell), cell)
        if first is not cell:
            note(f"the arm {cell.name!r} is left out: with --set it trains the same as {first.name!r}")
    return list(kept.values())


def applicable_hypotheses(
    hypotheses: Sequence[Hypothesis], cells: Sequence[Cell], note: Note, *, merged: bool
) -> list[Hypothesis]:
    """Return the hypotheses that --set leaves testable.

    Left out, each with a note, are those whose budget was cut before `at`, those whose metric is not recorded any more
    and, if cells were `merged`, those that lost cells or have one on both sides.
    """
    kept: list[Hypothesis] = []
    for hypothesis in hypotheses:
        chosen = [select(tuple(cells), selector) for selector in selectors(hypothesis).values()]
        if merged and not (all(chosen) and not overlap(*chosen)):
            note(f"the hypothesis {hypothesis.claim!r} is left out: with --set its cells are merged or gone")
        elif ends_before(tuple(cells), hypothesis):
            note(f"the hypothesis {hypothesis.claim!r} is left out: with --set training ends before its `at`")
        elif unmeasured(tuple(cells), hypothesis):
            note(f"the hypothesis {hypothesis.claim!r} is left out: with --set its metric is not recorded")
        else:
            kept.append(hypothesis)
    return kept


def parse_none(key: str, value: Any) -> Any:
    """Return the value, or None if a file writes `none` for an optional setting."""
    return None if value == NONE and key in OPTIONAL_KEYS else value


def map_levels(hypothesis: Hypothesis, change: Callable[[str, Value], Value]) -> Hypothesis:
    """Return the hypothesis with `change(key, level)` in the place of each level."""
    changes: dict[str, Any] = {
        role: {key: change(key, level) for key, level in selector.items()}
        for role, selector in selectors(hypothesis).items()
        if not isinstance(selector, str)
    }
    if hypothesis.kind == "best":
        changes["level"] = change(hypothesis.factor, hypothesis.level)
    return hypothesis.model_copy(update=changes)


def levels_of_cells(key: str, levels: Iterable[Value], cells: Sequence[Cell]) -> tuple[Value, ...]:
    """Return levels as the settings of the cells have them: a file may write 1 for 1.0."""
    known = [cell.levels[key] for cell in cells if key in cell.levels]
    return tuple(next((one for one in known if same_level(one, level)), level) for level in map(frozen, levels))


def frozen(level: Any) -> Value:
    """Turn a list of TOML into a tuple."""
    return tuple(level) if isinstance(level, list) else level
