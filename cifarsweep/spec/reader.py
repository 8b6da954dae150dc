"""Reads study files: returns a checked `Study`, or raises an error that says what to change."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from cifarsweep.errors import SpecError, UnknownStudy
from cifarsweep.spec.cell_names import with_names_of
from cifarsweep.spec.final import Final, default_final
from cifarsweep.spec.overrides import (
    EpochSteps,
    Note,
    applicable_hypotheses,
    fit_warmup,
    flat_table,
    levels_of_cells,
    locked_keys,
    map_levels,
    merge_equal_cells,
    once,
    override,
    parse_none,
    with_file_defaults,
)
from cifarsweep.spec.own_reader import CodeReader, own_tables
from cifarsweep.spec.program_reader import read_program_study
from cifarsweep.spec.reported_checks import applicable_reported, applicable_runs, check_reported
from cifarsweep.spec.search_reader import read_search, space_tables
from cifarsweep.spec.search_space import Search
from cifarsweep.spec.settings import Settings, flat_settings, flatten
from cifarsweep.spec.study import Cell, Study, check_hypotheses, check_trial_count, check_unique
from cifarsweep.spec.study_file import (
    Arm,
    StudyFile,
    check_search_alone,
    factors_of,
    planned_cells,
    seeds_of,
)
from cifarsweep.spec.toml_file import parse_file
from cifarsweep.spec.types import NAME_PATTERN
from cifarsweep.spec.validation import Table, check_keys, nearest, nested, validated

_LONGEST_SHOWN = 200


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
    In a study of a program, settings are parameters of any name.
    Raises SpecError, whose message names the file and the key of every mistake.
    """
    where = str(path)
    raw = parse_file(path)
    if name is not None:
        check_name(name, "--as")
        raw["name"] = name
    if seeds is not None:
        raw["seeds"] = seeds
    if "program" in raw:
        return read_program_study(path, raw, overrides or {}, note)
    file = validated(StudyFile, raw, where)
    given, note = _given(file, overrides or {}, where), once(note)
    code = CodeReader(file.code, path.parent, where)
    fit = code.after(partial(fit_warmup, given=given, note=note, epoch_steps=epoch_steps))
    search, cells = _searched(file, given, where, fit, code)
    cells = cells or _cells(file, given, where, fit)
    file = with_names_of(file, cells, where)
    hypotheses = [map_levels(hypothesis, parse_none) for hypothesis in file.hypotheses]
    merged = bool(locked_keys(given) & {key for arm in file.arms for key in flat_table(arm.set, where)})
    cells = merge_equal_cells(cells, note) if merged else cells
    hypotheses = applicable_hypotheses(hypotheses, cells, note, merged=merged) if given else hypotheses
    seed_list = seeds_of(file, where)
    check_trial_count((search.points if search else len(cells)) * len(seed_list), where)
    contents = file.model_dump(mode="json", include={"name", "question", "source", "cost", "expected_sd"})
    factors = {
        key: levels_of_cells(key, levels, cells) for key, levels in factors_of(file, where, file.check_settings).items()
    }
    hypotheses = [map_levels(each, lambda key, level: levels_of_cells(key, [level], cells)[0]) for each in hypotheses]
    contents |= {"factors": factors, "cells": cells, "seeds": seed_list, "hypotheses": hypotheses}
    arms = [arm.name for arm in file.arms]
    reported = applicable_reported(file.reported, cells, arms, given, note) if given else file.reported
    runs = applicable_runs(file.reported_runs, cells, arms, note) if given else file.reported_runs
    contents |= {"search": search, "reported": reported, "reported_runs": runs, "code": code.used(note)}
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


def _given(file: StudyFile, overrides: Mapping[str, Any], where: str) -> Table:
    """Return the overrides by dotted key. Factors can't be overridden."""
    given: Table = {}
    factors = [*flatten(file.factors), *space_tables(file.search or {}, where)]
    own = file.own | own_tables([overrides])
    for key, value in flat_table(overrides, "--set").items():
        check_keys([key], "--set", own)
        varied = locked_keys({key: value}) & set(factors)
        if varied:
            what = "it" if key in varied else f"its rival {varied.pop()}"
            table = "search.space" if file.search else "factors"
            raise SpecError(f"--set {key}: {where} varies {what}; change {table} in a copy of the file")
        given = override(given, key, parse_none(key, value))
    return given


def _fixed_settings(file: StudyFile, given: Table, where: str) -> Table:
    fixed = {key: parse_none(key, value) for key, value in flat_table(file.settings, f"{where}: settings").items()}
    file.check_settings(fixed, f"{where}: settings")
    factors = flatten(file.factors)
    twice = [key for key in fixed if key in factors]
    if twice:
        raise SpecError(f"{where}: settings.{twice[0]}: is fixed here and varied under factors; remove one of the two")
    for key, value in given.items():
        fixed = override(fixed, key, value)
    varied = {*factors, *space_tables(file.search or {}, where)}
    return with_file_defaults(fixed, varied, {key for arm in file.arms for key in flatten(arm.set)})


def _searched(
    file: StudyFile, given: Table, where: str, fit: Callable[..., Table], code: CodeReader
) -> tuple[Search | None, list[Cell]]:
    """Return the search with cells at the ends of its space, or None and no cells."""
    if file.search is None:
        return None, []
    check_search_alone(file, where)
    space = space_tables(file.search, where)
    fixed = fit(_fixed_settings(file, given, where), keep=space) | code.of_search(space)
    search, cells = read_search(file.search, fixed, where, file.own)
    return search, list(cells)


def _cells(file: StudyFile, given: Table, where: str, fit: Callable[..., Table]) -> list[Cell]:
    fixed, factors, settled = (
        _fixed_settings(file, given, where),
        factors_of(file, where, file.check_settings),
        locked_keys(given),
    )
    planned = planned_cells(
        file, factors, where, level=parse_none, arm_levels=lambda arm: _arm_levels(file, arm, settled, where)
    )
    varied = list(dict.fromkeys([*factors, *(key for _, levels in planned for key in levels)]))
    cells = []
    for name, levels in planned:
        flat = fixed
        for key, level in levels.items():
            flat = override(flat, key, level)
        # A warm-up that is a factor is not cut for a smaller budget: it is refused if it does not fit.
        flat = fit(flat, keep=factors)
        cells.append(_cell(name, flat, varied, where))
    return cells


def _arm_levels(file: StudyFile, arm: Arm, settled: set[str], where: str) -> Table:
    levels = flat_table(arm.set, f"{where}: arm {arm.name!r}")
    file.check_settings(levels, f"{where}: arm {arm.name!r}")
    return {key: parse_none(key, level) for key, level in levels.items() if key not in settled}


def _cell(name: str, flat: Table, varied: list[str], where: str) -> Cell:
    settings = validated(Settings, nested(flat, where), f"{where}: settings of cell {name!r}")
    everything = flat_settings(settings)
    # A model of another family lacks some of the varied keys.
    return Cell(name=name, levels={key: everything[key] for key in varied if key in everything}, settings=settings)
