"""Reads study files: returns a checked `Study`, or raises an error that says what to change."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from cifarsweep.errors import SpecError, UnknownStudy
from cifarsweep.spec.final import Final, default_final
from cifarsweep.spec.hypothesis import Hypothesis
from cifarsweep.spec.levels import cell_name, crossed, same_level
from cifarsweep.spec.overrides import (
    EpochSteps,
    Note,
    applicable_hypotheses,
    fit_warmup,
    flat_table,
    frozen,
    levels_of_cells,
    locked_keys,
    map_levels,
    merge_equal_cells,
    once,
    override,
    parse_none,
    with_file_defaults,
)
from cifarsweep.spec.reported import Reported
from cifarsweep.spec.reported_checks import applicable_reported, applicable_runs, check_reported
from cifarsweep.spec.reported_runs import ReportedRuns
from cifarsweep.spec.search_reader import read_search, space_tables
from cifarsweep.spec.search_space import Search
from cifarsweep.spec.settings import Frozen, Settings, flat_settings, flatten
from cifarsweep.spec.study import Cell, Study, check_hypotheses, check_trial_count, check_unique
from cifarsweep.spec.toml_file import parse_file
from cifarsweep.spec.types import NAME_PATTERN, Value
from cifarsweep.spec.validation import Table, check_keys, nearest, nested, validated

_LONGEST_SHOWN = 200
#: Default number of seeds; that of a search is 1.
_SEEDS = 5


class _Arm(Frozen):
    name: Annotated[str, Field(min_length=1, max_length=120, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]
    set: dict[str, Any]


class _File(Frozen):
    """The top level of a study file."""

    name: str
    question: str
    source: str = ""
    cost: str = ""
    settings: dict[str, Any] = {}
    factors: dict[str, Any] = {}
    arms: tuple[_Arm, ...] = ()
    exclude: tuple[dict[str, Any], ...] = ()
    seeds: Any = None
    hypotheses: tuple[Hypothesis, ...] = ()
    reported: tuple[Reported, ...] = ()
    reported_runs: ReportedRuns | None = None
    search: dict[str, Any] | None = None
    final: Final | None = None
    expected_sd: float | None = None


def shipped_folder() -> Path:
    """Return the folder of the shipped studies: inside the wheel, or at the top level of a checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "studies"
    return inside if inside.is_dir() else package.parent / "studies"


def shipped() -> list[Path]:
    """Return the files of the shipped studies, by name."""
    return sorted(shipped_folder().glob("*.toml"))


def find(name_or_file: str) -> Path:
    """Return the file of a shipped study, or the file itself. Raises UnknownStudy with the list of known names."""
    if name_or_file.endswith(".toml") or os.sep in name_or_file:
        return _study_file(Path(name_or_file))
    known = {path.stem: path for path in shipped()}
    if name_or_file in known:
        return known[name_or_file]
    raise UnknownStudy(
        f"there is no study {name_or_file!r}.{nearest(name_or_file, known)} "
        f"Known: {', '.join(known)}; or give the path of a .toml file."
    )


def _study_file(path: Path) -> Path:
    """Return the path if it is a file. Raises UnknownStudy that says what it is instead."""
    shown = str(path) if len(str(path)) <= _LONGEST_SHOWN else f"{str(path)[:_LONGEST_SHOWN]}..."
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise UnknownStudy(f"{shown!r}: there is no such study file") from None
    except OSError as error:
        raise UnknownStudy(f"{shown!r}: can't be read: {error.strerror}") from None
    if stat.S_ISREG(mode):
        return path
    what = "a folder" if stat.S_ISDIR(mode) else "a device or a pipe"
    raise UnknownStudy(f"{shown!r}: is {what}; give the path of a .toml file, or a study's name")


