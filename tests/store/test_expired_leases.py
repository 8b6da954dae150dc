"""Leases are checked about once a second, by whoever claims then, and none that has expired stays unseen."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from scenes import QUICK, clock_now, expire, forget_check, make_study, must_claim, rows_at, set_trial
from sqlalchemy import Connection, func, select, update

from cifarsweep.store import Store
from cifarsweep.store.leases import Timing
from cifarsweep.store.queue import expiry
from cifarsweep.store.schema import lease_check, trial


@pytest.fixture
def lasting(busy_store: Store, url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """The same database for a process in which a check serves for hours, so that no test must be quick."""
    monkeypatch.setattr(expiry, "CHECK_EVERY_S", 1e6)
    with Store.open(url, timing=Timing(lease_s=80_000.0)) as store:
        yield store


def let_run_out(store: Store, trial_id: int) -> None:
    """Let the lease have run out, with nobody who has seen it."""
    set_trial(store, trial_id, lease_until=0.0)


def set_check(store: Store, moment: float) -> None:
    """Let the last check have been at a moment of the database's clock."""
    store._db.write(lambda conn: conn.execute(update(lease_check).values(moment=moment)))


def marked(store: Store) -> int:
    return store._db.read(lambda conn: conn.execute(select(func.count()).where(trial.c.expired)).scalar_one())


def test_claims_soon_after_a_check_make_none(lasting: Store) -> None:
    lost = must_claim(lasting, "dead")
    let_run_out(lasting, lost.trial_id)

    others = [must_claim(lasting, "alive").trial_id for _ in range(2)]

    assert lost.trial_id not in others and marked(lasting) == 0


@pytest.mark.parametrize("ago_s", [1.5, 3600.0, -3600.0])
def test_the_first_claim_after_a_second_finds_what_has_run_out(busy_store: Store, ago_s: float) -> None:
    """Also where the clock of the database was set back, so that the last check lies ahead."""
    lost = must_claim(busy_store, "dead")
    let_run_out(busy_store, lost.trial_id)
    set_check(busy_store, clock_now(busy_store) - ago_s)

    assert must_claim(busy_store, "alive").trial_id == lost.trial_id
    assert marked(busy_store) == 0


def test_one_check_finds_all_and_every_claim_takes_one(busy_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expiry, "_MANY", 2)
    lost = {must_claim(busy_store, "dead").trial_id for _ in range(5)}
    for trial_id in lost:
        let_run_out(busy_store, trial_id)
    forget_check(busy_store)

    assert {must_claim(busy_store, "alive").trial_id for _ in range(5)} == lost


def test_a_check_by_a_worker_of_another_study_serves_all(busy_store: Store) -> None:
    busy_store.studies.create(make_study(1, 1, name="other"))
    lost = must_claim(busy_store, "dead")
    let_run_out(busy_store, lost.trial_id)
    forget_check(busy_store)

    assert busy_store.queue.claim("a", studies=["other"]) is not None
    found = busy_store.queue.claim("b", studies=["s"])

    assert found is not None and found.trial_id == lost.trial_id


def test_a_check_whose_worker_was_killed_has_not_been(busy_store: Store) -> None:
    lost = must_claim(busy_store, "dead")
    let_run_out(busy_store, lost.trial_id)
    forget_check(busy_store)

    def killed(conn: Connection) -> None:
        assert expiry.mark_expired(conn, 60.0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        busy_store._db.write(killed)

    assert marked(busy_store) == 0
    assert must_claim(busy_store, "alive").trial_id == lost.trial_id


def test_a_holder_that_still_writes_keeps_its_trial(busy_store: Store) -> None:
    late = must_claim(busy_store, "late")
    expire(busy_store, late)
    late = busy_store.queue.write(late, rows_at(1))

    assert marked(busy_store) == 0
    assert must_claim(busy_store, "next").trial_id != late.trial_id
    busy_store.queue.write(late, rows_at(2))


def test_a_claim_knows_whether_others_claimed_just_before(lasting: Store) -> None:
    found = []
    for _ in range(2):
        must_claim(lasting)
        found.append(lasting.queue.checked_leases)
    set_check(lasting, expiry.LONG_AGO)
    for _ in range(2):
        lasting.queue.check_leases()
        found.append(lasting.queue.checked_leases)

    assert found == [True, False, True, False]


@contextmanager
def locked(store: Store, query: Any) -> Iterator[None]:
    with store._db.engine.connect() as conn, conn.begin():
        assert conn.execute(query.with_for_update()).first() is not None
        yield


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("held", ["check", "trial"])
def test_a_claim_waits_neither_for_a_check_nor_for_a_beat_under_way(busy_store: Store, held: str) -> None:
    lost, other = must_claim(busy_store, "dead"), must_claim(busy_store, "dead")
    for lease in (lost, other):
        let_run_out(busy_store, lease.trial_id)
    set_check(busy_store, expiry.LONG_AGO)
    query = select(lease_check) if held == "check" else select(trial).where(trial.c.trial_id == lost.trial_id)

    with locked(busy_store, query):
        taken = must_claim(busy_store, "alive").trial_id

    assert taken not in (lost.trial_id, other.trial_id) if held == "check" else taken == other.trial_id


def test_whatever_is_killed_a_lease_that_ran_out_is_found_in_time(url: str) -> None:
    with Store.open(url, timing=QUICK) as store:
        store.studies.create(make_study(1, 1))
        lost = must_claim(store, "dead")
        ends = time.monotonic() + QUICK.lease_s

        while (found := store.queue.claim("alive", studies=["s"])) is None:
            time.sleep(0.01)

        assert found.trial_id == lost.trial_id and time.monotonic() >= ends - 0.05
