"""The schema that migrations build, and who may open which."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from scenes import administer, at_once, make_study, must_claim, result, rows_at, saved_at
from sqlalchemy import Connection, Engine, create_engine, inspect, text
from support.studies import count_open

from cifarsweep.errors import StoreError
from cifarsweep.store import Store
from cifarsweep.store.migrations import HEAD, REVISIONS, shipped_folder
from cifarsweep.store.schema import PREFIX, VERSION_TABLE, metadata
from cifarsweep.store.study_rows import cell_row
from cifarsweep.store.url import parse_url


@pytest.fixture
def engine(empty_url: str) -> Iterator[Engine]:
    made = create_engine(parse_url(empty_url))
    yield made
    made.dispose()


def differences(engine: Engine) -> list[Any]:
    options = {
        "compare_type": True,
        "compare_server_default": True,
        "include_name": lambda name, kind, parents: kind != "table" or name.startswith(PREFIX),
    }
    with engine.connect() as conn:
        return compare_metadata(MigrationContext.configure(conn, opts=options), metadata)


def optuna_tables(engine: Engine) -> None:
    storage = optuna.storages.RDBStorage(engine.url.render_as_string(hide_password=False))
    storage.scoped_session.remove()
    storage.engine.dispose()


def test_migrations_build_the_declared_schema(empty_url: str, engine: Engine) -> None:
    Store.open(empty_url, upgrade=True).close()

    assert differences(engine) == []


def test_the_comparison_can_fail(empty_url: str, engine: Engine) -> None:
    Store.open(empty_url, upgrade=True).close()
    with engine.begin() as conn:
        conn.execute(text("ALTER TABLE cs_trial ADD COLUMN surprise INTEGER"))

    assert [difference[0] for difference in differences(engine)] == ["remove_column"]


def test_sqlite_keeps_metrics_in_their_key(tmp_path: Any) -> None:
    with Store.open(f"sqlite:///{tmp_path / 'results.db'}", upgrade=True) as store:
        query = text("SELECT sql FROM sqlite_master WHERE name = 'cs_metric'")
        sql = store._db.read(lambda conn: conn.execute(query).scalar_one())

    assert "WITHOUT ROWID" in sql


@pytest.mark.parametrize("ours_first", [True, False])
def test_our_tables_and_optunas_live_side_by_side(empty_url: str, engine: Engine, ours_first: bool) -> None:
    if not ours_first:
        optuna_tables(engine)
    with Store.open(empty_url, upgrade=True) as store:
        store.studies.create(make_study(1, 1))
    optuna_tables(engine)
    Store.open(empty_url, upgrade=True).close()

    tables = set(inspect(engine).get_table_names())
    assert {"alembic_version", VERSION_TABLE, "cs_trial", "trials", "studies"} <= tables
    assert differences(engine) == []
    with Store.open(empty_url) as store:
        assert count_open(store) == 1


def test_revisions_are_listed_completely() -> None:
    scripts = ScriptDirectory(str(shipped_folder()))

    assert [script.revision for script in scripts.walk_revisions()][::-1] == list(REVISIONS)
    assert scripts.get_current_head() == HEAD


@pytest.fixture
def old_url(empty_url: str, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database that the first version made, with a study in it."""
    with monkeypatch.context() as patched:
        patched.setattr("cifarsweep.store.migrations.HEAD", REVISIONS[0])
        Store.open(empty_url, upgrade=True).close()
    old_contents(engine)
    return empty_url


def old_contents(engine: Engine) -> None:
    """A study as the first version wrote it."""
    study = make_study(1, 1)
    row = cell_row(1, 0, study.cells[0])
    with engine.begin() as conn:
        conn.execute(
            text("INSERT INTO cs_study (study_id, name, sha256, spec, created_at) VALUES (1, 's', :sha, :spec, :now)"),
            {"sha": study.sha256, "spec": study.canonical(), "now": "2026-01-01 00:00:00"},
        )
        columns = ":study_id, :position, :name, :levels, :settings, :settings_sha256"
        conn.execute(text(f"INSERT INTO cs_cell VALUES (1, {columns})"), row)
        names = "trial_id, study_id, cell_id, number, seed, state"
        conn.execute(text(f"INSERT INTO cs_trial ({names}) VALUES (1, 1, 1, 0, 0, 'queued')"))  # noqa: S608


