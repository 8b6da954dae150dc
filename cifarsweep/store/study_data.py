"""Which images a study's trials train on: the first claim decides it, and every later claim is checked against it.

The digests stand in rows of their own, which a claim locks, so that of two workers that claim first at once one finds
what the other has decided.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, bindparam, exists, func, or_, select, update

from cifarsweep.errors import StudyRefused
from cifarsweep.spec.types import DATA_VERSION, TrialState
from cifarsweep.store.database import backend_of
from cifarsweep.store.queue.workers import parsed_versions
from cifarsweep.store.records import Environment
from cifarsweep.store.schema import attempt, checkpoint, study, study_data, trial, worker

_HELD = (TrialState.DONE.value, TrialState.LEASED.value)


def check_claim(conn: Connection, study_id: int, name: str, dataset: str, mine: Environment, trial_id: int) -> None:
    """Raise StudyRefused unless the trial that is being claimed may train on this worker's images.

    The transaction of the claim has to be rolled back then.
    """
    sha256 = mine.data.get(dataset)
    if sha256 is None:
        raise StudyRefused(name, dataset, f"study {name!r}: this worker has not checked its data set {dataset!r} yet")
    values = {"p_study": study_id, "p_dataset": dataset, "p_sha256": sha256}
    if conn.execute(_agrees(), values).first() is not None:
        return
    row = {"study_id": study_id, "dataset": dataset, "sha256": sha256}
    conn.execute(backend_of(conn).insert_ignore(study_data).values(row))
    known = conn.execute(_locked(), values).scalar_one()
    mixes = conn.execute(select(study.c.other_data).where(study.c.study_id == study_id)).scalar_one()
    if known == sha256 or mine.other_data or mixes:
        return
    if _in_use(conn, study_id, dataset, known, trial_id):
        raise _refused(name, dataset, known, sha256)
    conn.execute(update(study_data).where(_is_it()).values(sha256=sha256), values)


def refused(conn: Connection, mine: Mapping[str, Mapping[str, str]]) -> dict[str, StudyRefused]:
    """Of the studies given with the digests of this machine's images, those that train on other images."""
    query = select(study.c.name, study_data).join(study, study.c.study_id == study_data.c.study_id)
    found: dict[str, StudyRefused] = {}
    for row in conn.execute(query.where(~study.c.other_data).order_by(study_data.c.dataset)).all():
        sha256 = mine.get(row.name, {}).get(row.dataset, row.sha256)
        if sha256 != row.sha256 and row.name not in found and _in_use(conn, row.study_id, row.dataset, row.sha256):
            found[row.name] = _refused(row.name, row.dataset, row.sha256, sha256)
    return found


def _refused(name: str, dataset: str, known: str, sha256: str) -> StudyRefused:
    return StudyRefused(
        name,
        dataset,
        f"study {name!r} trains on images of {dataset!r} with sha256 {known}, and the images on this machine have "
        f"{sha256}; put the same images here, make a study of its own with `cifarsweep create --as NAME`, or let its "
        "trials train on both with --other-data",
    )


@cache
def _agrees() -> Any:
    # A shared lock: many workers claim at once, and none may change the digest before all their leases are visible.
    query = select(study_data.c.sha256).where(_is_it(), study_data.c.sha256 == bindparam("p_sha256"))
    return query.with_for_update(read=True)


@cache
def _locked() -> Any:
    return select(study_data.c.sha256).where(_is_it()).with_for_update()


def _is_it() -> ColumnElement[bool]:
    return and_(study_data.c.study_id == bindparam("p_study"), study_data.c.dataset == bindparam("p_dataset"))


def _in_use(conn: Connection, study_id: int, dataset: str, sha256: str, but: int = -1) -> bool:
    """Whether a result, a checkpoint or a running trial other than `but` used those images."""
    # A worker that is stopped at once leaves a checkpoint before the first step.
    saved = exists().where(checkpoint.c.trial_id == trial.c.trial_id, checkpoint.c.step > 0)
    held = and_(trial.c.state.in_(_HELD), trial.c.trial_id != but)
    query = (
        select(func.coalesce(attempt.c.versions, worker.c.versions))
        .join(trial, trial.c.trial_id == attempt.c.trial_id)
        .outerjoin(worker, worker.c.worker_id == attempt.c.worker_id)
        .where(trial.c.study_id == study_id, or_(held, saved))
        .distinct()
    )
    return any(parsed_versions(text).get(DATA_VERSION + dataset) == sha256 for text in conn.execute(query).scalars())


def environment_columns(mine: Environment, dataset: str | None) -> dict[str, str | None]:
    """The columns of an attempt that say what it trains with, beyond its worker's row; None for no data set."""
    versions = dict(mine.versions) | ({DATA_VERSION + dataset: mine.data[dataset]} if dataset is not None else {})
    return {"device": mine.device, "versions": json.dumps(versions, sort_keys=True)}
