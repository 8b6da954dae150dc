"""Whether a study looks as if nobody had disturbed it, to the last bit."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import chain_child
from sqlalchemy import Connection, select
from support.child import advanced

from cifarsweep.spec.metrics import TIMING_METRICS
from cifarsweep.spec.study import Study
from cifarsweep.spec.types import AttemptEnd, MetricRow, TrialState
from cifarsweep.store import Store
from cifarsweep.store.optuna_view.projection import NUMBER_ATTRIBUTE
from cifarsweep.store.optuna_view.storage import OptunaLink
from cifarsweep.store.schema import metric, study, trial

#: Trial number -> the digest of its weights and its rows, values as float.hex().
Runs = Mapping[int, "Run"]


class Broken(AssertionError):
    """A promise was not kept, or the harness could not show that it was."""


@dataclass(frozen=True)
class Run:
    digest: str | None
    rows: frozenset[tuple[str, int, str]]


def as_hex(rows: Collection[MetricRow]) -> frozenset[tuple[str, int, str]]:
    return frozenset((row.name, row.step, row.value.hex()) for row in rows if row.name not in TIMING_METRICS)


def undisturbed(spec: Study) -> dict[int, Run]:
    """What the chain gives where nothing happens, computed here, without a store, a worker or a checkpoint."""
    found = {}
    for number, planned in enumerate(spec.trials()):
        state = (0, chain_child.beginning(json.loads(planned.cell.settings.model_dump_json())))
        rows: list[MetricRow] = []
        while state[0] < chain_child.Chaos.steps:
            state = advanced(state, planned.seed)
            rows += chain_child.rows(state)
        found[number] = Run(state[1], as_hex(rows))
    return found


def recorded(store: Store, name: str) -> dict[int, Run]:
    """What the database holds."""
    values: dict[int, list[MetricRow]] = {row.number: [] for row in store.trials.all(name)}
    for number, row in store._db.read(lambda conn: _rows(conn, name)):
        values[number].append(row)
    return {row.number: Run(row.weights_sha256, as_hex(values[row.number])) for row in store.trials.all(name)}


def _rows(conn: Connection, name: str) -> list[tuple[int, MetricRow]]:
    # Not through the product's own reader: a mistake of it must not hide one of the writer.
    query = select(trial.c.number, metric).where(
        study.c.name == name, trial.c.study_id == study.c.study_id, metric.c.trial_id == trial.c.trial_id
    )
    return [
        (row.number, MetricRow(row.name, row.step, row.value if row.kind is None else float(row.kind)))
        for row in conn.execute(query)
    ]


def complaints(store: Store, name: str, expected: Runs, *, spared: Collection[int] = ()) -> list[str]:
    """All that differs from an undisturbed run; `spared` are the numbers of trials that were meant to fail."""
    return [*_trials(store, name, expected, spared), *_optuna(store, name, len(expected)), *store.admin.check()]


def _trials(store: Store, name: str, expected: Runs, spared: Collection[int]) -> Iterator[str]:
    rows = store.trials.all(name)
    found = recorded(store, name)
    if len(rows) != len(expected):
        yield f"{len(rows)} trials instead of {len(expected)}"
    for row in rows:
        if row.state in (TrialState.LEASED, TrialState.QUEUED):
            yield f"trial {row.number} is still {row.state}: {row.attempts}"
        if row.number in spared:
            continue
        done = sum(attempt.end is AttemptEnd.DONE for attempt in row.attempts)
        if row.state is not TrialState.DONE or done != 1:
            yield f"trial {row.number} is {row.state} and was done {done} times: {row.attempts}"
        if found[row.number] != expected[row.number]:
            yield f"trial {row.number} differs: {_difference(found[row.number], expected[row.number])}"


def _difference(found: Run, expected: Run) -> str:
    lost, more = expected.rows - found.rows, found.rows - expected.rows
    digest = "" if found.digest == expected.digest else f", digest {found.digest} instead of {expected.digest}"
    return f"{len(lost)} rows lost, {len(more)} of its own {sorted(lost)[:2]} {sorted(more)[:2]}{digest}"


def _optuna(store: Store, name: str, trials: int) -> Iterator[str]:
    """Every trial told once, none RUNNING."""
    if store.unsynced():
        yield f"Optuna was not told of {store.unsynced()} trials"
    told: list[Any] = []
    link = OptunaLink(store._db, lock=False)
    try:
        for one in link.storage.get_all_studies():
            told += link.storage.get_all_trials(one._study_id) if one.study_name == name else []
    finally:
        link.close()
    for row in told:
        if not row.state.is_finished():
            yield f"Optuna's trial {row.number} is {row.state.name}"
    counts = Counter(row.user_attrs.get(NUMBER_ATTRIBUTE) for row in told)
    if counts != Counter(range(trials)):
        yield f"Optuna has the trials {sorted(counts.items(), key=str)} instead of each of {trials} once"
