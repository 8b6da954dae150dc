"""Reads the `[program]` table of a study file, and the study around it, whose settings are parameters of any name."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from cifarsweep.errors import SpecError
from cifarsweep.spec.cell_names import with_names_of
from cifarsweep.spec.final import Final
from cifarsweep.spec.hypothesis import Hypothesis
from cifarsweep.spec.overrides import Note, applicable_hypotheses, merge_equal_cells, once
from cifarsweep.spec.parameters import check_names, plain_value
from cifarsweep.spec.program import PLACEHOLDER, SEED, MetricName, Program, ReadRule, Word
from cifarsweep.spec.program_files import program_files
from cifarsweep.spec.reported_checks import applicable_reported, applicable_runs, check_reported
from cifarsweep.spec.search_reader import read_search, space_tables
from cifarsweep.spec.settings import Frozen, flatten
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
from cifarsweep.spec.types import Value
from cifarsweep.spec.validation import Table, nearest, validated

#: How names of database files end.
_DATABASES = (".db", ".sqlite", ".sqlite3")


class _Table(Frozen):
    """The table `[program]` of a file; see `Program` for what its keys mean."""

    command: Annotated[tuple[Word, ...], Field(min_length=1, max_length=1000)]
    files: Annotated[tuple[str, ...], Field(min_length=1, max_length=1000)]
    metric: MetricName = Program.model_fields["metric"].default
    read: dict[MetricName, ReadRule] = {}
    gpus: int = Program.model_fields["gpus"].default
    silence_s: float | None = None
    stop_s: float = Program.model_fields["stop_s"].default


@dataclass(frozen=True, slots=True)
class LocalProgram:
    """A program as it is on this machine."""

    program: Program
    folder: Path
    """The folder of the study's file, in which the program runs."""
    values: Mapping[str, frozenset[str]]
    """The texts that the file has, by parameter: no other text is put into the command."""

    def unknown_text(self, parameters: Iterable[tuple[str, Value]]) -> tuple[str, str] | None:
        """Return the first parameter with a text that the file does not have, and the text; None if it has all."""
        texts = ((name, value) for name, value in parameters if isinstance(value, str))
        return next((each for each in texts if each[1] not in self.values.get(each[0], ())), None)


def has_program(path: Path) -> bool:
    """Whether a study file is of a program. Raises SpecError for one that can't be read."""
    return "program" in parse_file(path)


def read_program(path: Path) -> LocalProgram:
    """Read the program of a study file and the digests of its files. Raises SpecError."""
    raw = parse_file(path)
    if not isinstance(raw.get("program"), dict):
        raise SpecError(f"{path}: has no [program]; name the study file of a program")
    file = validated(StudyFile, raw, str(path))
    return LocalProgram(_program(file, path), path.parent.absolute(), _texts(file, str(path)))


def values_of(study: Study) -> Iterator[tuple[str, Value]]:
    """Yield the values of parameters that a study of a program has, by name, some of them more than once."""
    for cell in study.cells:
        yield from (cell.parameters or {}).items()
    for name, space in (study.search.space if study.search else {}).items():
        yield from ((name, value) for value in space.ends)


def changed_files(stored: Program, here: Program) -> list[str]:
    """Say of each file, and of all else that decides what runs, how `here` differs from `stored`; empty if equal."""
    before, now = ({file.path: file.sha256 for file in one.files} for one in (stored, here))
    found = [f"{path} was changed" for path in before if path in now and before[path] != now[path]]
    found += [f"{path} is missing" for path in before if path not in now]
    found += [f"{path} is new" for path in now if path not in before]
    others = [name for name in Program.model_fields if name != "files"]
    return found + [f"{name} was changed" for name in others if getattr(stored, name) != getattr(here, name)]


def read_program_study(path: Path, raw: Table, overrides: Mapping[str, Any], note: Note) -> Study:
    """Return the study of a program. `raw` are the tables of its file, `overrides` as of `read_study`.

    Raises SpecError, whose message names the file and the key of every mistake.
    """
    where, note = str(path), once(note)
    file = validated(StudyFile, raw, where)
    if file.code is not None:
        raise SpecError(f"{where}: code: a program brings its own code; list its files in program.files")
    program = _program(file, path)
    given, factors = _given(file, overrides, where), _factors(file, where)
    fixed = _parameters(file.settings, f"{where}: settings") | given
    if twice := [key for key in fixed if key in factors]:
        raise SpecError(f"{where}: settings.{twice[0]}: is fixed here and varied under factors; remove one of the two")
    if file.search is not None:
        check_search_alone(file, where)
        search, ends = read_search(file.search, fixed, where, free=True)
        cells = list(ends)
    else:
        search, cells = None, _cells(file, fixed, factors, given, where)
        file = with_names_of(file, cells, where)
        cells = merge_equal_cells(cells, note) if given else cells
    _check_placeholders(program, cells, where, note)
    _note_words(program, path.parent.absolute(), note)
    seeds = seeds_of(file, where)
    check_trial_count((search.points if search else len(cells)) * len(seeds), where)
    hypotheses = [_with_metric(each, program.metric) for each in file.hypotheses]
    hypotheses = applicable_hypotheses(hypotheses, cells, note, merged=True) if given else hypotheses
    arms = [arm.name for arm in file.arms]
    contents = file.model_dump(mode="json", include={"name", "question", "source", "cost", "expected_sd"})
    contents |= {"factors": factors, "cells": cells, "seeds": seeds, "hypotheses": hypotheses, "search": search}
    contents |= {
        "reported": applicable_reported(file.reported, cells, arms, given, note) if given else file.reported,
        "reported_runs": applicable_runs(file.reported_runs, cells, arms, note) if given else file.reported_runs,
        "final": file.final or Final(),
        "program": program,
    }
    study = validated(Study, contents, where)
    check_unique(study.cells, where)
    check_hypotheses(study, where)
    check_reported(study, where)
    return study


