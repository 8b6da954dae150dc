"""What people note, on both databases: written once, read in order, deleted, and refused where it is no note."""

import pytest
from scenes import lose_one_commit, make_study

from cifarsweep.errors import SpecError, StoreError, UnknownStudy
from cifarsweep.store import Store
from cifarsweep.store.fingerprints import fingerprints
from cifarsweep.store.notes import LONGEST


def test_notes_of_a_study_and_of_its_trials_come_in_order(busy_store: Store) -> None:
    busy_store.studies.create(make_study(name="other"))
    numbers = [busy_store.notes.add("s", about, text) for about, text in ((None, "first"), (3, " second\nline "))]
    busy_store.notes.add("other", None, "of another")

    found = busy_store.notes.of("s")

    assert [(one.note, one.trial, one.text) for one in found] == [
        (numbers[0], None, "first"),
        (numbers[1], 3, "second\nline"),
    ]
    assert found[0].written_at <= found[1].written_at


@pytest.mark.parametrize("happened", [True, False])
def test_a_note_is_there_once_whatever_happens_to_its_commit(
    busy_store: Store, monkeypatch: pytest.MonkeyPatch, happened: bool
) -> None:
    lose_one_commit(busy_store, monkeypatch, happened=happened)

    first = busy_store.notes.add("s", 1, "once")

    assert busy_store.notes.add("s", 1, "once") == first
    assert len(busy_store.notes.of("s")) == 1


@pytest.mark.parametrize("happened", [True, False])
def test_a_note_is_deleted_and_is_gone_then(busy_store: Store, monkeypatch: pytest.MonkeyPatch, happened: bool) -> None:
    number = busy_store.notes.add("s", None, "wrong")
    lose_one_commit(busy_store, monkeypatch, happened=happened)

    busy_store.notes.delete("s", number)

    assert busy_store.notes.of("s") == ()
    with pytest.raises(StoreError, match=f"no note {number}; `cifarsweep note s` lists"):
        busy_store.notes.delete("s", number)


def test_a_note_of_another_study_is_not_deleted(busy_store: Store) -> None:
    busy_store.studies.create(make_study(name="other"))
    number = busy_store.notes.add("other", None, "mine")

    with pytest.raises(StoreError, match="no note"):
        busy_store.notes.delete("s", number)


@pytest.mark.parametrize("text", ["", "  \n", "x" * (LONGEST + 1), "a\x1b[31m", "a\0b", "\ud800"])
def test_what_is_no_note_is_refused(busy_store: Store, text: str) -> None:
    with pytest.raises(SpecError, match="the note"):
        busy_store.notes.add("s", None, text)

    assert busy_store.notes.of("s") == ()


def test_a_note_about_nothing_is_refused(busy_store: Store) -> None:
    with pytest.raises(UnknownStudy):
        busy_store.notes.add("gone", None, "x")
    with pytest.raises(StoreError, match="its trials are 0 to 5"):
        busy_store.notes.add("s", 6, "x")


def test_who_watches_learns_of_a_note(busy_store: Store) -> None:
    """Given a stamp of a study, when a note comes, goes, and another comes, then each moment has its stamp."""

    def stamp() -> str:
        return busy_store._db.read(fingerprints)["s"]

    before = stamp()
    number = busy_store.notes.add("s", None, "x")
    noted = stamp()
    busy_store.notes.delete("s", number)

    gone = stamp()
    busy_store.notes.add("s", None, "y")

    assert gone == before and len({before, noted, stamp()}) == 3