def read_study(
    path: Path,
    *,
    overrides: Mapping[str, Any] | None = None,
    seeds: int | None = None,
    name: str | None = None,
    note: Note = lambda _: None,
    epoch_steps: EpochSteps = lambda _: None,
) -> Study:
    """Read, override, expand and check a study file.

    `overrides` are settings by dotted key, as of `--set`; `seeds` replaces the file's by 0..seeds-1. Overrides win over
    arms: arms that become equal are merged, hypotheses that lose their cells are left out, and a warm-up that does not
    fit a smaller budget is cut, one in epochs to a budget in steps by `epoch_steps`. `note` gets a sentence on each.
    Raises SpecError, whose message names the file and the key of every mistake.
    """
    where = str(path)
    raw = parse_file(path)
    if name is not None:
        check_name(name, "--as")
        raw["name"] = name
    if seeds is not None:
        raw["seeds"] = seeds
    file = validated(_File, raw, where)
    given, note = _given(file, overrides or {}, where), once(note)
    fit = partial(fit_warmup, given=given, note=note, epoch_steps=epoch_steps)
    search, cells = _searched(file, given, where, fit)
    cells = cells or _cells(file, given, where, fit)
    hypotheses = [map_levels(hypothesis, parse_none) for hypothesis in file.hypotheses]
    merged = bool(locked_keys(given) & {key for arm in file.arms for key in flat_table(arm.set, where)})
    cells = merge_equal_cells(cells, note) if merged else cells
    hypotheses = applicable_hypotheses(hypotheses, cells, note, merged=merged) if given else hypotheses
    seed_list = _seeds(file.seeds if file.seeds is not None else 1 if search else _SEEDS, where)
    check_trial_count((search.points if search else len(cells)) * len(seed_list), where)
    contents = file.model_dump(mode="json", include={"name", "question", "source", "cost", "expected_sd"})
    factors = {key: levels_of_cells(key, levels, cells) for key, levels in _factors(file, where).items()}
    hypotheses = [map_levels(each, lambda key, level: levels_of_cells(key, [level], cells)[0]) for each in hypotheses]
    contents |= {"factors": factors, "cells": cells, "seeds": seed_list, "hypotheses": hypotheses}
    arms = [arm.name for arm in file.arms]
    reported = applicable_reported(file.reported, cells, arms, given, note) if given else file.reported
    runs = applicable_runs(file.reported_runs, cells, arms, note) if given else file.reported_runs
    contents |= {"search": search, "reported": reported, "reported_runs": runs}
    contents |= {"final": file.final or _default_final(cells, search)}
    study = validated(Study, contents, where)
    check_unique(study.cells, where)
    check_hypotheses(study, where)
    check_reported(study, where)
    return study


def _default_final(cells: Sequence[Cell], search: Search | None) -> Final:
    # A search is judged by the last values, as its sampler and pruner are.
    return Final() if search else default_final(cell.settings for cell in cells)


def check_name(name: str, where: str) -> str:
    """Return the name of a study or data set. Raises SpecError if it is not safe everywhere."""
    if not NAME_PATTERN.fullmatch(name):
        shown = name if len(name) <= 64 else f"{name[:61]}..."
        raise SpecError(
            f"{where}: {shown!r} can't be a name: use 1 to 64 letters, digits, dots, dashes and underscores, "
            "and begin with a letter or digit"
        )
    return name


def _seeds(given: object, where: str) -> tuple[int, ...]:
    """Return the seeds: 0..n-1 for a count n, or those of a list."""
    if isinstance(given, int) and not isinstance(given, bool) and given >= 1:
        check_trial_count(given, where)
        return tuple(range(given))
    listed = given if isinstance(given, list) else []
    whole = [seed for seed in listed if isinstance(seed, int) and not isinstance(seed, bool) and 0 <= seed < 2**32]
    if not listed or len(whole) != len(listed) or len(set(listed)) != len(listed):
        raise SpecError(
            f"{where}: seeds: must be a count of at least 1, or a list of different whole numbers "
            f"from 0 to 2^32 - 1, not {given!r}"
        )
    return tuple(whole)


def _given(file: _File, overrides: Mapping[str, Any], where: str) -> Table:
    """Return the overrides by dotted key. Factors can't be overridden."""
    given: Table = {}
    factors = [*flatten(file.factors), *space_tables(file.search or {}, where)]
    for key, value in flat_table(overrides, "--set").items():
        check_keys([key], "--set")
        varied = locked_keys({key: value}) & set(factors)
        if varied:
            what = "it" if key in varied else f"its rival {varied.pop()}"
            table = "search.space" if file.search else "factors"
            raise SpecError(f"--set {key}: {where} varies {what}; change {table} in a copy of the file")
        given = override(given, key, parse_none(key, value))
    return given


def _fixed_settings(file: _File, given: Table, where: str) -> Table:
    fixed = {key: parse_none(key, value) for key, value in flat_table(file.settings, f"{where}: settings").items()}
    check_keys(fixed, f"{where}: settings")
    factors = flatten(file.factors)
    twice = [key for key in fixed if key in factors]
    if twice:
        raise SpecError(f"{where}: settings.{twice[0]}: is fixed here and varied under factors; remove one of the two")
    for key, value in given.items():
        fixed = override(fixed, key, value)
    varied = {*factors, *space_tables(file.search or {}, where)}
    return with_file_defaults(fixed, varied, {key for arm in file.arms for key in flatten(arm.set)})


