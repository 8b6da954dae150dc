"""What a user gets for bad input: one clear sentence, exit code 2, nothing written."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

STUDY = """
name = "tiny"
question = "Which rate?"
[settings]
dataset = "digits"
epochs = 1
[factors]
"optimizer.lr" = [1e-3, 1e-4]
"""


def refused(done, *says: str) -> None:
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert all(word in done.stderr for word in says), done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["create", "lr-studdy"], ["lr-studdy", "Did you mean 'lr-study'?", "demo"]),
        (["create", "nowhere/x.toml"], ["nowhere/x.toml", "no such study file"]),
        (["create", "demo", "--set", "epoch=1"], ["epoch", "Did you mean 'epochs'?"]),
        (["create", "demo", "--set", "batch_size=5000"], ["demo", "batch_size: 5,000", "1,154 training images"]),
        (["create", "demo", "--set", "epochs=often"], ["epochs", "whole number", "often"]),
        (["create", "demo", "--set", "optimizer.lr=1"], ["optimizer.lr", "varies it"]),
        (["create", "demo", "--set", "epochs"], ["key=value"]),
        (["create", "demo", "--set", "dataset=cifr10"], ["cifr10", "cifar10"]),
        (["create", "demo", "--set", "dataset=my-images"], ["my-images", "cifarsweep data import"]),
        (["create", "demo", "--seeds", "0"], ["seeds"]),
        (["create", "/"], ["'/': is a folder", "a .toml file"]),
        (["create", "/dev/null"], ["'/dev/null': is a device", "a .toml file"]),
        (["create", "x" * 5000 + ".toml"], ["File name too long"]),
        (["create", "demo", "--as", "<script>alert(1)</script>"], ["can't be a name"]),
        (["create", "demo", "--as", "a" * 300], ["can't be a name"]),
        (["create", "demo", "--db", "nonsense"], ["no database URL", "sqlite:///"]),
        (["create", "demo", "--db", "mysql://u:secret@h/d"], ["mysql"]),
        (["create", "demo", "--db", "sqlite:////no/such/folder/x.db"], ["/no/such/folder"]),
        (["create", "demo", "--db", "postgresql://u:secret@127.0.0.1:9/d"], ["127.0.0.1"]),
        (["worker", "--cpu"], ["cifarsweep.db", "cifarsweep create"]),
        (["worker", "--cpu", "--gpu", "0"], ["not both"]),
        (["worker", "--slots", "0"], ["slots"]),
        (["worker", "--cpu", "--slots", "9" * 5000], ["slots"]),
        (["launch", "--cpus", "1000000000"], ["--cpus", "1024"]),
        (["launch", "--slurm", "--workers", "1000000000"], ["--workers", "100000"]),
        (["create", "demo", "--seeds", "1000000000"], ["1,000,000,000 trials", "at most 100,000"]),
        (["create", "demo", "--set", "epochs=1", "--set", "epochs=2"], ["--set", "epochs already"]),
        (["create", "demo", "--set", "a." * 50_000 + "b=1"], ["more than 16 parts"]),
        (["import-tensorboard", ".", "--as", "x", "--rename", "a=b", "--rename", "a=c"], ["'a' is given twice"]),
        (["worker", "--save-every", "nan"], ["--save-every"]),
        (["launch", "--cpus", "1", "--save-every", "2e9"], ["--save-every", "1000000000"]),
        (["status"], ["cifarsweep.db"]),
        (["status", "--watch", "--json"], ["--watch", "--json", "one of them"]),
        (["report"], ["cifarsweep.db"]),
        (["show", "demo"], ["STUDY/NUMBER"]),
        (["pause", "/3"], ["'/3': the study's name is missing", "demo/3"]),
        (["pause", ""], ["the study's name is empty"]),
        (["db", "check"], ["cifarsweep.db"]),
        (["db", "restore", "nowhere.db"], ["nowhere.db: there is no file that can be read", "db backup"]),
        (["data", "import", "mine", "nowhere"], ["nowhere"]),
        (["data", "import", "../x", "nowhere"], ["../x"]),
        (["data", "import", "mine", ".", "--size", "300"], ["--size", "256"]),
        (["data", "import", "mine", ".", "--fit", "squeeze"], ["--fit", "stretch", "crop", "pad"]),
        (["data", "import", "mine", ".", "--test", "20"], ["--test: 20 is no part", "0.2"]),
        (["data", "import", "mine", ".", "--seed", "1"], ["--seed", "--test 0.2 too"]),
        (["data", "show", "nowhere"], ["no data set 'nowhere' here"]),
        (["data", "import", "mine", "x" * 5000], ["can't be read: File name too long"]),
        (["import-tensorboard", "x" * 5000, "--as", "old"], ["can't be read: File name too long"]),
        (["data", "verify", "nowhere"], ["nowhere"]),
        (["data", "download", "imagenet"], ["imagenet", "cifar10"]),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else None,
)
def test_bad_input_is_one_sentence_and_nothing_is_written(call, tmp_path: Path, arguments, says):
    done = call(*arguments)

    refused(done, *says)
    assert "secret" not in done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", ["nan", "-1", "2e9"])
def test_a_bad_number_of_seconds_is_blamed_on_what_gave_it(call, value):
    given = call("worker", "--cpu", "--save-every", value)
    found = call("worker", "--cpu", CIFARSWEEP_SAVE_EVERY=value)

    refused(given, "--save-every", "is not a number of seconds from 0 to 1000000000")
    refused(found, "$CIFARSWEEP_SAVE_EVERY", "is not a number of seconds from 0 to 1000000000")
    assert "SAVE_EVERY" not in given.stderr and "--save-every" not in found.stderr


def test_a_changed_study_under_the_same_name_is_refused_with_what_differs(call, tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(STUDY)
    assert call("create", "tiny.toml").returncode == 0
    path.write_text(STUDY.replace("epochs = 1", "epochs = 2"))

    done = call("create", "tiny.toml")

    refused(done, "epochs: 1 -> 2 in all 2 cells", "--as")
    assert '"queued": 10' in call("status", "tiny", "--json").stdout


@pytest.mark.parametrize(
    ("fact", "says"),
    [
        ('cell = "lr=1"\nmetric = "val/accuracy"\nvalue = 0.9', ["no cell 'lr=1'", "lr=0.001"]),
        ('cell = "lr=0.001"\nmetric = "accuracy"\nvalue = 0.9', ["'accuracy' is unknown", "val/accuracy"]),
        ('cell = "lr=0.001"\nmetric = "val/accuracy"\nvalue = 94.98', ["give a share; 94.98 % is 0.9498"]),
        ('cell = "lr=0.001"\nmetric = "val/accuracy"\nvalue = 0.9\nruns = 0', ["runs", "not 0"]),
        (
            'cell = "lr=0.001"\nmetric = "val/accuracy"\nvalue = 0.9\nat = { epoch = 2 }',
            ["epoch 2 is beyond the budget"],
        ),
    ],
)
def test_a_reported_number_that_can_not_be_is_refused_and_nothing_is_written(call, tmp_path: Path, fact, says):
    path = tmp_path / "tiny.toml"
    path.write_text(f"{STUDY}[[reported]]\n{fact}\n")

    done = call("create", "tiny.toml")

    refused(done, "tiny.toml", "reported", *says)
    assert done.stderr.count("\n") <= 3 and list(tmp_path.iterdir()) == [path]


def test_unknown_studies_and_trials_are_named_with_those_there_are(call):
    call("create", "demo")

    refused(call("status", "demmo"), "demmo", "demo")
    refused(call("report", "demmo"), "demmo", "demo")
    refused(call("worker", "--cpu", "--study", "demmo"), "demmo", "demo")
    refused(call("show", "demo/99"), "99", "11")


def test_a_gpu_that_is_not_here_is_refused_before_anything_is_claimed(call, cli):
    call("create", "demo")

    refused(cli("worker", "--gpu", "77"), "no GPU 77", "--cpu")

    assert '"queued": 12' in call("status", "demo", "--json").stdout


def test_a_data_set_that_is_not_here_is_refused_with_how_to_get_it(call):
    created = call("create", "lr-study")
    assert created.returncode == 0 and "cifarsweep data download cifar10" in created.stdout

    refused(call("worker", "--cpu"), "cifarsweep data download cifar10")

    assert '"queued": 60' in call("status", "lr-study", "--json").stdout


def test_a_database_of_a_newer_version_is_left_alone(call, tmp_path):
    call("create", "demo")
    with closing(sqlite3.connect(tmp_path / "cifarsweep.db")) as connection, connection:
        connection.execute("UPDATE cifarsweep_alembic_version SET version_num = '9999'")
    connection.close()

    refused(call("create", "demo", "--as", "other"), "newer version")
    refused(call("worker", "--cpu"), "newer version")


def test_a_file_that_is_no_database_is_left_alone(call, tmp_path):
    (tmp_path / "cifarsweep.db").write_text("my thesis, the only copy\n" * 100)

    refused(call("create", "demo"), "cifarsweep.db")

    assert (tmp_path / "cifarsweep.db").read_text().startswith("my thesis")


def test_a_report_into_a_file_is_refused(call, tmp_path):
    call("create", "demo")
    (tmp_path / "taken").write_text("a file")

    refused(call("report", "demo", "--out", "taken"), "taken")
