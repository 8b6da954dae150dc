"""Metric series in and out, many rows at once.

The backends use their drivers directly: at this number of rows SQLAlchemy's handling of parameters and rows costs more
than the databases do.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, delete, func, select, true, update

from cifarsweep.spec.types import Hits, MetricRow
from cifarsweep.store.columns import SPECIAL
from cifarsweep.store.database import Part, backend_of
from cifarsweep.store.hits import read_hits
from cifarsweep.store.records import Series
from cifarsweep.store.rows import unreadable_metric
from cifarsweep.store.schema import metric, trial
from cifarsweep.store.study_rows import study_id
from cifarsweep.store.unreadable_rows import reading_study

#: Trials whose series are read at once.
_PAGE = 100
#: Trials that one query names; for more, all trials of the study are looked through.
_FEW = 1000


class Metrics(Part):
    """Metric series of a study's trials. Every method raises UnknownStudy, or UnreadableStudy."""

    @reading_study
    def read(
        self, conn: Connection, study: str, names: Iterable[str], *, only: Sequence[int] | None = None
    ) -> dict[tuple[int, str], Series]:
        """Steps (int64, ascending) and values (float64) by trial number and metric name; no key without rows.

        `only` are the numbers of the trials that are wanted, where it is not all.
        """
        return read_series(conn, study_id(conn, study), names, only)

    @reading_study
    def row_counts(
        self, conn: Connection, study: str, names: Iterable[str] | None, only: Sequence[int]
    ) -> dict[int, int]:
        """How many rows of the metrics `names`, or of all, the trials `only` have, by their numbers."""
        numbers, found = _numbers(conn, study_id(conn, study), only), dict.fromkeys(only, 0)
        ids, wanted = list(numbers), true() if names is None else metric.c.name.in_(set(names))
        for start in range(0, len(ids), _FEW):
            query = select(metric.c.trial_id, func.count()).group_by(metric.c.trial_id)
            query = query.where(metric.c.trial_id.in_(ids[start : start + _FEW]), wanted)
            found |= {numbers[trial_id]: rows for trial_id, rows in conn.execute(query)}
        return found

    @reading_study
    def read_prefix(
        self, conn: Connection, study: str, prefix: str, only: Sequence[int]
    ) -> dict[int, dict[str, float]]:
        """The finite values of the metrics whose names begin with `prefix`, by trial number, of the trials `only`.

        For metrics of many names and one row each, such as counts. Trials without any are left out.
        """
        wanted = trial.c.study_id == study_id(conn, study), trial.c.number.in_(only)
        found: dict[int, dict[str, float]] = {}
        for trial_id, number in conn.execute(select(trial.c.trial_id, trial.c.number).where(*wanted)):
            rows = backend_of(conn).read_prefix(conn, trial_id, prefix)
            if values := {name: value for name, value in rows if value is not None}:
                found[number] = values
        return found

    @reading_study
    def hits(
        self, conn: Connection, study: str, names: Iterable[str], only: Sequence[int]
    ) -> dict[tuple[int, str], Hits]:
        """Which images the last evaluations got right, by trial number and the name of the accuracy.

        Trials of earlier versions, and those that diverged or were pruned, have none.
        """
        return read_hits(conn, study, names, only)

    @reading_study
    def names(self, conn: Connection, study: str) -> list[str]:
        """Every metric that any trial of the study has a row of, in order."""
        ids = select(trial.c.trial_id).where(trial.c.study_id == study_id(conn, study))
        query = select(metric.c.name).where(metric.c.trial_id.in_(ids)).distinct().order_by(metric.c.name)
        return list(conn.execute(query).scalars())


def insert_rows(conn: Connection, trial_id: int, rows: Sequence[MetricRow], *, again: bool = False) -> None:
    """Add the rows; `again` skips those that are there already."""
    if not rows:
        return
    # In the order of the primary key, so that the next row goes where the last one went.
    series = defaultdict(list)
    for row in rows:
        series[row.name].append(row)
    backend_of(conn).insert_rows(conn, trial_id, dict(sorted(series.items())), again=again)


def drop_beyond(conn: Connection, trial_id: int, step: int) -> None:
    """Delete what a trial recorded after `step`, which is computed again: it took no more steps of another trial.

    A trial that begins again at 0 reports that step again too, as a program may that measures before it trains.
    """
    conn.execute(delete(metric).where(metric.c.trial_id == trial_id, metric.c.step > (step or -1)))
    taken = trial.c.trial_id == trial_id, trial.c.reused_steps > step
    conn.execute(update(trial).where(*taken).values(reused_steps=0, reused_s=0.0))


def read_series(
    conn: Connection, study_id: int, names: Iterable[str], only: Sequence[int] | None = None
) -> dict[tuple[int, str], Series]:
    """As `Metrics.read`, within a transaction."""
    numbers = _numbers(conn, study_id, only)
    ids, wanted, backend = list(numbers), sorted(set(names)), backend_of(conn)
    found = {}
    for start in range(0, len(ids), _PAGE):
        for trial_id, name, series, complete in backend.read_series(conn, ids[start : start + _PAGE], wanted):
            if not complete:
                _put_special(conn, trial_id, name, series)
            found[numbers[trial_id], name] = series
    return found


def _numbers(conn: Connection, study_id: int, only: Sequence[int] | None) -> dict[int, int]:
    """The numbers of the trials by their ids."""
    query = select(trial.c.trial_id, trial.c.number).where(trial.c.study_id == study_id).order_by(trial.c.number)
    if only is not None and len(only) <= _FEW:
        query = query.where(trial.c.number.in_(only))
    wanted = None if only is None else set(only)
    return {trial_id: number for trial_id, number in conn.execute(query) if wanted is None or number in wanted}


def _put_special(conn: Connection, trial_id: int, name: str, series: Series) -> None:
    """Put in the numbers that columns can't hold; NULL without a kind is nan."""
    import numpy as np

    steps, values = series
    query = select(metric.c.step, metric.c.kind, metric.c.value)
    odd = metric.c.kind.is_not(None) | metric.c.value.is_(None)
    for step, kind, _ in conn.execute(query.where(metric.c.trial_id == trial_id, metric.c.name == name, odd)):
        if kind is not None and kind not in SPECIAL:
            what = f"kind is {kind!r}, which must be one of {', '.join(SPECIAL)}"
            raise unreadable_metric(conn, trial_id, name, what)
        values[np.searchsorted(steps, step)] = SPECIAL[kind] if kind is not None else math.nan
