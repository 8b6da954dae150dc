"""`db` as a user types it: what may only be read, what is older, and files that are no backups."""

from pathlib import Path

import pytest


@pytest.fixture
def database(cli, tmp_path: Path) -> Path:
    """A file with the demo study, in a folder of its own."""
    (tmp_path / "there").mkdir()
    assert cli("create", "demo", "--db", "sqlite:///there/results.db").returncode == 0
    return tmp_path / "there" / "results.db"


def test_a_file_on_a_read_only_disk_is_checked_and_backed_up(cli, database, set_read_only):
    set_read_only(database.parent)

    checked = cli("db", "check", "--db", f"sqlite:///{database}")
    saved = cli("db", "backup", "copy.db", "--db", f"sqlite:///{database}")

    assert (checked.returncode, saved.returncode) == (0, 0), checked.stderr + saved.stderr
    assert '"queued": 12' in cli("status", "demo", "--json", "--db", "sqlite:///copy.db").stdout
