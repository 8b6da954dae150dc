"""A backup of a database in use is whole, is a database itself, and fills an empty one of either kind again."""

import threading
from pathlib import Path

import pytest
from scenes import contents, make_study, must_claim, result, rows_at, saved_at
from sqlalchemy import Connection, func, inspect, select

from cifarsweep.errors import StoreError
from cifarsweep.spec.types import MetricRow, TrialState
from cifarsweep.store import Store
from cifarsweep.store.schema import checkpoint


@pytest.fixture(params=["read_only_mount", "read_only_mount with WAL", "reader"])
def unwritable(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str | Path:
    """A database with the study `s` that may only be read."""
    name, *journal = request.param.split()
    if journal:
        monkeypatch.setattr("cifarsweep.store.sqlite.safe_wal", lambda version: True)
    found: str | Path = request.getfixturevalue(name)
    return found


def untold(rows: dict[str, list]) -> dict[str, list]:
    """The rows without their word that Optuna knows, which a copy between two kinds of databases begins anew."""
    return {name: [tuple(v for v in row if not isinstance(v, bool)) for row in found] for name, found in rows.items()}


def newest_checkpoint(conn: Connection) -> int:
    return conn.execute(select(func.coalesce(func.max(checkpoint.c.step), 0))).scalar_one()


def work_off(store: Store) -> None:
    """Train the next trial."""
    lease = must_claim(store)
    store.queue.finish(lease, rows_at(lease.step + 1), None, result(lease.step + 1))
    store.sync_optuna()


def opened(path: Path) -> Store:
    return Store.open(f"sqlite:///{path}")


def test_a_backup_holds_every_row_and_is_a_database(used_store: Store, tmp_path: Path) -> None:
    used_store.admin.backup(tmp_path / "copy.db")

    with opened(tmp_path / "copy.db") as copy:
        assert untold(contents(copy)) == untold(contents(used_store))
        assert copy.studies.status("s")[0].trials == used_store.studies.status("s")[0].trials
        copy.sync_optuna()
        assert not [finding for finding in copy.admin.check() if "lease" not in finding]


@pytest.mark.parametrize("name", ["q?x.db", "p%41x.db"])
def test_a_backup_may_have_any_name(used_store: Store, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "copies"
    folder.mkdir()

    used_store.admin.backup(folder / name)

    assert [path.name for path in folder.iterdir()] == [name]
    with Store.open(folder / name, read_only=True) as copy:
        assert len(copy.trials.all("s")) == 6


def test_a_backup_that_finds_no_room_names_the_place_it_was_to_go_to(tmp_path: Path, small_disk: Path) -> None:
    with Store.open(tmp_path / "results.db", upgrade=True) as store:
        store.studies.create(make_study())

        with pytest.raises(StoreError, match=r"small/copy.db: (its disk is full|can't be written)") as refused:
            store.admin.backup(small_disk / "copy.db")
    assert refused.value.exit_code == 2
    assert list(small_disk.iterdir()) == []


def test_who_may_only_read_makes_a_backup_all_the_same(unwritable: str | Path, tmp_path: Path) -> None:
    with Store.open(unwritable, read_only=True) as store:
        assert store.admin.check() == []
        store.admin.backup(tmp_path / "copy.db")

    with opened(tmp_path / "copy.db") as copy:
        assert len(copy.trials.all("s")) == 6


def test_a_backup_goes_on_where_the_original_was(used_store: Store, tmp_path: Path) -> None:
    used_store.admin.backup(tmp_path / "copy.db")

    with opened(tmp_path / "copy.db") as copy:
        for _ in range(4):
            work_off(copy)
        assert copy.studies.status("s")[0].trials[TrialState.DONE] == 5
    assert used_store.studies.status("s")[0].trials[TrialState.DONE] == 1


def test_a_backup_comes_back_into_an_empty_database_of_either_kind(
    used_store: Store, empty_url: str, tmp_path: Path
) -> None:
    used_store.admin.backup(tmp_path / "copy.db")
    empty_url = empty_url.replace("results.db", "restored.db")  # an SQLite file of another name than the first

    with opened(tmp_path / "copy.db") as copy, Store.open(empty_url, upgrade=True) as restored:
        assert restored.admin.restore(copy.admin) == 6
        assert untold(contents(restored)) == untold(contents(used_store))
        restored.studies.create(make_study(1, 1, name="later"))
        work_off(restored)
        assert restored.unsynced() == 0


def test_a_database_with_studies_is_not_restored_into(used_store: Store, tmp_path: Path) -> None:
    used_store.admin.backup(tmp_path / "copy.db")
    before = contents(used_store)

    with opened(tmp_path / "copy.db") as copy, pytest.raises(StoreError, match="holds studies already"):
        used_store.admin.restore(copy.admin)

    assert contents(used_store) == before


def test_a_backup_while_others_write_is_one_moment(busy_store: Store, url: str, tmp_path: Path) -> None:
    lease = must_claim(busy_store)
    enough = threading.Event()

    def write() -> None:
        nonlocal lease
        step = 0
        while not enough.is_set():
            step += 1
            lease = busy_store.queue.write(lease, [MetricRow(name, step, 0.5) for name in "abcdefgh"], saved_at(step))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with Store.open(url) as other:
            for number in range(3):
                other.admin.backup(tmp_path / f"{number}.db")
    finally:
        enough.set()
        writer.join()

    for number in range(3):
        with opened(tmp_path / f"{number}.db") as copy:
            lengths = {len(steps) for steps, _ in copy.metrics.read("s", "abcdefgh").values()} or {0}
            assert lengths == {copy._db.read(newest_checkpoint)}


def test_what_is_there_is_not_overwritten_and_nothing_is_left_beside(used_store: Store, tmp_path: Path) -> None:
    out = tmp_path / "here" / "copy.db"
    out.parent.mkdir()
    used_store.admin.backup(out)
    before = out.read_bytes()

    with pytest.raises(StoreError, match="exists already"):
        used_store.admin.backup(out)

    assert out.read_bytes() == before
    assert list(out.parent.iterdir()) == [out]


def test_a_backup_into_no_folder_is_one_sentence(used_store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="folder does not exist"):
        used_store.admin.backup(tmp_path / "none" / "copy.db")


def test_a_damaged_database_makes_no_backup(tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path}/results.db", upgrade=True) as store:
        store.studies.create(make_study())
        store.queue.write(must_claim(store), [MetricRow("m", step, 0.5) for step in range(5_000)])
    contents = bytearray((tmp_path / "results.db").read_bytes())
    contents[-4096 * 3 : -4096 * 3 + 200] = b"\xff" * 200
    (tmp_path / "results.db").write_bytes(contents)

    with opened(tmp_path / "results.db") as store, pytest.raises(StoreError, match="damaged"):
        store.admin.backup(tmp_path / "copy.db")

    assert not (tmp_path / "copy.db").exists()


def test_a_backup_that_fails_halfway_leaves_nothing(
    used_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)

    with pytest.raises(StoreError, match="No space left"):
        used_store.admin.backup(tmp_path / "copy.db")

    assert not list(tmp_path.glob("*copy.db*"))


def test_optunas_tables_are_made_by_the_next_tell(used_store: Store, tmp_path: Path) -> None:
    used_store.admin.backup(tmp_path / "copy.db")

    with opened(tmp_path / "copy.db") as copy:
        copy.sync_optuna()
        assert copy.unsynced() == 0
        assert copy._db.read(lambda conn: inspect(conn).has_table("trials"))
