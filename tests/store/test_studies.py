"""Studies are created once, extended, and read back as they were."""

from collections.abc import Callable
from functools import partial

import pytest
from scenes import at_once, contents, lose_one_commit, make_cell, make_study, must_claim, result

from cifarsweep.errors import StudyExists, UnknownStudy
from cifarsweep.spec.final import Final
from cifarsweep.spec.metrics import VAL_ACCURACY
from cifarsweep.spec.reader import find, read_study
from cifarsweep.spec.reported import Reported
from cifarsweep.spec.study import Study
from cifarsweep.spec.types import MetricRow
from cifarsweep.store import Store
from cifarsweep.store.records import Created, FinishedRun


def test_a_study_is_read_back_as_it_was(store: Store) -> None:
    spec = read_study(find("lr-study"))

    store.studies.create(spec)

    stored = store.studies.get("lr-study")
    assert stored.spec == spec
    assert stored.sha256 == spec.sha256
    assert stored.created_at.tzinfo is not None


def test_creating_again_does_nothing(busy_store: Store) -> None:
    before = contents(busy_store)

    again = busy_store.studies.create(make_study())

    assert (again.added, again.existing) == (0, 6)
    assert contents(busy_store) == before


def test_a_stored_study_keeps_what_counts_as_a_final_value(store: Store) -> None:
    """A version before the default stored it without a word on that."""
    spec, longer = (read_study(find("lr-study"), overrides={"epochs": 40}, seeds=seeds) for seeds in (3, 9))
    before = spec.model_copy(update={"final": Final()})
    store.studies.create(before)

    again, more = (store.studies.create(each, extend=True) for each in (spec, longer))

    assert spec.final.mean_of > 1
    assert again.added == 0 < more.added
    assert store.studies.get("lr-study").spec.final == Final()


def test_another_final_value_is_another_study(store: Store) -> None:
    spec = read_study(find("lr-study"))
    store.studies.create(spec)

    with pytest.raises(StudyExists, match=r"final\.mean_of: 1 -> 2"):
        store.studies.create(spec.model_copy(update={"final": Final(mean_of=2)}))


@pytest.mark.parametrize("extend", [False, True])
def test_a_changed_study_is_refused_with_the_difference(busy_store: Store, extend: bool) -> None:
    before = contents(busy_store)

    with pytest.raises(StudyExists, match=r'question: "Which learning rate\?" -> "Another"'):
        busy_store.studies.create(make_study(question="Another"), extend=extend)

    assert contents(busy_store) == before


def test_more_seeds_need_extend(busy_store: Store) -> None:
    with pytest.raises(StudyExists, match="--extend"):
        busy_store.studies.create(make_study(2, 4))


def test_extending_keeps_trials_and_numbers_new_ones_on(busy_store: Store) -> None:
    busy_store.queue.finish(must_claim(busy_store), [], None, result())

    created = busy_store.studies.create(make_study(3, 4), extend=True)

    assert (created.added, created.existing) == (6, 6)
    rows = busy_store.trials.all("s")
    assert [row.number for row in rows] == list(range(12))
    assert [(row.cell, row.seed) for row in rows[:6]] == [(f"lr={lr}", seed) for seed in range(3) for lr in (0.1, 0.05)]
    assert {(row.cell, row.seed) for row in rows[6:]} == {("lr=0.025", seed) for seed in range(4)} | {
        ("lr=0.1", 3),
        ("lr=0.05", 3),
    }
    assert rows[0].value == 0.5
    assert busy_store.studies.get("s").spec == make_study(3, 4)


def test_extending_with_nothing_new_does_nothing(busy_store: Store) -> None:
    assert busy_store.studies.create(make_study(), extend=True) == Created(1, 0, 6)


def test_extending_takes_what_others_reported_and_keeps_the_trials(busy_store: Store) -> None:
    reported = (Reported(cell="lr=0.1", metric=VAL_ACCURACY, value=0.9),)
    new = make_study().model_copy(update={"reported": reported})
    trials = busy_store.trials.all("s")

    with pytest.raises(StudyExists, match="--extend"):
        busy_store.studies.create(new)
    created = busy_store.studies.create(new, extend=True)

    assert created == Created(1, 0, 6, changed=True)
    assert busy_store.studies.get("s").spec == new
    assert busy_store.trials.all("s") == trials
    assert busy_store.studies.create(new, extend=True) == Created(1, 0, 6)


def test_old_cells_take_new_names_and_levels_by_their_settings(busy_store: Store) -> None:
    old = make_study()
    fast, slow = (make_cell(rate, name) for rate, name in ((0.1, "fast"), (0.05, "slow")))
    renamed = Study.from_canonical(old.model_copy(update={"cells": (slow, fast, make_cell(0.7, "wild"))}).canonical())

    created = busy_store.studies.create(renamed, extend=True)

    assert created.added == 3
    assert [row.cell for row in busy_store.trials.all("s")][:2] == ["fast", "slow"]


def create(url: str) -> Created:
    with Store.open(url, upgrade=True) as store:
        return store.studies.create(make_study(4, 25))


def test_two_creates_at_once_make_one_study(empty_url: str) -> None:
    created = at_once(partial(create, empty_url), partial(create, empty_url))

    assert sorted((one.added, one.existing) for one in created) == [(0, 100), (100, 0)]
    with Store.open(empty_url) as store:
        assert [(row.name, row.trials) for row in store.studies.all()] == [("s", 100)]


def test_an_unknown_study_lists_the_known(busy_store: Store) -> None:
    busy_store.studies.create(make_study(1, 1, name="lr-study"))

    with pytest.raises(UnknownStudy, match=r"no study 'lr-stud'\. Did you mean 'lr-study'\? Known: lr-study, s\."):
        busy_store.studies.get("lr-stud")


def test_an_empty_database_says_how_to_begin(store: Store) -> None:
    assert store.studies.all() == []
    with pytest.raises(UnknownStudy, match="cifarsweep create"):
        store.trials.all("s")


def test_studies_are_listed_oldest_first(busy_store: Store) -> None:
    busy_store.studies.create(make_study(1, 2, name="a"))

    rows = busy_store.studies.all()

    assert [(row.name, row.trials, row.question) for row in rows] == [
        ("s", 6, "Which learning rate?"),
        ("a", 2, "Which learning rate?"),
    ]


def test_names_with_quotes_are_only_names(store: Store) -> None:
    for name in ("'; DROP TABLE cs_study; --", "<script>", "x" * 300, "\x00"):
        with pytest.raises(UnknownStudy):
            store.studies.get(name)


def test_what_was_done_is_told_although_the_answer_was_lost(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    imported = make_study(cells=1, seeds=1, name="imported")
    runs = [FinishedRun(imported.cells[0].name, 0, (MetricRow("val/accuracy", 1, 0.5),))]
    cell = make_study().cells[0].name

    def with_a_lost_answer(work: Callable[[], object]) -> object:
        with monkeypatch.context() as patch:
            lose_one_commit(store, patch)
            return work()

    assert with_a_lost_answer(lambda: store.studies.create(make_study())) == Created(1, added=6, existing=0)
    assert with_a_lost_answer(lambda: store.studies.add_seeds("s", [(cell, 99)])) == Created(1, added=1, existing=6)
    assert with_a_lost_answer(lambda: store.studies.add_finished(imported, runs)) == 1
    assert [row.trials for row in store.studies.all()] == [7, 1]