def _program(file: StudyFile, path: Path) -> Program:
    where = f"{path}: program"
    table = validated(_Table, file.program or {}, where)
    files = program_files(table.files, path.parent.absolute(), f"{where}.files", path.name)
    return validated(Program, table.model_dump() | {"files": files}, where)


def _with_metric(hypothesis: Hypothesis, metric: str) -> Hypothesis:
    """Let a hypothesis that names no metric be about that of the program."""
    return hypothesis if "metric" in hypothesis.model_fields_set else hypothesis.model_copy(update={"metric": metric})


def _texts(file: StudyFile, where: str) -> dict[str, frozenset[str]]:
    """Return the texts that a file gives to each parameter."""
    space = space_tables(file.search or {}, where)
    listed = [*file.factors.items(), *((key, table.get("choices", ())) for key, table in space.items())]
    single = [file.settings, *(arm.set for arm in file.arms)]
    found: dict[str, set[str]] = {}
    many = [*flatten(dict(listed)).items(), *((k, [v]) for table in single for k, v in flatten(table).items())]
    for key, values in many:
        texts = [each for each in values if isinstance(each, str)] if isinstance(values, list) else []
        found.setdefault(key, set()).update(texts)
    return {key: frozenset(texts) for key, texts in found.items()}


def _parameters(tree: Mapping[str, Any], where: str) -> Table:
    """Return a table of parameters by dotted key. Raises SpecError for a name or a value that none can have."""
    flat = flatten(dict(tree))
    check_names(flat, where)
    return {key: plain_value(f"{where}.{key}", value) for key, value in flat.items()}


def _factors(file: StudyFile, where: str) -> dict[str, tuple[Value, ...]]:
    return factors_of(file, where, check_names, lambda key, level: plain_value(f"{where}: factors.{key}", level))


def _given(file: StudyFile, overrides: Mapping[str, Any], where: str) -> Table:
    """Return what `--set` gives. Raises SpecError for what no trial of the file can have."""
    varied = {*flatten(file.factors), *space_tables(file.search or {}, where)}
    known = {*flatten(file.settings), *(key for arm in file.arms for key in flatten(arm.set))}
    texts = _texts(file, where)
    given = _parameters(overrides, "--set")
    for key, value in given.items():
        if key in varied:
            table = "search.space" if file.search else "factors"
            raise SpecError(f"--set {key}: {where} varies it; change {table} in a copy of the file")
        if key not in known:
            raise SpecError(
                f"--set {key}: {where} has no such parameter.{nearest(key, known)} "
                f"It has: {', '.join(sorted(known)) or 'none'}."
            )
        if isinstance(value, str) and value not in texts.get(key, ()):
            listed = ", ".join(sorted(texts.get(key, ()))) or "none"
            raise SpecError(
                f"--set {key}: {value!r} is no text that {where} has for {key}, and no other is put into a command: "
                f"write it into the file. It has: {listed}"
            )
    return given


def _cells(
    file: StudyFile, fixed: Table, factors: Mapping[str, tuple[Value, ...]], given: Table, where: str
) -> list[Cell]:
    def arm_levels(arm: Arm) -> Table:
        found = _parameters(arm.set, f"{where}: arm {arm.name!r}")
        return {key: level for key, level in found.items() if key not in given}

    planned = planned_cells(file, factors, where, level=lambda key, level: level, arm_levels=arm_levels)
    varied = list(dict.fromkeys([*factors, *(key for _, levels in planned for key in levels)]))
    cells = []
    for name, levels in planned:
        values = fixed | levels
        its = {key: values[key] for key in varied if key in values}
        cells.append(Cell(name=name, levels=its, settings=None, parameters=values))
    return cells


def _note_words(program: Program, folder: Path, note: Note) -> None:
    """Note a command that is not found here, and a file of its words that is none of the program."""
    first = program.command[0]
    # As a worker finds it, which looks beside its own Python last.
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)))
    there = (folder / first).is_file() if os.sep in first else shutil.which(first, path=path) is not None
    if not there and not PLACEHOLDER.search(first):
        note(f"the command {first!r} is not found on this machine; a worker's machine needs it")
    known = {file.path for file in program.files}
    for name in sorted(name for name in known if name.endswith(_DATABASES)):
        note(f"{name} is one of the program's files, and a database of results changes while they run; leave it out")
    for word in program.command:
        path = os.path.normpath(word)
        if path not in known and not os.path.isabs(word) and (folder / word).is_file():
            note(f"{word} is none of the program's files, so that a change of it goes unnoticed; add it to files")


def _check_placeholders(program: Program, cells: Iterable[Cell], where: str, note: Note) -> None:
    """Raise SpecError for a placeholder that is no parameter of some cell; a note where the seed has none."""
    names: list[str] = []
    for word in program.command:
        alone = PLACEHOLDER.sub("", word)
        if "{" in alone or "}" in alone:
            raise SpecError(f"{where}: program.command: {word!r} has a brace alone; write {{{{ or }}}} for a brace")
        names += [found[1] for found in PLACEHOLDER.finditer(word) if found[1] is not None]
    for cell in cells:
        known = {**(cell.parameters or {}), SEED: 0}
        for name in names:
            if name not in known:
                raise SpecError(
                    f"{where}: program.command: {{{name[:64]}}} is no parameter of the cell {cell.name!r}."
                    f"{nearest(name, known)} It has: {', '.join(known)}. Write {{{{ and }}}} for braces."
                )
    if SEED not in names:
        note(
            "no word of the command is {seed}: the trials of a cell are all alike, unless the program reads trial.seed"
        )
