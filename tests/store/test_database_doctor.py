"""What `doctor` says of a database: clock, sessions that block others, leases, who may write."""

from pathlib import Path

from scenes import administer, make_study, must_claim, set_trial
from sqlalchemy import Connection, text
from support.waiting import Beside, wait_for

from cifarsweep.store import Store
from cifarsweep.store.admin import doctor


def levels(url: str) -> dict[str, doctor.Finding]:
    return {finding.subject: finding for finding in doctor.examine(url)}


def test_a_database_in_use_is_in_order(url: str) -> None:
    with Store.open(url) as store:
        store.studies.create(make_study())
        must_claim(store)

        found = levels(url)

    assert {finding.level for finding in found.values()} == {"ok"}
    assert {"database", "clock", "lock", "leases"} <= set(found)


def test_leases_that_ran_out_are_counted(url: str) -> None:
    with Store.open(url) as store:
        store.studies.create(make_study())
        set_trial(store, must_claim(store).trial_id, lease_until=0.0)

    assert levels(url)["leases"].text.startswith("1 ran out, trial s/0")


def wait_for_the_lock(conn: Connection) -> None:
    """For longer than any machine takes to say that somebody waits."""
    conn.execute(text("SET LOCAL lock_timeout = '250s'"))
    conn.execute(text("UPDATE cs_trial SET rank = 0"))


def test_the_session_that_blocks_another_is_named(cleared_postgres: str) -> None:
    with Store.open(cleared_postgres) as store, Store.open(cleared_postgres) as other:
        store.studies.create(make_study())
        with store._db.engine.begin() as conn:
            conn.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
            conn.execute(text("UPDATE cs_trial SET rank = rank"))
            pid = conn.execute(text("SELECT pg_backend_pid()")).scalar_one()
            waiting = Beside(lambda: other._db.write(wait_for_the_lock), interrupts=False)
            found = wait_for(lambda: (said := levels(cleared_postgres)["lock"]).level == "fail" and said)
        waiting.check()

    assert f"session {pid}" in found.text and f"pg_terminate_backend({pid})" in found.text


def test_a_file_that_no_worker_can_write_fails_and_is_read_all_the_same(read_only_mount: Path) -> None:
    found = levels(f"sqlite:///{read_only_mount}")

    assert found["rights"].level == "fail" and "read-only" in found["rights"].text
    assert "lock" not in found
    assert found["database"].level == found["leases"].level == "ok"


def test_somebody_who_may_only_read_the_tables_is_told_so(reader: str) -> None:
    found = levels(reader)

    assert found["rights"].level == "fail"
    assert all(word in found["rights"].text for word in ("INSERT", "UPDATE", "DELETE", "GRANT"))
    assert found["database"].level == found["leases"].level == "ok"


def test_the_rights_that_are_missing_are_named_until_all_are_there(new_postgres: str, reader: str) -> None:
    name = new_postgres.split("?")[0].rsplit("/", 1)[1]
    administer(
        new_postgres,
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {name}",
        f"REVOKE DELETE ON cs_metric FROM {name}",
    )
    lacking = levels(reader)["rights"].text
    administer(
        new_postgres,
        f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {name}",
        f"GRANT DELETE ON cs_metric TO {name}",
    )

    sequences = ", ".join(f"USAGE on cs_{table}_{table}_id_seq" for table in ("note", "study"))
    assert lacking.startswith(
        f"a worker lacks USAGE on cs_cell_cell_id_seq, DELETE on cs_metric, {sequences} and 1 more: let"
    )
    assert levels(reader)["rights"].level == "ok"


def test_a_table_that_may_not_be_read_is_a_finding(new_postgres: str, reader: str) -> None:
    administer(new_postgres, f"REVOKE SELECT ON cs_trial FROM {new_postgres.split('?')[0].rsplit('/', 1)[1]}")

    assert "permission denied for table cs_trial" in levels(reader)["database"].text


def test_a_file_that_is_no_database_is_not_said_to_lack_rights(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("Dear diary, " * 100)

    found = levels(f"sqlite:///{tmp_path}/notes.txt")

    assert [each for each in found.values() if "can't be written" in each.text] == []
    assert "not a database" in found["database"].text