def _searched(file: _File, given: Table, where: str, fit: Callable[..., Table]) -> tuple[Search | None, list[Cell]]:
    """Return the search with cells at the ends of its space, or None and no cells."""
    if file.search is None:
        return None, []
    for table in ("factors", "arms", "exclude", "hypotheses", "reported", "reported_runs"):
        if getattr(file, table):
            raise SpecError(
                f"{where}: {table}: a study either searches or compares; leave out search, or {table}. What a search "
                "finds is tested in a study with arms and seeds of its own"
            )
    fixed = fit(_fixed_settings(file, given, where), keep=space_tables(file.search, where))
    search, cells = read_search(file.search, fixed, where)
    return search, list(cells)


def _cells(file: _File, given: Table, where: str, fit: Callable[..., Table]) -> list[Cell]:
    fixed, factors, settled = _fixed_settings(file, given, where), _factors(file, where), locked_keys(given)
    rules = _exclusions(file, factors, where)
    planned: list[tuple[str | None, Table]] = [
        (None, levels)
        for levels in crossed(factors)
        if not any(all(same_level(levels.get(k), v) for k, v in rule.items()) for rule in rules)
    ]
    planned += [(arm.name, _arm_levels(arm, settled, where)) for arm in file.arms]
    if not planned:
        if factors:
            raise SpecError(f"{where}: exclude: leaves no cell of the factors")
        planned = [(None, {})]
    varied = list(dict.fromkeys([*factors, *(key for _, levels in planned for key in levels)]))
    cells = []
    for name, levels in planned:
        flat = fixed
        for key, level in levels.items():
            flat = override(flat, key, level)
        # A warm-up that is a factor is not cut for a smaller budget: it is refused if it does not fit.
        flat = fit(flat, keep=factors)
        cells.append(_cell(name or cell_name(_hashable(levels), list(factors)), flat, varied, where))
    return cells


def _factors(file: _File, where: str) -> dict[str, tuple[Value, ...]]:
    factors = flatten(file.factors)
    check_keys(factors, f"{where}: factors")
    size = 1
    for key, levels in factors.items():
        if not isinstance(levels, list | tuple):
            raise SpecError(f"{where}: factors.{key}: must be a list of levels, not {levels!r}")
        if not levels:
            raise SpecError(f"{where}: factors.{key}: is empty; list at least one level or remove the factor")
        size *= len(levels)
        check_trial_count(size, where)
    return {key: tuple(frozen(parse_none(key, level)) for level in levels) for key, levels in factors.items()}


def _exclusions(file: _File, factors: Mapping[str, tuple[Value, ...]], where: str) -> list[Table]:
    rules = [{key: parse_none(key, level) for key, level in _hashable(flatten(rule)).items()} for rule in file.exclude]
    for number, rule in enumerate(rules, start=1):
        for key, level in rule.items():
            if key not in factors:
                raise SpecError(
                    f"{where}: exclude {number}: {key!r} is no factor.{nearest(key, factors)} "
                    f"The factors are: {', '.join(factors) or 'none'}."
                )
            if not any(same_level(level, one) for one in factors[key]):
                raise SpecError(f"{where}: exclude {number}: {level!r} is no level of {key}: {list(factors[key])}")
        if not rule:
            raise SpecError(f"{where}: exclude {number}: is empty; name at least one factor and its level")
    return rules


def _arm_levels(arm: _Arm, settled: set[str], where: str) -> Table:
    levels = flat_table(arm.set, f"{where}: arm {arm.name!r}")
    check_keys(levels, f"{where}: arm {arm.name!r}")
    return {key: parse_none(key, level) for key, level in levels.items() if key not in settled}


def _cell(name: str, flat: Table, varied: list[str], where: str) -> Cell:
    settings = validated(Settings, nested(flat, where), f"{where}: settings of cell {name!r}")
    everything = flat_settings(settings)
    # A model of another family lacks some of the varied keys.
    return Cell(name=name, levels={key: everything[key] for key in varied if key in everything}, settings=settings)


def _hashable(levels: Table) -> dict[str, Value]:
    return {key: frozen(level) for key, level in levels.items()}
