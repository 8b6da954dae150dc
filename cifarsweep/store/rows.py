"""Converts rows of the database into checked values.

A database is a file that people edit, and that other versions write. So every column is checked on its way out, and
what can't be read is one sentence: which study, which trial, which column, what it holds and what it must be.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Column, Connection, Table, select

from cifarsweep.errors import UnreadableStudy
from cifarsweep.spec.study import Study
from cifarsweep.spec.types import TrialState, Value
from cifarsweep.store.columns import ADVICE, BadValue, parsers, quoted, text
from cifarsweep.store.schema import cell, study, trial


def unreadable(study_name: object, problem: object, number: object = None) -> UnreadableStudy:
    """The error for a problem with a row of a study, or of one of its trials."""
    name = as_name(study_name)
    where = f"study {quoted(name)}" + (f", trial {number}" if number is not None else "")
    return UnreadableStudy(name, f"{where}: {problem}")


def unreadable_metric(conn: Connection, trial_id: int, name: str, what: str) -> UnreadableStudy:
    """The error for a row of `cs_metric`."""
    query = select(study.c.name, trial.c.number).join(trial, trial.c.study_id == study.c.study_id)
    owner, number = conn.execute(query.where(trial.c.trial_id == trial_id)).one()
    return unreadable(owner, f"cs_metric has a row of {name!r} whose {what}; {ADVICE}", number)


def read(table: Table, row: Sequence[Any]) -> dict[str, Any]:
    """The columns of a row by their names; those of `table` must be its first. Raises BadValue."""
    try:
        return {name: parse(value) for (name, parse), value in zip(parsers(table), row, strict=False)}
    except BadValue:
        raise BadValue(problems(table, row)[0]) from None


def column(of: Column[Any], value: Any) -> Any:
    """One column. Raises BadValue."""
    try:
        return dict(parsers(of.table))[of.name](value)
    except BadValue as error:
        raise BadValue(f"{of} {error}") from None


def problems(table: Table, row: Sequence[Any]) -> list[str]:
    """A text for every column of a row that can't be read."""
    found = []
    for (name, parse), value in zip(parsers(table), row, strict=False):
        try:
            parse(value)
        except BadValue as error:
            found.append(f"{table.name}.{name} {error}")
    return found


def as_name(value: object) -> str:
    """The name of a study as text, whatever the column holds."""
    try:
        return text(value)
    except BadValue:
        return quoted(value)


@contextmanager
def naming_trial(study_name: object, number: object) -> Iterator[None]:
    """Convert BadValue to UnreadableStudy, which names the trial."""
    try:
        yield
    except BadValue as error:
        raise unreadable(study_name, error, number) from None


def contradiction(found: dict[str, Any]) -> str | None:
    """A contradiction between valid columns of `cs_study`; None without one."""
    spec, points, asked = found["spec"], found["points"], found["asked"]
    if spec.name != found["name"]:
        return f"cs_study.name is {found['name']!r}, but cs_study.spec is of {spec.name!r}: let both be the same"
    if (points is None) != (spec.search is None):
        return f"cs_study.points is {points}, but cs_study.spec has {'no' if spec.search is None else 'a'} search"
    if points is not None and asked > points:
        return f"cs_study.asked is {asked}, which is more than the {points} of cs_study.points"
    return None


def trial_of(row: Sequence[Any]) -> dict[str, Any]:
    """A row of `cs_trial`. Raises BadValue."""
    found = read(trial, row)
    if found["state"] is TrialState.DONE and found["outcome"] is None:
        raise BadValue(f"cs_trial.outcome is empty, but cs_trial.state is 'done': {ADVICE}")
    return found


def wrong_length(row: Any) -> str | None:
    """What is wrong with a row of `cs_hits` whose columns are valid; None without a contradiction."""
    if len(row.bits) == -(-row.images // 8):
        return None
    return (
        f"cs_hits.bits of {quoted(row.metric)} has {len(row.bits)} bytes, not a bit for {row.images} images: {ADVICE}"
    )


def no_such_cell(cell_id: object) -> str:
    """The message for a trial whose study has no such cell."""
    return f"cs_trial.cell_id is {quoted(cell_id)}, which is no cell of the study: {ADVICE}"


def cell_of(row: Sequence[Any] | None, cell_id: object = None) -> dict[str, Any]:
    """The cell that a trial points to; `row` is None if its study has no such cell. Raises BadValue."""
    if row is None:
        raise BadValue(no_such_cell(cell_id))
    found = read(cell, row)
    settings, name = row[list(cell.columns.keys()).index("settings")], found["name"]
    # An imported trial has no settings, so the digest is of its name.
    if found["settings_sha256"] not in (_digest(settings), _digest(name)):
        raise BadValue(f"cs_cell.settings of {quoted(name)} is not what cs_cell.settings_sha256 was made of: {ADVICE}")
    return found


def planned(spec: Study) -> Mapping[str, Mapping[str, Value]] | None:
    """The levels of a study's cells by name; None for a search, whose points are only in their rows."""
    return None if spec.search else {one.name: one.levels for one in spec.cells}


def check_cell(known: Mapping[str, Mapping[str, Value]] | None, name: str, its: Mapping[str, Value]) -> None:
    """Raise BadValue for a cell that is none of those that are planned."""
    if known is not None and known.get(name) != its:
        found = f"the name {quoted(name)} with levels {quoted(dict(its))}"
        raise BadValue(f"cs_cell has {found}, which cs_study.spec does not have: {ADVICE}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
