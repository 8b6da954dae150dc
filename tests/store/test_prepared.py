"""Statements that are prepared once do what SQLAlchemy does with them."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from scenes import must_claim
from sqlalchemy import bindparam, select, update

from cifarsweep.store import Store
from cifarsweep.store.prepared import execute
from cifarsweep.store.schema import attempt, trial


@pytest.mark.parametrize(
    ("column", "value"),
    [
        (trial.c.told, True),
        (trial.c.waits, False),
        (trial.c.elapsed_s, 1.5),
        (trial.c.source_id, 2**40),
        (trial.c.token, "it's %s, :p and ?"),
        (trial.c.token, None),
    ],
)
def test_a_prepared_update_stores_what_sqlalchemy_would(busy_store: Store, column: Any, value: object) -> None:
    # given trials, and a statement with values of its own and one that is given at each execution
    statement = update(trial).where(trial.c.number == bindparam("p_number")).values({column: value, "rank": 7})

    # when it runs twice
    for _ in range(2):
        busy_store._db.write(lambda conn: execute(conn, statement, {"p_number": 0}).close())

    # then the columns have both values
    found = busy_store._db.read(
        lambda conn: conn.execute(select(column, trial.c.rank).where(trial.c.number == 0)).one()
    )
    assert tuple(found) == (value, 7)


def test_a_moment_of_another_zone_is_stored_in_utc(busy_store: Store) -> None:
    # given an attempt
    must_claim(busy_store)
    noon = datetime(2026, 11, 30, 12, 0, 0, 5, timezone(timedelta(hours=2)))
    statement = update(attempt).where(attempt.c.attempt == bindparam("p_attempt"))

    # when a prepared statement ends it
    busy_store._db.write(lambda conn: execute(conn, statement, {"p_attempt": 1, "ended_at": noon}).close())

    # then it ended at that moment
    found = busy_store._db.read(lambda conn: conn.execute(select(attempt.c.ended_at)).scalar_one())
    assert found == noon and found.tzinfo is UTC


def test_a_statement_with_a_list_runs_with_lists_of_any_length(busy_store: Store) -> None:
    # given trials and a statement whose SQL depends on a list
    listed = trial.c.number.in_(bindparam("p_numbers", expanding=True))
    statement = update(trial).where(listed).values(rank=bindparam("p_rank")).returning(trial.c.number)

    # when it runs with lists of several lengths
    def ranked(numbers: list[int]) -> list[int]:
        values = {"p_numbers": numbers, "p_rank": 1}
        return sorted(busy_store._db.write(lambda conn: execute(conn, statement, values).scalars().all()))

    # then it finds just these trials
    assert [ranked(numbers) for numbers in ([0, 1, 2], [2], [], [0, 2])] == [[0, 1, 2], [2], [], [0, 2]]
