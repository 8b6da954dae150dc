"""What `doctor` says of a PostgreSQL server: clock, sessions that block others, leases."""

import threading
import time

from scenes import make_study, must_claim, set_trial
from sqlalchemy import text

from cifarsweep.store import Store, diagnosis


def levels(url: str) -> dict[str, diagnosis.Finding]:
    return {finding.subject: finding for finding in diagnosis.examine(url)}


def test_a_database_in_use_is_in_order(url: str) -> None:
    with Store.open(url) as store:
        store.create_study(make_study())
        must_claim(store)

        found = levels(url)

    assert {finding.level for finding in found.values()} == {"ok"}
    assert {"database", "clock", "lock", "leases"} <= set(found)


def test_leases_that_ran_out_are_counted(url: str) -> None:
    with Store.open(url) as store:
        store.create_study(make_study())
        set_trial(store, must_claim(store).trial_id, lease_until=0.0)

    assert levels(url)["leases"].text.startswith("1 ran out, trial s/0")


def test_the_session_that_blocks_another_is_named(cleared_postgres: str) -> None:
    with Store.open(cleared_postgres) as store, Store.open(cleared_postgres) as other:
        store.create_study(make_study())
        with store._db.engine.begin() as conn:
            conn.execute(text("UPDATE cs_trial SET rank = rank"))
            pid = conn.execute(text("SELECT pg_backend_pid()")).scalar_one()
            waiting = threading.Thread(target=set_trial, args=(other, 1), kwargs={"rank": 0})
            waiting.start()
            give_up = time.monotonic() + 25  # the one that waits does so for 30 s
            while (found := levels(cleared_postgres)["lock"]).level != "fail" and time.monotonic() < give_up:
                time.sleep(0.1)
        waiting.join()

    assert found.level == "fail"
    assert f"session {pid}" in found.text and f"pg_terminate_backend({pid})" in found.text
