"""Reads the `[search]` table of a study file, and turns points of its space into cells."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from cifarsweep.errors import SpecError
from cifarsweep.spec.levels import cell_name
from cifarsweep.spec.misfits import misfit
from cifarsweep.spec.overrides import parse_none
from cifarsweep.spec.parameters import check_names, plain_value
from cifarsweep.spec.search_space import Choices, Parameter, Range, Search
from cifarsweep.spec.settings import Settings, flat_settings
from cifarsweep.spec.shown import shown
from cifarsweep.spec.study import Cell
from cifarsweep.spec.types import Value
from cifarsweep.spec.validation import Table, check_keys, nested, validated

_SHAPE = "write { low = ..., high = ... } or { choices = [...] }"
#: Spaces of at most so many points are checked at each point, larger ones at the ends of every parameter.
_FEW = 200
#: The limit of numbers.
_MOST = float("inf")


def read_search(
    table: Table, fixed: Table, where: str, own: Collection[str] = (), *, free: bool = False
) -> tuple[Search, tuple[Cell, ...]]:
    """Return the search of a file, and cells at the ends of its space as samples of its points.

    In the tables `own` there are parts of the user's own. `free` is for a program, whose parameters have any name.

    Raises SpecError that names the key of every mistake, also if the settings refuse a value of the space.
    """
    tables = space_tables(table, where)
    if free:
        check_names(tables, f"{where}: search.space")
    else:
        check_keys(tables, f"{where}: search.space", own)
    for key in tables:
        if key in fixed:
            raise SpecError(f"{where}: settings.{key}: is fixed here and varied under search.space; remove one of them")
    tables = tables if free else {key: _with_none(key, each) for key, each in tables.items()}
    space = {key: _parameter(each, f"{where}: search.space.{key}") for key, each in tables.items()}
    search = validated(Search, table | {"space": space, "fixed": fixed}, f"{where}: search")
    return search, tuple(_ends(search, where, free))


def space_tables(table: Mapping[str, Any], where: str) -> dict[str, Table]:
    """Return the tables of the space by dotted key, for any nesting in the file. Raises SpecError."""
    space = table.get("space", {})
    if not isinstance(space, dict):
        raise SpecError(f"{where}: search.space: must be a table of settings, not {shown(space)}")
    return _leaves(space, "", where)


def _leaves(tree: Table, prefix: str, where: str) -> dict[str, Table]:
    found: dict[str, Table] = {}
    for key, value in tree.items():
        if not isinstance(value, dict):
            raise SpecError(f"{where}: search.space.{prefix}{key}: {_SHAPE}, not {shown(value)}")
        is_tree = value and all(isinstance(inner, dict) for inner in value.values())
        found |= _leaves(value, f"{prefix}{key}.", where) if is_tree else {f"{prefix}{key}": value}
    return found


def _with_none(key: str, table: Table) -> Table:
    choices = table.get("choices")
    return table | {"choices": [parse_none(key, one) for one in choices]} if isinstance(choices, list) else table


def _parameter(table: Table, where: str) -> Parameter:
    if "choices" in table:
        return validated(Choices, table, where)
    for key in ("low", "high"):
        value = table.get(key, 0)
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _MOST:
            raise SpecError(f"{where}.{key}: must be a finite number, not {shown(value, 40)}")
    if not table:
        raise SpecError(f"{where}: {_SHAPE}")
    return validated(Range, table, where)


def _ends(search: Search, where: str, free: bool) -> list[Cell]:
    """Return the first point and those that differ from it in one setting. Checks every point of a small space."""
    first = {key: parameter.ends[0] for key, parameter in search.space.items()}
    cells = [point_cell(search, first, f"{where}: the first point of search.space", free=free)]
    for key, parameter in search.space.items():
        for value in parameter.ends[1:]:
            at = f"{where}: search.space.{key}: at {shown(value)}"
            cells.append(point_cell(search, first | {key: value}, at, free=free))
    if search.size is not None and search.size <= _FEW:
        for point in search.every_point():
            point_cell(search, point, f"{where}: search.space: at {cell_name(point, list(point))}", free=free)
    return cells


def point_cell(
    search: Search, params: Mapping[str, Value], where: str, *, free: bool = False, as_before: bool = False
) -> Cell:
    """Return the cell at a point; `free` as of `read_search`, `as_before` as of `cell_name`.

    Raises SpecError if the settings refuse it.
    """
    flat = dict(search.fixed) | dict(params)
    if free:
        its = {key: plain_value(f"{where}: {key}", flat[key]) for key in search.space}
        return Cell(name=cell_name(its, list(its), as_before=as_before), levels=its, settings=None, parameters=flat)
    settings = validated(Settings, nested(flat, where), where)
    if problem := misfit(settings):
        raise SpecError(f"{where}: {problem}")
    everything = flat_settings(settings)
    levels = {key: everything[key] for key in search.space}
    return Cell(name=cell_name(levels, list(levels), as_before=as_before), levels=levels, settings=settings)
