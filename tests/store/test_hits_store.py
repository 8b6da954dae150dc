"""Which images a trial got right is written with its result, once, by the holder of its lease."""

import base64
from dataclasses import replace
from pathlib import Path

import pytest
from scenes import lose_one_commit, must_claim, result, rows_at, set_trial, taken_over
from sqlalchemy import text

from cifarsweep.errors import LeaseLost, UnreadableStudy
from cifarsweep.spec.types import Hits
from cifarsweep.store import Store

FOUND = {
    "val/accuracy": Hits(9, base64.b64encode(bytes([0b10110000, 0b10000000])).decode()),
    "test/accuracy": Hits(8, base64.b64encode(bytes([255])).decode()),
}
DONE = replace(result(), hits=FOUND)


def run(store: Store, statement: str) -> None:
    store._db.write(lambda conn: conn.execute(text(statement)))


def test_hits_come_back_as_they_were_given(busy_store: Store) -> None:
    busy_store.queue.finish(must_claim(busy_store), rows_at(10), None, DONE)
    busy_store.queue.finish(must_claim(busy_store), rows_at(10), None, result())

    assert busy_store.metrics.hits("s", FOUND, [0, 1, 2]) == {(0, name): hits for name, hits in FOUND.items()}
    assert busy_store.metrics.hits("s", ["test/accuracy"], range(6)) == {(0, "test/accuracy"): FOUND["test/accuracy"]}
    assert busy_store.metrics.hits("s", FOUND, [1]) == {}


@pytest.mark.parametrize("happened", [True, False])
def test_an_answer_that_was_lost_writes_them_once(
    busy_store: Store, monkeypatch: pytest.MonkeyPatch, happened: bool
) -> None:
    lease = must_claim(busy_store)
    lose_one_commit(busy_store, monkeypatch, happened=happened)

    busy_store.queue.finish(lease, rows_at(10), None, DONE)

    assert len(busy_store.metrics.hits("s", FOUND, [0])) == 2


def test_the_lost_answer_to_a_write_before_the_end_does_not_cost_them(busy_store: Store) -> None:
    lease = must_claim(busy_store)
    busy_store.queue.write(lease, rows_at(9))

    # As after StoreUnavailable: the holder knows the old lease alone.
    busy_store.queue.finish(lease, rows_at(9, 10), None, DONE)

    assert len(busy_store.metrics.hits("s", FOUND, [0])) == 2
    assert busy_store.admin.check() == []


def test_who_lost_the_lease_writes_none(busy_store: Store) -> None:
    lease = must_claim(busy_store)
    successor = taken_over(busy_store, lease)

    with pytest.raises(LeaseLost):
        busy_store.queue.finish(lease, rows_at(10), None, DONE)

    assert busy_store.metrics.hits("s", FOUND, [0]) == {}
    busy_store.queue.finish(successor, rows_at(10), None, DONE)
    assert len(busy_store.metrics.hits("s", FOUND, [0])) == 2


def test_a_backup_has_them(busy_store: Store, tmp_path: Path) -> None:
    busy_store.queue.finish(must_claim(busy_store), rows_at(10), None, DONE)

    busy_store.admin.backup(tmp_path / "copy.db")

    with Store.open(tmp_path / "copy.db") as copy, Store.open(tmp_path / "new.db", upgrade=True) as restored:
        restored.admin.restore(copy.admin)
        for store in (copy, restored):
            assert store.metrics.hits("s", FOUND, [0]) == busy_store.metrics.hits("s", FOUND, [0])


def test_a_damaged_row_is_named(busy_store: Store) -> None:
    busy_store.queue.finish(must_claim(busy_store), rows_at(10), None, DONE)
    set_trial(busy_store, 1, told=False)
    assert busy_store.admin.check() == []
    run(busy_store, "UPDATE cs_hits SET images = 99 WHERE metric = 'val/accuracy'")

    with pytest.raises(UnreadableStudy, match=r"study 's', trial 0: cs_hits.bits of 'val/accuracy' has 2 bytes"):
        busy_store.metrics.hits("s", FOUND, [0])

    assert any("cs_hits.bits of 'val/accuracy' has 2 bytes" in finding for finding in busy_store.admin.check())
