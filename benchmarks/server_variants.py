"""What might move the limit, measured: the same statements with another table, in batches, or without a part."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from statistics import median
from typing import Any

import psycopg
from server_costs import WARM, Cost, Meter, Samples, Sizes, run_ms
from sqlalchemy.dialects.postgresql.psycopg import dialect

from cifarsweep.store.postgres import PostgresBackend
from cifarsweep.store.queue import claim, fence

#: Leases of one statement, where the beats of a machine go together.
BATCH = 50
#: Parts of the trial table, by study.
PARTITIONS = 16
_CLOCK = "CAST(EXTRACT(epoch FROM clock_timestamp()) AS DOUBLE PRECISION)"
#: What lets a claim read the leases alone that have expired.
_MARKED = "cs_trial.expired AND "
_PARTED = (
    "CREATE TABLE parted (LIKE cs_trial INCLUDING DEFAULTS) PARTITION BY HASH (study_id)",
    *(
        f"CREATE TABLE parted_{part} PARTITION OF parted FOR VALUES WITH (MODULUS {PARTITIONS}, REMAINDER {part})"
        for part in range(PARTITIONS)
    ),
    "INSERT INTO parted SELECT cs_trial.* FROM cs_trial JOIN cs_study USING (study_id) WHERE name IN ('leases', %s)",
    "CREATE UNIQUE INDEX ON parted (study_id, number)",
    "CREATE UNIQUE INDEX ON parted (study_id, cell_id, seed)",
    "CREATE INDEX ON parted (trial_id)",
    "CREATE INDEX ON parted (told, state)",
    "CREATE INDEX ON parted (source_id)",
    "CREATE INDEX ON parted (state, rank, waiting_steps DESC, trial_id)",
    "CREATE INDEX ON parted (study_id, state, rank, waiting_steps DESC, trial_id)",
    "VACUUM ANALYZE parted",
)
_BATCHED = f"""
WITH beating (trial_id, attempt, expected) AS (SELECT * FROM unnest(%s::bigint[], %s::int[], %s::int[]))
UPDATE cs_trial SET flush_seq = expected + 1, clock = 'server', beat = {_CLOCK}, lease_until = {_CLOCK} + 60,
step = coalesce(%s, step) FROM beating WHERE cs_trial.trial_id = beating.trial_id AND state = 'leased'
AND cs_trial.attempt = beating.attempt AND flush_seq = expected RETURNING cs_trial.trial_id, wish"""  # noqa: S608
_ROWS = (
    "INSERT INTO cs_metric (trial_id, name, step, value) "
    "SELECT * FROM unnest(%s::bigint[], %s::text[], %s::bigint[], %s::float8[])"
)


class Statements:
    """Our statements as text, on a connection of their own, rolled back or committed."""

    def __init__(self, url: str, study: str) -> None:
        self.connection: psycopg.Connection[Any] = psycopg.connect(url)
        self.connection.prepare_threshold = 0
        self.pid = self.connection.info.backend_pid
        self._claim = claim._claim_statement(PostgresBackend(), True, False, True).compile(dialect=dialect())
        self._guard = fence._guard(PostgresBackend(), False).compile(dialect=dialect())
        self.claim, self.guard = str(self._claim), str(self._guard)
        self.wanted = dict(self._claim.params) | {"p_worker": "w", "p_slot": 0, "p_token": "t", "p_lease_s": 60.0}
        self.wanted |= {"p_clock": "server", "p_study": study}

    def ms(self, times: int, work: Callable[[], object]) -> Samples:
        """Milliseconds of the server for each."""
        found = []
        for place in range(times + WARM):
            before = run_ms(self.pid)
            work()
            if place >= WARM:
                found.append(run_ms(self.pid) - before)
        return tuple(found)

    def claims(self, times: int, sql: str) -> Samples:
        def work() -> None:
            row = self.connection.execute(sql, self.wanted).fetchone()
            assert row is not None
            self.connection.commit()

        return self.ms(times, work)

    def beats(self, times: int, sql: str, leased: list[tuple[int, int, int]], more: Mapping[str, object]) -> Samples:
        """The guard alone, without rows."""
        values = dict(self._guard.params) | {"p_lease_s": 60.0, "p_clock": "server", "p_step": 1} | more
        turns: Iterator[tuple[int, int, int]] = iter(leased)

        def work() -> None:
            trial, attempt, flushed = next(turns)
            its = {"p_trial": trial, "p_attempt": attempt, "p_expected": flushed, "p_flush_seq": flushed + 1}
            assert self.connection.execute(sql, values | its).fetchone() is not None
            self.connection.commit()

        return self.ms(times, work)

    def batched(self, times: int, leased: list[tuple[int, int, int]]) -> Samples:
        """Beats of many leases in one statement with five rows each, in milliseconds a lease."""
        turns = iter(range(0, len(leased), BATCH))

        def work() -> None:
            some = leased[next(turns) :][:BATCH]
            ids, attempts, flushed = map(list, zip(*some, strict=True))
            found = self.connection.execute(_BATCHED, (ids, attempts, flushed, 1)).fetchall()
            assert len(found) == len(some)
            rows = [(trial, f"train/m{place}", 10**6, 0.5) for trial in ids for place in range(5)]
            self.connection.execute(_ROWS, tuple(map(list, zip(*rows, strict=True))))  # type: ignore[arg-type]
            self.connection.commit()

        return tuple(value / BATCH for value in self.ms(times, work))


def leased_trials(meter: Meter, study: str, table: str = "cs_trial") -> list[tuple[int, int, int]]:
    """Trials that nobody else claims meanwhile, in no order."""
    found = meter.sql(
        f"SELECT trial_id, attempt, flush_seq FROM {table} JOIN cs_study USING (study_id) "  # noqa: S608
        "WHERE name = %s AND state = 'leased' AND worker_id LIKE 'other-%%'",
        study,
    )
    random.Random(1).shuffle(found)
    return found


@contextmanager
def statements(url: str, study: str) -> Iterator[Statements]:
    found = Statements(url, study)
    try:
        yield found
    finally:
        found.connection.close()


def measure(meter: Meter, url: str, study: str, sizes: Sizes, table: list[tuple[str, str, float]]) -> dict[str, Cost]:
    """Costs that replace those of today, by name; `study` has queued trials, and leases of others."""
    with statements(url, study) as our:
        few = sizes.times
        leased = leased_trials(meter, study)
        now = our.claims(few, our.claim)
        assert _MARKED in our.claim
        every = our.claims(few, our.claim.replace(_MARKED, ""))
        beat = our.beats(few, our.guard, leased[: few + WARM], {})
        batched = our.batched(few // 5 + 1, leased[few + WARM :])
        for what, samples in (("", now), (", every claim reads all leases", every)):
            table.append((f"the statement of a claim{what}", f"{len(leased):,} leased", median(samples)))
        table.append(("the guard of a beat, no rows", "one table", median(beat)))
        table.append((f"a beat with 5 rows, {BATCH} in one statement", "each", median(batched)))
        parted(meter, our, study, sizes, table)
    return {"beat, batched": Cost(batched)}


def parted(meter: Meter, our: Statements, study: str, sizes: Sizes, table: list[tuple[str, str, float]]) -> None:
    """The same statements on a table that is partitioned by study."""
    for statement in _PARTED:
        meter.sql(statement, *[f"queue-{sizes.queued[0]}"] * statement.count("%s"))
    here = f"{PARTITIONS} partitions by study"
    claims = our.claims(sizes.times, our.claim.replace("cs_trial", "parted"))
    table.append(("the statement of a claim", here, median(claims)))
    leased, guard = leased_trials(meter, study, "parted"), our.guard.replace("cs_trial", "parted")
    table.append(("the guard of a beat, no rows", here, median(our.beats(sizes.times, guard, leased, {}))))
    named = guard.replace(" WHERE ", " WHERE study_id = %(p_owner)s AND ", 1)
    owner = meter.sql("SELECT study_id FROM cs_study WHERE name = %s", study)[0][0]
    found = our.beats(sizes.times, named, leased[sizes.times + WARM :], {"p_owner": owner})
    table.append(("the guard of a beat, no rows", f"{here}, and the study in its condition", median(found)))
