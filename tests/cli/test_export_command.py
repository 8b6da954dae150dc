"""`export` as a user types it: what is in the way is refused in one sentence, and is still there afterwards."""

import json
from pathlib import Path

import pytest

REFUSED = [
    (".", "csv", "only a file replaces a file"),
    ("figures", "tensorboard", "only a file replaces a file"),
    ("cifarsweep.db", "csv", "is the database"),
]


@pytest.fixture
def database(call, tmp_path: Path) -> bytes:
    assert call("create", "demo").returncode == 0
    return (tmp_path / "cifarsweep.db").read_bytes()


def test_folders_and_the_database_are_refused_and_stay(call, tmp_path, database):
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "one.png").write_text("drawn by hand")

    for out, kind, says in REFUSED:
        done = call("export", "demo", "--format", kind, "--out", out, "--force")
        assert done.returncode == 2 and says in done.stderr and "Traceback" not in done.stderr

    assert (tmp_path / "cifarsweep.db").read_bytes() == database
    assert (tmp_path / "figures" / "one.png").read_text() == "drawn by hand"
    assert json.loads(call("status", "demo", "--json").stdout)["trials"]["queued"] == 12


@pytest.mark.parametrize("given", [["--metric", "val/loss"], ["--hits", "--metric", "loss"]])
def test_what_is_refused_is_not_begun_on_standard_output(call, database, given):
    done = call("export", "demo", *given, "--out", "-")

    assert (done.returncode, done.stdout) == (2, "") and "loss'" in done.stderr


def test_a_file_that_was_exported_is_replaced_when_forced(call, tmp_path, database):
    (tmp_path / "demo.csv").write_text("mine")

    assert "is there already" in call("export", "demo").stderr
    assert (tmp_path / "demo.csv").read_text() == "mine"

    assert call("export", "demo", "--force").stdout == "demo.csv\n"
    assert (tmp_path / "demo.csv").read_text().startswith("trial,cell")
