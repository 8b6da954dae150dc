"""`db` as a user types it: what may only be read, what is older, and files that are no backups."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from cifarsweep.store import Store
from cifarsweep.store.migrations import REVISIONS


@pytest.fixture
def database(call, tmp_path: Path) -> Path:
    """A file with the demo study, in a folder of its own."""
    (tmp_path / "there").mkdir()
    assert call("create", "demo", "--db", "sqlite:///there/results.db").returncode == 0
    return tmp_path / "there" / "results.db"


def test_a_file_on_a_read_only_disk_is_checked_and_backed_up(call, database, set_read_only):
    set_read_only(database.parent)

    checked = call("db", "check", "--db", f"sqlite:///{database}")
    saved = call("db", "backup", "copy.db", "--db", f"sqlite:///{database}")

    assert (checked.returncode, saved.returncode) == (0, 0), checked.stderr + saved.stderr
    assert '"queued": 12' in call("status", "demo", "--json", "--db", "sqlite:///copy.db").stdout


@pytest.fixture
def old_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that the first version made."""
    with monkeypatch.context() as patched:
        patched.setattr("cifarsweep.store.migrations.HEAD", REVISIONS[0])
        Store.open(tmp_path / "old.db", upgrade=True).close()
    return tmp_path / "old.db"


def test_an_older_file_is_backed_up_and_the_copy_says_that_it_is_older(call, old_database, tmp_path):
    saved = call("db", "backup", "copy.db", "--db", f"sqlite:///{old_database}")
    restored = call("db", "restore", "copy.db", "--db", "sqlite:///new.db")

    assert saved.returncode == 0, saved.stderr
    assert restored.returncode == 2 and f"cifarsweep db upgrade --db sqlite:///{tmp_path}/copy.db" in restored.stderr
    assert not (tmp_path / "new.db").exists()


def test_a_study_in_an_older_file_says_that_the_file_was_upgraded(call, old_database):
    first = call("create", "demo", "--db", f"sqlite:///{old_database}")
    again = call("create", "demo", "--db", f"sqlite:///{old_database}")

    assert first.stdout.count(f"old.db: was of an older version ({REVISIONS[0]}) and is upgraded") == 1
    assert "upgraded" not in again.stdout


@pytest.mark.parametrize("spoil", ["text", "half", "other"])
def test_a_file_that_is_no_backup_is_named_as_that(call, database, tmp_path, spoil):
    file = tmp_path / "saved.db"
    if spoil == "text":
        file.write_text("Dear diary, " * 1000)
    elif spoil == "half":
        file.write_bytes(database.read_bytes()[: database.stat().st_size // 2])
    else:
        with closing(sqlite3.connect(file)) as conn:
            conn.execute("CREATE TABLE songs (title TEXT)")

    done = call("db", "restore", "saved.db", "--db", "sqlite:///new.db")

    assert done.returncode == 2
    assert done.stderr.startswith("error: saved.db: is no backup, or not a whole one") and "db backup" in done.stderr
    assert "--db" not in done.stderr and not (tmp_path / "new.db").exists()


def test_a_backup_into_a_link_that_leads_nowhere_is_refused(call, database, tmp_path):
    (tmp_path / "link.db").symlink_to("nowhere.db")

    done = call("db", "backup", "link.db", "--db", f"sqlite:///{database}")

    assert done.returncode == 2 and "link.db: exists already" in done.stderr
    assert not (tmp_path / "nowhere.db").exists()
