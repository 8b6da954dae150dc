"""`doctor` looks at everything, names who is in the way, and shows no password."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

SECRET = "tr0ub4dor"


@pytest.fixture
def looked(call, tmp_path: Path):
    """What `doctor --json` finds, by subject, and its exit code."""

    def _look(url: str) -> tuple[dict[str, dict[str, str]], int]:
        done = call("doctor", "--json", "--db", url)
        return {finding["subject"]: finding for finding in json.loads(done.stdout)}, done.returncode

    return _look


@pytest.fixture
def database(call, tmp_path: Path) -> Path:
    assert call("db", "upgrade").returncode == 0
    return tmp_path / "cifarsweep.db"


def test_all_is_well(looked, database):
    found, code = looked(f"sqlite:///{database}")

    assert code == 0, found
    subjects = {
        "cifarsweep",
        "packages",
        "processor",
        "checkpoints",
        "file system",
        "lock",
        "database",
        "clock",
        "leases",
    }
    assert {found[subject]["level"] for subject in subjects} == {"ok"}
    assert "torch" in found["packages"]["text"]


def test_the_table_has_a_line_for_each(call, database):
    done = call("doctor")

    assert done.returncode == 0
    assert len(done.stdout.splitlines()) >= 9
    assert {line.split()[0] for line in done.stdout.splitlines()} <= {"ok", "warn"}


def test_who_holds_the_lock_is_named_without_its_arguments(looked, database, tmp_path):
    script = "c = sqlite3.connect(sys.argv[1]); c.execute('BEGIN IMMEDIATE'); print(flush=True); input()"
    command = [sys.executable, "-c", f"import sqlite3, sys; {script}", str(database), SECRET]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        found, code = looked(f"sqlite:///{database}")
        holder.kill()

    assert code == 1 and found["lock"]["level"] == "fail"
    assert f"pid {holder.pid}" in found["lock"]["text"] and SECRET not in str(found)


def test_a_lease_that_ran_out_is_a_warning(looked, database, call):
    assert call("create", "demo").returncode == 0
    with closing(sqlite3.connect(database)) as conn, conn:
        conn.execute("UPDATE cs_trial SET state = 'leased', clock = 'another', lease_until = 0 WHERE number = 3")
    conn.close()

    found, code = looked(f"sqlite:///{database}")

    assert code == 0 and found["leases"]["level"] == "warn"
    assert "demo/3" in found["leases"]["text"]


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("sqlite:///none.db", "no such database"),
        (f"postgresql://ann:{SECRET}@127.0.0.1:1/results", "can't be reached"),
        (f"mysql://ann:{SECRET}@host/db", "not supported"),
        (f"nonsense {SECRET}", "that is no database URL"),
    ],
)
def test_a_database_that_is_not_there_fails_alone(looked, url, sentence):
    found, code = looked(url)

    assert code == 1
    assert found["database"]["level"] == "fail" and sentence in found["database"]["text"]
    assert found["packages"]["level"] == "ok" and SECRET not in str(found)


def test_a_data_folder_of_nobody_fails_alone(call, database):
    done = call("doctor", "--json", CIFARSWEEP_DATA="~no-such-user-here")

    found = {finding["subject"]: finding for finding in json.loads(done.stdout)}
    assert done.returncode == 1 and "no-such-user-here" in found["data sets"]["text"]
    assert found["database"]["level"] == "ok"


def test_a_folder_for_checkpoints_that_is_not_there_is_not_made(call, tmp_path):
    before = call("doctor", "--json", "--db", "sqlite:///none.db")
    named = call("doctor", "--json", "--db", "sqlite:///none.db", "--artifacts", "new/deep")

    assert list(tmp_path.iterdir()) == []
    for done, folder in ((before, "none.checkpoints"), (named, "new/deep")):
        found = {finding["subject"]: finding for finding in json.loads(done.stdout)}
        assert found["checkpoints"]["level"] == "ok" and f"{tmp_path}/{folder}" in found["checkpoints"]["text"]


def test_a_folder_for_checkpoints_that_can_not_be_made_fails(call, tmp_path):
    (tmp_path / "file").touch()

    done = call("doctor", "--json", "--artifacts", "file/below")

    found = {finding["subject"]: finding for finding in json.loads(done.stdout)}
    assert found["checkpoints"]["level"] == "fail"
    assert f"{tmp_path}/file/below is not there" in found["checkpoints"]["text"]