def set_version(url: str, version: str) -> None:
    def change(conn: Connection) -> None:
        conn.execute(text("UPDATE cifarsweep_alembic_version SET version_num = :version"), {"version": version})

    with Store.open(url) as store:
        store._db.write(change)


@pytest.mark.parametrize("upgrade", [False, True])
def test_a_newer_database_is_refused_and_left_alone(empty_url: str, engine: Engine, upgrade: bool) -> None:
    Store.open(empty_url, upgrade=True).close()
    set_version(empty_url, "9001")

    with pytest.raises(StoreError, match="newer version of cifarsweep"):
        Store.open(empty_url, upgrade=upgrade)

    assert differences(engine) == []


def test_an_older_database_asks_for_the_upgrade_and_before_it_for_a_copy_that_can_be_made(old_url: str) -> None:
    with pytest.raises(StoreError, match="cifarsweep db upgrade") as refused:
        Store.open(old_url)

    if old_url.startswith("sqlite"):
        assert f"--db {old_url}" in str(refused.value) and "db backup" in str(refused.value)
    else:
        assert "pg_dump" in str(refused.value)


def test_an_older_file_is_backed_up_as_it_is(old_url: str, engine: Engine, tmp_path: Path) -> None:
    if not old_url.startswith("sqlite"):
        with pytest.raises(StoreError, match="pg_dump"):
            Store.open(old_url, older=True, read_only=True)
        return

    with Store.open(old_url, older=True, read_only=True) as store:
        store.admin.backup(tmp_path / "copy.db")

    with pytest.raises(StoreError, match=f"older version .{REVISIONS[0]}.*--db sqlite:///{tmp_path}/copy.db"):
        Store.open(tmp_path / "copy.db", read_only=True)
    with Store.open(tmp_path / "copy.db", upgrade=True) as copy:
        work_off(copy)


def test_who_upgrades_a_database_hears_of_which_version_it_was(old_url: str) -> None:
    found = []
    for _ in range(2):
        with Store.open(old_url, upgrade=True) as store:
            found.append(store.upgraded_from)

    assert found == [REVISIONS[0], None]


def test_without_leave_to_create_an_empty_database_stays_empty(empty_url: str, engine: Engine) -> None:
    with pytest.raises(StoreError, match=r"there is no such database|holds no studies"):
        Store.open(empty_url, upgrade=True, create=False)

    assert empty_url.startswith("sqlite") or inspect(engine).get_table_names() == []


def test_a_new_database_was_of_no_version(empty_url: str) -> None:
    with Store.open(empty_url, upgrade=True) as store:
        assert store.upgraded_from is None


def test_a_database_of_the_first_version_is_upgraded_with_its_contents(old_url: str, engine: Engine) -> None:
    with Store.open(old_url, upgrade=True) as store:
        work_off(store)

    assert differences(engine) == []


def test_settings_that_were_made_up_for_imported_trials_go(old_url: str, engine: Engine) -> None:
    """An older version gave them its defaults; those of other studies stay."""
    with engine.begin() as conn:
        kept = conn.execute(text("SELECT spec FROM cs_study")).scalar_one()
        spec = json.loads(kept) | {"name": "old", "imported": True}
        values = {"spec": json.dumps(spec, sort_keys=True, separators=(",", ":"))}
        conn.execute(
            text(
                "INSERT INTO cs_study (study_id, name, sha256, spec, created_at) "
                "VALUES (7, 'old', 'x', :spec, '2026-01-01 00:00:00')"
            ),
            values,
        )
        columns = "cell_id, study_id, position, name, levels, settings, settings_sha256"
        conn.execute(
            text(
                f"INSERT INTO cs_cell ({columns}) "  # noqa: S608
                "SELECT cell_id + 100, 7, position, name, levels, settings, settings_sha256 FROM cs_cell"
            )
        )

    with Store.open(old_url, upgrade=True) as store:
        old = store.studies.get("old")
        assert old.spec.imported and {cell.own_settings for cell in old.spec.cells} == {None}
        assert old.sha256 == old.spec.sha256
    with engine.begin() as conn:
        assert conn.execute(text("SELECT DISTINCT settings FROM cs_cell WHERE study_id = 7")).all() == [("null",)]
        assert conn.execute(text("SELECT spec FROM cs_study WHERE study_id <> 7")).scalar_one() == kept


