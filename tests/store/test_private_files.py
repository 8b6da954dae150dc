"""Who may read a database and what lies beside it, and what is left where one can't be made."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from scenes import make_study

from cifarsweep.store import Store
from cifarsweep.store.optuna_view.storage import LockHeld, file_lock


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir() if path.is_file()}


def filled(path: Path) -> None:
    with Store.open(path, upgrade=True) as store:
        store.studies.create(make_study())
        with file_lock(store._db.path):
            pass


def test_a_new_database_its_journal_its_lock_and_its_backup_are_its_owners(tmp_path: Path) -> None:
    filled(tmp_path / "r.db")
    with Store.open(tmp_path / "r.db", read_only=True) as store:
        store.admin.backup(tmp_path / "copy.db")

    found = modes(tmp_path)
    assert {"r.db", "r.db.lock", "copy.db"} <= set(found) and set(found.values()) == {0o600}


def test_a_database_that_is_there_keeps_its_mode_and_gives_it_to_what_lies_beside_it(tmp_path: Path) -> None:
    (tmp_path / "r.db").touch()
    (tmp_path / "r.db").chmod(0o644)

    filled(tmp_path / "r.db")

    assert set(modes(tmp_path).values()) == {0o644}


def test_a_folder_that_a_group_writes_is_shared_with_it(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o2770)
    os.umask(0o007)

    filled(tmp_path / "shared" / "r.db")

    assert set(modes(tmp_path / "shared").values()) == {0o660}


def test_a_database_and_a_link_to_it_have_one_lock(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    filled(tmp_path / "r.db")
    (tmp_path / "elsewhere" / "link.db").symlink_to(tmp_path / "r.db")
    file, link = tmp_path / "r.db", tmp_path / "elsewhere" / "link.db"

    with file_lock(file), pytest.raises(LockHeld), file_lock(link):
        pass

    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["link.db"]


CROWDED = """
import resource, sys
from pathlib import Path
from cifarsweep.errors import StoreError
from cifarsweep.store import Store
resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
try:
    Store.open(Path(sys.argv[1]), upgrade=True)
except StoreError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits of a process as Linux has them")
def test_a_new_database_for_which_there_is_no_room_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CROWDED, str(tmp_path / "r.db")]

    said = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout

    assert "r.db: " in said
    assert list(tmp_path.iterdir()) == []


def test_an_empty_file_that_was_there_stays(tmp_path: Path) -> None:
    (tmp_path / "r.db").touch()
    command = [sys.executable, "-c", CROWDED, str(tmp_path / "r.db")]

    subprocess.run(command, capture_output=True, timeout=120, check=True)

    assert (tmp_path / "r.db").exists()
