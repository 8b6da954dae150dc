"""Seeds for single cells, and the looks at the data that a study is planned with."""

from functools import partial

import pytest
from scenes import at_once, contents, make_study, must_claim, result
from sqlalchemy import Connection, text
from support.studies import count_open

from cifarsweep.errors import StoreError, UnknownStudy
from cifarsweep.store import Store

FAST, SLOW = "lr=0.1", "lr=0.05"


def test_seeds_go_to_the_cells_that_are_named(busy_store: Store) -> None:
    added = busy_store.studies.add_seeds("s", [(SLOW, 3), (SLOW, 4)], [[3, 6]]).added

    assert added == 2
    assert [(row.number, row.cell, row.seed) for row in busy_store.trials.all("s")][6:] == [(6, SLOW, 3), (7, SLOW, 4)]
    assert busy_store.studies.plans("s") == ((3, 6),)
    assert count_open(busy_store, "s") == 8 and busy_store.admin.check() == []


def test_what_is_there_is_not_added_again(busy_store: Store) -> None:
    busy_store.studies.add_seeds("s", [(FAST, 3)], [[3, 6]])
    before = contents(busy_store)

    assert busy_store.studies.add_seeds("s", [(FAST, 3), (SLOW, 0)], [[3, 6]]).added == 0
    assert contents(busy_store) == before


def test_the_study_stays_what_it_was(busy_store: Store) -> None:
    busy_store.studies.add_seeds("s", [(FAST, 9)])

    assert busy_store.studies.create(make_study()).added == 0
    assert busy_store.studies.create(make_study(2, 4), extend=True).added == 2


def test_a_cell_that_is_not_there_is_named_and_nothing_written(busy_store: Store) -> None:
    before = contents(busy_store)

    with pytest.raises(StoreError, match="no cell 'lr=7'; its cells are lr=0.1, lr=0.05"):
        busy_store.studies.add_seeds("s", [(FAST, 3), ("lr=7", 3)], [[3, 6]])
    with pytest.raises(UnknownStudy):
        busy_store.studies.add_seeds("t", [(FAST, 3)])

    assert contents(busy_store) == before


def test_more_seeds_for_a_study_with_results_are_a_further_look(busy_store: Store) -> None:
    busy_store.studies.create(make_study(2, 4), extend=True)
    assert busy_store.studies.plans("s") == ()

    busy_store.queue.finish(must_claim(busy_store), [], None, result())
    busy_store.studies.create(make_study(2, 7), extend=True)

    assert busy_store.studies.plans("s") == ((4, 7),), "some trials are open, so that nobody has looked at 4 seeds yet"


def test_more_seeds_after_all_trials_are_done_are_a_plan_of_their_own(busy_store: Store) -> None:
    finish_all(busy_store)
    assert busy_store.studies.plans("s", seeds=4) == ((3,), (4,)) and busy_store.studies.plans("s") == ()

    for seeds in (4, 5):
        busy_store.studies.create(make_study(2, seeds), extend=True)
        finish_all(busy_store)

    assert busy_store.studies.plans("s") == ((3,), (4,), (5,))


def test_a_look_that_is_planned_twice_stays_in_its_first_plan(busy_store: Store) -> None:
    busy_store.studies.add_seeds("s", [], [[3, 6]])
    busy_store.studies.add_seeds("s", [], [[3], [6, 12]])

    assert busy_store.studies.plans("s") == ((3, 6), (12,))


def test_more_seeds_on_the_way_to_a_look_are_no_look(busy_store: Store) -> None:
    busy_store.studies.add_seeds("s", [], [[3, 6, 12]])
    finish_all(busy_store)

    assert busy_store.studies.plans("s", seeds=4) == busy_store.studies.plans("s", seeds=12) == ((3, 6, 12),)
    assert busy_store.studies.plans("s", seeds=13) == ((3, 6, 12), (13,))


def test_looks_of_a_database_of_before_are_one_plan(empty_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("cifarsweep.store.migrations.HEAD", "0005")
        with Store.open(empty_url, upgrade=True) as store:
            store._db.write(old_looks)

    with Store.open(empty_url, upgrade=True) as store:
        assert store.studies.plans("s") == ((3, 6, 12),)
        store.studies.add_seeds("s", [], [[3, 6, 12], [24]])
        assert store.studies.plans("s") == ((3, 6, 12), (24,))


def old_looks(conn: Connection) -> None:
    """A study with three looks, as version 0005 wrote it."""
    study = {"spec": make_study(1, 3).canonical(), "now": "2026-01-01 00:00:00"}
    columns = "study_id, name, sha256, spec, created_at"
    conn.execute(text(f"INSERT INTO cs_study ({columns}) VALUES (1, 's', 'a', :spec, :now)"), study)  # noqa: S608
    conn.execute(text("INSERT INTO cs_look (study_id, seeds) VALUES (1, 3), (1, 6), (1, 12)"))


def finish_all(store: Store) -> None:
    while store.queue.has_unfinished(["s"]):
        store.queue.finish(must_claim(store), [], None, result())


def extend(url: str) -> int:
    with Store.open(url) as store:
        return store.studies.add_seeds("s", [(FAST, seed) for seed in range(3, 20)], [[3, 20]]).added


def test_two_that_extend_at_once_add_each_seed_once(busy_store: Store, url: str) -> None:
    assert sorted(at_once(partial(extend, url), partial(extend, url))) == [0, 17]
    assert len(busy_store.trials.all("s")) == 23