def old_attempt(conn: Connection, number: int, worker: str, versions: str, began: str) -> None:
    """An attempt at the one trial, as the first version wrote it."""
    names = "worker_id, host, pid, device, slots, versions, started_at, clock, beat"
    conn.execute(
        text(f"INSERT INTO cs_worker ({names}) VALUES (:worker, 'h', 1, 'CPU', 1, :versions, :began, 'c', 0)"),  # noqa: S608
        {"worker": worker, "versions": versions, "began": began},
    )
    names = "trial_id, attempt, worker_id, started_at, first_step"
    conn.execute(
        text(f"INSERT INTO cs_attempt ({names}) VALUES (1, :number, :worker, :began, 0)"),  # noqa: S608
        {"number": number, "worker": worker, "began": began},
    )


def test_an_older_database_says_which_images_its_trials_trained_on_first(old_url: str, engine: Engine) -> None:
    with engine.begin() as conn:
        old_attempt(conn, 1, "broken", "no JSON", "2026-01-01 00:00:00")
        old_attempt(conn, 2, "other", '{"data cifar10": "%s"}' % ("c" * 64), "2026-01-02 00:00:00")
        old_attempt(conn, 3, "first", '{"data digits": "%s", "torch": "2"}' % ("a" * 64), "2026-01-03 00:00:00")
        old_attempt(conn, 4, "second", '{"data digits": "%s"}' % ("b" * 64), "2026-01-04 00:00:00")

    Store.open(old_url, upgrade=True).close()

    with engine.connect() as conn:
        found = conn.execute(text("SELECT study_id, dataset, sha256 FROM cs_study_data")).all()
    assert [tuple(row) for row in found] == [(1, "digits", "a" * 64)]


def open_and_upgrade(url: str) -> list[str]:
    with Store.open(url, upgrade=True) as store:
        return store.admin.check()


def test_two_upgrades_at_once_make_one_schema(empty_url: str, engine: Engine) -> None:
    findings = at_once(partial(open_and_upgrade, empty_url), partial(open_and_upgrade, empty_url))

    assert findings == [[], []]
    assert differences(engine) == []


def test_a_worker_needs_no_right_to_make_tables(new_postgres: str) -> None:
    Store.open(new_postgres, upgrade=True).close()
    name = new_postgres.split("?")[0].rsplit("/", 1)[1]
    administer(
        new_postgres,
        f"CREATE ROLE {name} LOGIN",
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {name}",
        f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {name}",
    )
    with Store.open(new_postgres) as store:
        store.studies.create(make_study(1, 1))

    try:
        with Store.open(new_postgres.replace("//postgres:@", f"//{name}@")) as store:
            work_off(store)
    finally:
        administer(new_postgres, f"DROP OWNED BY {name}", f"DROP ROLE {name}")


def work_off(store: Store) -> None:
    lease = store.queue.write(must_claim(store), rows_at(1), saved_at(1))
    store.queue.finish(lease, rows_at(2), None, result(2))
    assert store.sync_optuna() == 1
    assert store.admin.check() == []


def test_workers_that_vanished_before_the_upgrade_are_no_crashes_after_it(
    empty_url: str, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("cifarsweep.store.migrations.HEAD", "0007")
        Store.open(empty_url, upgrade=True).close()
    old_contents(engine)
    # The first crash lies before a checkpoint: the common count of that time is of the last four.
    ends = ["crashed", "taken_over", "crashed", "released", "taken_over", "taken_over"]
    with engine.begin() as conn:
        for number, end in enumerate(ends, 1):
            conn.execute(
                text("INSERT INTO cs_attempt VALUES (1, :number, 'w', :now, :now, :end, 0, NULL, NULL, NULL, NULL)"),
                {"number": number, "end": end, "now": "2026-01-01 00:00:00"},
            )
        conn.execute(text("UPDATE cs_trial SET crashes = 4, attempt = 6"))

    Store.open(empty_url, upgrade=True).close()

    with engine.connect() as conn:
        assert tuple(conn.execute(text("SELECT crashes, takeovers FROM cs_trial")).one()) == (1, 3)
