"""Campaigns against the database: PostgreSQL ended at once, connections cut, answers to COMMIT lost, two at a time."""

from __future__ import annotations

import time
from collections import Counter

from fleet import Fleet, Worker
from oracle import Broken
from places import Place
from proxy import Proxy
from siege import Every, besiege, plain, takeovers
from sqlalchemy import make_url, text

Counts = dict[str, int]


def postgres_restarts(place: Place, *, restarts: int, trials: int, workers: int = 4) -> Counts:
    """The server ends as by a power cut and comes back within a second. No step is lost: nothing is attempted twice."""
    assert place.postgres is not None
    counts, due, server = Counter[str](), Every(place, 0.4, 1.5), place.postgres

    def disturb(fleet: Fleet) -> None:
        if any(worker.began for worker in fleet.workers) and counts["restarts"] < restarts and due():
            server.crash()
            time.sleep(place.chance.uniform(0.0, 0.7))
            server.start()
            counts["restarts"] += 1

    fleets = besiege(
        place, trials, workers, disturb, lambda: counts["restarts"] >= restarts, recruit=plain(0.1), forgive_starts=True
    )
    with place.open() as store:
        again = sum(takeovers(store, study.name) for study in store.studies.all())
    if again:
        raise Broken(f"seed {place.seed}: {again} trials were attempted again; logs in {place.folder}")
    return {**counts, "trials": trials * len(fleets), "attempts beyond the first": again}


def cut_connections(place: Place, *, ambiguous: int, trials: int, workers: int = 4) -> Counts:
    """A proxy resets connections at COMMIT, with and without passing it on, cuts others, and leaves some half open."""
    assert place.postgres is not None
    cut, half = Every(place, 0.5, 2.0), Every(place, 1.0, 4.0)
    with Proxy(place.postgres.socket, place.chance) as proxy:
        url = proxy.url(str(make_url(place.url).database))
        proxy.answers_lost, proxy.commits_lost = 0.12, 0.08

        def recruit(fleet: Fleet, name: str) -> Worker:
            return fleet.start("--study", name, url=url, env={"CHAOS_STEP_S": "0.03"})

        def disturb(fleet: Fleet) -> None:
            if cut():
                proxy.cut_one()
            if half():
                proxy.half_open_one(place.chance.uniform(0.2, 1.5))

        def doubtful() -> int:
            return proxy.cuts["answer lost"] + proxy.cuts["commit lost"]

        fleets = besiege(
            place, trials, workers, disturb, lambda: doubtful() >= ambiguous, recruit=recruit, forgive_starts=True
        )
        return {**proxy.cuts, "ambiguous commits": doubtful(), "trials": trials * len(fleets)}


def two_at_once(place: Place, *, each: int = 2) -> Counts:
    """Some `create` and some `db upgrade` on one database that was empty: one study, one schema."""
    with Fleet(place) as fleet:
        for _ in range(each):
            fleet.command("create", "demo", "--db", place.url)
            fleet.command("db", "upgrade", "--db", place.url)
        fleet.finish()
    with place.open() as store:
        rows = store.studies.all()
        versions = store._db.read(lambda conn: conn.execute(text("SELECT * FROM cifarsweep_alembic_version")).all())
        findings = store.admin.check()
    if [(row.name, row.trials) for row in rows] != [("demo", 12)] or len(versions) != 1 or findings:
        raise Broken(f"seed {place.seed}: {rows}, {versions}, {findings}; logs in {place.folder}")
    return {"commands": 2 * each, "studies": len(rows), "schemas": len(versions)}
