"""The digest of what a finished trial recorded: who takes it over finds out whether it was edited."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, Select, bindparam, select, update

from cifarsweep.spec.metrics import TIMING_METRICS
from cifarsweep.spec.provenance import contributing
from cifarsweep.spec.types import MetricRow
from cifarsweep.store.columns import split_value
from cifarsweep.store.records import Lease
from cifarsweep.store.schema import attempt, metric, trial

#: Digests of rows are added up modulo this.
_MODULUS = 1 << 256
#: Columns of `cs_trial` that are the result.
_RESULT = ("outcome", "step", "value", "final", "weights_sha256")


class RowsDigest:
    """The sum of the SHA-256 of metric rows: rows may come in any order and in parts."""

    def __init__(self) -> None:
        self._sum = 0

    def add(self, rows: Iterable[MetricRow]) -> None:
        """Add rows; each row of the trial once."""
        for row in rows:
            self._sum += _of_row(row.name, row.step, *split_value(row.value))

    def with_result(self, result: Sequence[Any]) -> str:
        """The digest of the rows and of outcome, step, value, final and weights_sha256, as their columns have them."""
        outcome, step, value, final, weights = result
        parts = [
            f"{self._sum % _MODULUS:064x}",
            outcome,
            step,
            None if value is None else float(value).hex(),
            final,
            weights,
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _of_row(name: str, step: int, value: float | None, kind: str | None) -> int:
    number = kind if value is None else float(value).hex()
    return int.from_bytes(hashlib.sha256(f"{name}\0{step}\0{number}".encode()).digest())


@cache
def _rows() -> Select[Any]:
    query = select(metric.c.name, metric.c.step, metric.c.value, metric.c.kind)
    return query.where(metric.c.trial_id == bindparam("p_trial"))


@cache
def _result() -> Select[Any]:
    return select(*(trial.c[name] for name in _RESULT)).where(trial.c.trial_id == bindparam("p_trial"))


def read_digest(conn: Connection, trial_id: int) -> str | None:
    """The digest of a trial as the database has it; None where rows hold what nobody wrote."""
    found, values = RowsDigest(), {"p_trial": trial_id}
    try:
        found._sum = sum(_of_row(*row) for row in conn.execute(_rows(), values))
        return found.with_result(conn.execute(_result(), values).one())
    except (TypeError, ValueError, AttributeError):
        return None


def read_digest_before(conn: Connection, trial_id: int, step: int) -> str | None:
    """The digest of the rows before a step, but for those of timing: others come where the trial takes steps again.

    None where rows hold what nobody wrote.
    """
    found = conn.execute(_rows().where(metric.c.step < step), {"p_trial": trial_id})
    try:
        digest = sum(_of_row(*row) for row in found if row.name not in TIMING_METRICS)
    except (TypeError, ValueError, AttributeError):
        return None
    return f"{digest % _MODULUS:064x}"


def record_digest(conn: Connection, lease: Lease) -> None:
    """Set the digest of a trial that has just ended, unless attempts of several identities made its result."""
    if of_one_identity(conn, lease):
        digest = read_digest(conn, lease.trial_id)
        conn.execute(update(trial).where(trial.c.trial_id == lease.trial_id).values(rows_digest=digest))


def of_one_identity(conn: Connection, lease: Lease) -> bool:
    """Whether all attempts that brought the trial to where it is had the identity of the lease.

    What it took from another trial was trained by none of them.
    """
    query = select(attempt.c.first_step, attempt.c.identity, trial.c.reused_steps)
    query = query.join(trial, trial.c.trial_id == attempt.c.trial_id).where(attempt.c.trial_id == lease.trial_id)
    found = conn.execute(query.order_by(attempt.c.attempt)).all()
    own = [row for row in found if row.first_step >= row.reused_steps]
    return {own[index].identity for index in contributing([row.first_step for row in own])} == {lease.identity}
