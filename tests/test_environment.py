"""A process that needs no database learns neither where it is nor its password: not by environment or arguments."""

import re
import sys
from multiprocessing.connection import wait
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cifarsweep.environment import without_database
from cifarsweep.worker import precheck
from cifarsweep.worker.child import program
from cifarsweep.worker.child.process import ChildProcess, child_command

SECRET = "tr0ub4dor"
URL = f"postgresql://ann:{SECRET}@db.example/results"
#: As PostgreSQL 17 and 18 list them.
LIBPQ = """PGHOST PGHOSTADDR PGPORT PGDATABASE PGUSER PGPASSWORD PGPASSFILE PGREQUIREAUTH PGCHANNELBINDING PGSERVICE
PGSERVICEFILE PGOPTIONS PGAPPNAME PGSSLMODE PGREQUIRESSL PGSSLCOMPRESSION PGSSLCERT PGSSLKEY PGSSLCERTMODE PGSSLROOTCERT
PGSSLCRL PGSSLCRLDIR PGSSLSNI PGREQUIREPEER PGSSLMINPROTOCOLVERSION PGSSLMAXPROTOCOLVERSION PGGSSENCMODE PGKRBSRVNAME
PGGSSLIB PGGSSDELEGATION PGCONNECT_TIMEOUT PGCLIENTENCODING PGTARGETSESSIONATTRS PGLOADBALANCEHOSTS PGDATESTYLE PGTZ
PGGEQO PGSYSCONFDIR PGLOCALEDIR PGSSLNEGOTIATION PGMINPROTOCOLVERSION PGMAXPROTOCOLVERSION"""
PRIVATE = {
    **dict.fromkeys(LIBPQ.split(), "x"),
    "CIFARSWEEP_DB": URL,
    "DATABASE_URL": "postgres://db.example/results",
    "SQLALCHEMY_DATABASE_URI": "sqlite:///results.db",
    "POSTGRES_PASSWORD": "another-one",
    "DB_PASS": "a-third",
    "RESULTS": "postgresql+psycopg://ann@db.example/results",
    "CONNECTION": f"host=db.example dbname=results password={SECRET}",
    "TOLD_TWICE": SECRET,
    "AND_AGAIN": "another-one",
}
KEPT = {
    "PATH": "/usr/bin",
    "HOME": "/home/ann",
    "CIFARSWEEP_DATA": "/data",
    "CIFARSWEEP_LEASE": "60",
    "CUDA_VISIBLE_DEVICES": "0",
    "OMP_NUM_THREADS": "1",
    "AWS_SECRET_ACCESS_KEY": "needed for checkpoints",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9000",
    "HF_HOME": "/cache",
    "PG": "is no variable of libpq",
    "DBUS_SESSION_BUS_ADDRESS": "unix:path=/run/user/1000/bus",
    "EMPTY": "",
}


def test_what_leads_to_a_database_is_left_out_and_the_rest_stays():
    assert without_database(PRIVATE | KEPT) == KEPT


def test_a_password_written_with_escapes_is_found_under_another_name():
    url = "postgresql://ann:p%40ss%2Fword@db.example/results"

    assert without_database({"CIFARSWEEP_DB": url, "ESCAPED": "p%40ss%2Fword", "PLAIN": "p@ss/word"}) == {}


def test_a_password_of_the_command_line_is_found_under_any_name(monkeypatch):
    monkeypatch.setattr("sys.argv", ["cifarsweep", "worker", f"--db={URL}", "--artifacts=s3://me:needed@bucket"])
    kept = {"HOME": "/home/ann", "AWS_SECRET_ACCESS_KEY": "needed"}

    assert without_database({"MINE": SECRET, **kept}) == kept


@given(st.dictionaries(st.from_regex(r"[A-Z_]{1,12}", fullmatch=True), st.text(max_size=20)))
def test_nothing_is_added_or_changed(environ):
    assert without_database(environ).items() <= environ.items()


@pytest.fixture
def private_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in PRIVATE.items():
        monkeypatch.setenv(name, value)


def told(pid: int) -> str:
    """All that the system shows of a process: its environment and its arguments."""
    return "\n".join(Path(f"/proc/{pid}/{name}").read_text().replace("\0", "\n") for name in ("environ", "cmdline"))


def assert_it_knows_no_database(text: str) -> None:
    assert SECRET not in text and "db.example" not in text and "CIFARSWEEP_DB" not in text
    assert not re.search(r"^PG[A-Z]", text, re.MULTILINE)
    assert "CIFARSWEEP_DATA=/data" in text, "what it needs is there"


@pytest.mark.usefixtures("private_environment")
def test_a_training_process_knows_no_database(monkeypatch):
    monkeypatch.setenv("CIFARSWEEP_DATA", "/data")
    child = ChildProcess([sys.executable, "-c", "print(flush=True); input()", *child_command("cpu")[1:]])
    try:
        wait([child.fileno()])
        assert_it_knows_no_database(told(child.pid))
    finally:
        child.kill()


@pytest.mark.usefixtures("private_environment")
def test_a_process_that_is_asked_something_knows_no_database(monkeypatch, tmp_path):
    monkeypatch.setenv("CIFARSWEEP_DATA", "/data")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "tells.py").write_text("print(open('/proc/self/environ').read(), open('/proc/self/cmdline').read())")

    assert_it_knows_no_database(precheck.run_module("tells").replace("\0", "\n"))


@pytest.mark.parametrize(("given", "seen"), [(None, "PCI_BUS_ID"), ("FASTEST_FIRST", "FASTEST_FIRST")])
def test_a_training_process_numbers_gpus_as_nvidia_smi_does_unless_it_is_told_otherwise(monkeypatch, given, seen):
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    if given:
        monkeypatch.setenv("CUDA_DEVICE_ORDER", given)
    child = ChildProcess([sys.executable, "-c", "print(flush=True); input()"])
    try:
        wait([child.fileno()])
        assert f"CUDA_DEVICE_ORDER={seen}" in told(child.pid)
    finally:
        child.kill()


def test_every_process_that_is_started_says_what_it_knows():
    """Workers alone need the database, and what starts them: whoever else starts a process passes an environment.

    The child that runs programs makes theirs once, and passes it on. Peers of a child have its environment, which is
    made for it.
    """
    places = Path(precheck.__file__).parents[1].rglob("*.py")
    starts = {p.name: p.read_text() for p in places if re.search(r"subprocess\.(run|Popen)\(", p.read_text())}

    assert "process.py" in starts and "check_process.py" in starts
    assert "program_environment(without_database(), " in Path(program.__file__).read_text()
    for name in starts.keys() - {
        "local.py",
        "attendant.py",
        "ray_actor.py",
        "guard.py",
        "peers.py",
        "program_process.py",
        "program_versions.py",
    }:
        calls = len(re.findall(r"subprocess\.(run|Popen|check_output|call)\(", starts[name]))
        assert calls == len(re.findall(r"env=(without_database|child_environment)\(\)", starts[name])), name
