"""Each kind of damage has a sentence, and a database in use has none."""

import pytest
from scenes import make_study, must_claim, result, rows_at, set_trial
from sqlalchemy import insert, text

from cifarsweep.spec.types import MetricRow
from cifarsweep.store import Store
from cifarsweep.store.admin import check
from cifarsweep.store.database import Database
from cifarsweep.store.schema import metric


def run(store: Store, statement: str) -> None:
    store._db.write(lambda conn: conn.execute(text(statement)))


def test_a_database_in_use_is_in_order(used_store: Store) -> None:
    assert used_store.admin.check() == []


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        ("UPDATE cs_trial SET lease_until = 0 WHERE number = 1", "trial s/1: its lease has run out"),
        ("UPDATE cs_trial SET step = 2 WHERE number = 0", "trial s/0: has metrics up to step 3, but ended at step 2"),
        ("UPDATE cs_trial SET furthest = 2 WHERE number = 0", "trial s/0: has a checkpoint at step 3, but never got"),
        ("UPDATE cs_trial SET state = 'queued' WHERE number = 1", "trial s/1: is queued and has 1 attempts that have"),
        ("UPDATE cs_attempt SET ending = 'done'", "trial s/1: is leased and has 0 attempts that have not ended"),
        ("UPDATE cs_trial SET value = 0.9 WHERE number = 0", "trial s/0: Optuna has the value 0.5, we have 0.9"),
        ("UPDATE cs_trial SET state = 'failed' WHERE number = 9", None),
        ("DELETE FROM trial_user_attributes", "Optuna's trial 0 of study s is no final trial here"),
    ],
)
def test_damage_is_found(used_store: Store, damage: str, sentence: str | None) -> None:
    run(used_store, damage)

    findings = used_store.admin.check()

    assert (findings == []) if sentence is None else any(finding.startswith(sentence) for finding in findings)


def test_a_trial_that_is_told_between_two_readings_is_no_finding(
    used_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = check._theirs

    def slowly(db: Database) -> object:
        used_store.queue.finish(must_claim(used_store), rows_at(1), None, result(1))
        assert used_store.sync_optuna() == 1
        return theirs(db)

    monkeypatch.setattr(check, "_theirs", slowly)

    assert used_store.admin.check() == []


def test_a_trial_that_optuna_lost_is_found(used_store: Store) -> None:
    set_trial(used_store, 3, told=True)

    assert used_store.admin.check() == ["trial s/2: was copied to Optuna, which does not have it"]


def test_a_trial_that_optuna_has_twice_is_found(used_store: Store) -> None:
    set_trial(used_store, 1, told=False)
    run(used_store, "UPDATE trial_user_attributes SET value_json = '7' WHERE key = 'cifarsweep_trial'")
    used_store.sync_optuna()
    run(used_store, "UPDATE trial_user_attributes SET value_json = '0' WHERE key = 'cifarsweep_trial'")

    assert "trial s/0: Optuna has it 2 times" in used_store.admin.check()


def test_metrics_of_no_trial_are_found(used_store: Store) -> None:
    row = {"trial_id": 999, "name": "m", "step": 1, "value": 0.5}
    used_store._db.write(lambda conn: conn.execute(insert(metric), row))

    assert used_store.admin.check() == ["cs_metric: 1 rows belong to trial_id 999, which is not there"]


def test_many_findings_of_a_kind_are_counted(store: Store) -> None:
    store.studies.create(make_study(5, 5))
    while store.queue.claim("w"):
        pass
    run(store, "UPDATE cs_trial SET lease_until = 0")

    findings = store.admin.check()

    assert len(findings) == 21
    assert findings[-1] == "... and 5 more of this kind"


def test_a_file_with_a_torn_page_is_reported(tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "results.db"
    with Store.open(f"sqlite:///{path}", upgrade=True) as store:
        store.studies.create(make_study())
        store.queue.write(must_claim(store), [MetricRow("m", step, 0.5) for step in range(5_000)])
    contents = bytearray(path.read_bytes())
    contents[-4096 * 3 : -4096 * 3 + 200] = b"\xff" * 200
    path.write_bytes(contents)

    with Store.open(f"sqlite:///{path}") as store:
        assert any("damaged" in finding for finding in store.admin.check())
