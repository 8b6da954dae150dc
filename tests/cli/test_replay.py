"""`replay` trains a finished trial alone and compares it with what workers recorded."""

import contextlib
import shutil
import sqlite3

import pytest

pytestmark = pytest.mark.long

CREATE = ["create", "demo", "--as", "small", "--seeds", "1", "--set", "epochs=1", "--set", "model.widths=[4, 8, 8]"]
DATABASE = "cifarsweep.db"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("replay")


@pytest.fixture
def tmp_path(folder):
    """One folder for these tests: the study is trained once, two trials at a time in two slots."""
    return folder


@pytest.fixture
def trained(call, cli, folder):
    if not (folder / DATABASE).exists():
        assert call(*CREATE).returncode == 0
        assert cli("worker", "--cpu", "--slots", "2", "--max-trials", "2").returncode == 0
    return cli


def sql(path, statement):
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)


def test_a_trial_that_shared_the_machine_has_the_bits_that_it_has_alone(trained, folder):
    before = (folder / DATABASE).read_bytes()

    done = trained("replay", "small/0", "--cpu")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "small/0: reproduced" in done.stdout and "rows are the same, bit for bit" in done.stdout
    assert "differs" not in done.stdout
    assert (folder / DATABASE).read_bytes() == before


def test_what_deviates_is_told_by_how_much_and_what_may_explain_it(trained, folder):
    shutil.copy(folder / DATABASE, folder / "changed.db")
    where = "WHERE name = 'val/accuracy' AND trial_id = (SELECT trial_id FROM cs_trial WHERE number = 1)"
    sql(folder / "changed.db", f"UPDATE cs_metric SET value = value + 0.125 {where}")
    sql(folder / "changed.db", "UPDATE cs_worker SET versions = json_set(versions, '$.torch', '2.0.1')")

    done = trained("replay", "small/1", "--cpu", "--db", "sqlite:///changed.db")

    # that nothing else deviates says the same of the trial in the other slot
    assert done.returncode == 1, done.stderr
    assert "small/1: not reproduced. The weights are the same." in done.stdout
    assert "val/accuracy" in done.stdout and "0.125" in done.stdout and "1 of 1" in done.stdout
    assert "train/loss" not in done.stdout and "differs: torch: 2.0.1, 2." in done.stdout


def test_a_trial_that_was_taken_over_is_trained_in_full_and_is_the_same(trained, call):
    again = ["again" if word == "small" else word for word in CREATE]
    assert call(*again).returncode == 0
    worker = trained("worker", "--cpu", "--study", "again", "--max-trials", "1")
    assert "again/0" in worker.stdout + worker.stderr and "reused from small/0" in worker.stdout + worker.stderr

    done = trained("replay", "again/0", "--cpu")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "reused from small/0; now all of its steps are trained" in done.stdout
    assert "again/0: reproduced" in done.stdout and "differs" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["small/2"], "small/2 is queued: only a trial that is done"),
        (["small/99"], "has no trial 99"),
        (["small/0", "--gpu", "0", "--cpu"], "give --gpu or --cpu, not both"),
    ],
)
def test_what_cannot_be_trained_again_is_refused_in_a_sentence(trained, arguments, words):
    done = trained("replay", *arguments)

    assert done.returncode == 2
    assert words in done.stderr and "Traceback" not in done.stderr
