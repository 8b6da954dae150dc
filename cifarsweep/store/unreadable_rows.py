"""Finds rows that can't be read: for `db check`, and to name the row that an error came from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial, wraps
from typing import Any, Concatenate

from sqlalchemy import ColumnElement, Connection, Row, Select, Table, or_, select

from cifarsweep.errors import StoreError, StoreUnavailable, UnknownStudy, UnreadableStudy
from cifarsweep.spec.types import Value
from cifarsweep.store import columns, rows
from cifarsweep.store.database import Database, P, PartT, T, backend_of
from cifarsweep.store.schema import (
    attempt,
    branch,
    cell,
    checkpoint,
    decision,
    hits,
    look,
    metric,
    note,
    study,
    study_data,
    trial,
    worker,
)

Planned = Mapping[str, Mapping[str, Value]] | None


@contextmanager
def naming_rows(db: Database, name: str) -> Iterator[None]:
    """Replace an error by UnreadableStudy that names the row that caused it."""
    try:
        yield
    except (ValueError, TypeError, LookupError, ArithmeticError):
        found = db.read(lambda conn: of_study(conn, name))
        if found is None:
            raise
        raise found from None


def reading_study(
    method: Callable[Concatenate[PartT, Connection, str, P], T],
) -> Callable[Concatenate[PartT, str, P], T]:
    """As `reading`, for a method about one study. Raises UnknownStudy, or UnreadableStudy."""

    @wraps(method)
    def call(self: PartT, name: str, /, *args: P.args, **kwargs: P.kwargs) -> T:
        with naming_rows(self._db, name):
            try:
                return self._db.read(lambda conn: method(self, conn, name, *args, **kwargs))
            except (StoreUnavailable, UnknownStudy, UnreadableStudy):
                raise
            except StoreError as error:
                raise UnreadableStudy(name, f"study {name!r} can't be read: {error}") from None

    return call


def of_study(conn: Connection, name: str) -> UnreadableStudy | None:
    """The first row of a study that can't be read; None where all can."""
    owner = conn.execute(select(study.c.study_id).where(study.c.name == name)).scalar()
    return None if owner is None else next(_of_studies(conn, owner), None)


def everywhere(conn: Connection) -> Iterator[str]:
    """A sentence for every column of every row that can't be read."""
    yield from map(str, _of_studies(conn, None))
    for row in conn.execute(select(worker)):
        for problem in rows.problems(worker, row):
            yield f"worker {columns.quoted(row.worker_id)}: {problem}"


def specifications(conn: Connection) -> Iterator[str]:
    """A sentence for every study whose own row can't be read, such as one of a newer version."""
    yield from map(str, _studies(conn, None))


def _of_studies(conn: Connection, owner: int | None) -> Iterator[UnreadableStudy]:
    names = {row.study_id: row.name for row in conn.execute(select(study.c.study_id, study.c.name))}
    specs: dict[int, Planned] = {}
    yield from _studies(conn, owner, specs)
    for table in (look, study_data, note):
        for row in conn.execute(_for_study(select(table), table, owner)):
            yield from _problems(table, row, names.get(row.study_id))
    cells: dict[int, object] = {}
    for row in conn.execute(_for_study(select(cell), cell, owner)):
        cells[row.cell_id] = row.study_id
        check = partial(_check_cell, specs.get(row.study_id))
        yield from _problems(cell, row, names.get(row.study_id)) or _as_a_whole(check, row, names)
    trials: dict[int, tuple[object, object]] = {}
    for row in conn.execute(_for_study(select(trial), trial, owner)):
        name = names.get(row.study_id)
        trials[row.trial_id] = (name, row.number)
        yield from _problems(trial, row, name, row.number) or _as_a_whole(rows.trial_of, row, names)
        if cells.get(row.cell_id) != row.study_id:
            yield rows.unreadable(name, rows.no_such_cell(row.cell_id), row.number)
    for table in (attempt, checkpoint, branch, decision, hits):
        for row in conn.execute(_of_trials(table, owner)):
            yield from _problems(table, row, *trials.get(row.trial_id, (None, row.trial_id)))
    yield from _metrics(conn, owner, trials)


def _for_study(query: Select[Any], table: Table, owner: int | None) -> Select[Any]:
    return query if owner is None else query.where(table.c.study_id == owner)


def _of_trials(table: Table, owner: int | None) -> Select[Any]:
    query = select(table)
    return (
        query
        if owner is None
        else query.where(table.c.trial_id.in_(_for_study(select(trial.c.trial_id), trial, owner)))
    )


def _problems(table: Table, row: Row[Any], name: object, number: object = None) -> list[UnreadableStudy]:
    found = rows.problems(table, row)
    if table is hits and not found and (problem := rows.wrong_length(row)):
        found = [problem]
    if "attempt" in table.columns and table is not trial:
        found = [f"attempt {row.attempt}: {problem}" for problem in found]
    return [rows.unreadable(name, problem, number) for problem in found]


def _as_a_whole(check: Any, row: Row[Any], names: Mapping[int, object]) -> list[UnreadableStudy]:
    """Contradictions between valid columns of a row."""
    try:
        check(row)
    except columns.BadValue as error:
        return [rows.unreadable(names.get(row.study_id), error, getattr(row, "number", None))]
    return []


def _check_cell(planned: Planned, row: Row[Any]) -> None:
    found = rows.cell_of(row)
    rows.check_cell(planned, found["name"], found["levels"])


def _studies(conn: Connection, owner: int | None, specs: dict[int, Planned] | None = None) -> Iterator[UnreadableStudy]:
    for row in conn.execute(_for_study(select(study).order_by(study.c.study_id), study, owner)):
        found = rows.problems(study, row)
        if not found:
            known = rows.read(study, row)
            found = [problem] if (problem := rows.contradiction(known)) else []
            if specs is not None:
                specs[row.study_id] = rows.planned(known["spec"])
        yield from (rows.unreadable(row.name, problem) for problem in found)


def _metrics(
    conn: Connection, owner: int | None, trials: Mapping[int, tuple[object, object]]
) -> Iterator[UnreadableStudy]:
    for row in conn.execute(_of_trials(metric, owner).where(_is_odd(conn))):
        at = f"cs_metric {columns.quoted(row.name)} at step {columns.quoted(row.step)}"
        name, number = trials.get(row.trial_id, (None, row.trial_id))
        for problem in rows.problems(metric, row) or ["it has neither a value nor a kind, or both"]:
            yield rows.unreadable(name, f"{at}: {problem}", number)
    series = _of_trials(metric, owner).with_only_columns(metric.c.trial_id, metric.c.name).distinct()
    for row in conn.execute(series):
        name, number = trials.get(row.trial_id, (None, row.trial_id))
        for problem in rows.problems(metric, row):
            yield rows.unreadable(name, problem, number)


def _is_odd(conn: Connection) -> ColumnElement[bool]:
    """Metrics are many, so the database searches them."""
    value, kind = metric.c.value, metric.c.kind
    odd = [
        kind.not_in(list(columns.SPECIAL)),
        value.is_(None) & kind.is_(None),
        value.is_not(None) & kind.is_not(None),
    ]
    return or_(*odd, *backend_of(conn).mistyped_metrics(), metric.c.step < 0)
