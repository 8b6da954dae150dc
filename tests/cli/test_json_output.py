"""Every `--json` says by which schema its objects are written."""

import json
import sqlite3
from contextlib import closing

import pytest

from cifarsweep.cli.json_output import SCHEMAS, print_json


@pytest.fixture
def made(call):
    assert call("create", "demo").returncode == 0


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        (["status"], "status"),
        (["show", "demo/3"], "trial"),
        (["report", "demo"], "report"),
        (["report", "--compare", "demo", "demo"], "comparison"),
        (["doctor"], "finding"),
        (["settings", "optimizer"], "setting"),
        (["studies"], "shipped-study"),
        (["studies", "demo"], "shipped-study"),
        (["models"], "network"),
        (["data", "list"], "data-set"),
        (["data", "show", "digits"], "data-set"),
        (["data", "verify", "digits"], "data-set"),
        (["db", "check"], "database"),
    ],
)
def test_each_object_has_its_schema_first(call, made, command, kind):
    printed = json.loads(call(*command, "--json").stdout)

    objects = printed if isinstance(printed, list) else [printed]
    assert objects
    assert all(next(iter(one.items())) == ("schema", f"{kind}/{SCHEMAS[kind]}") for one in objects)


def test_a_data_set_that_is_not_here_has_the_command_that_gets_it(call):
    call("data", "show", "digits")

    found = {one["name"]: one for one in json.loads(call("data", "list", "--json").stdout)}

    assert found["cifar10"]["here"] is False and found["cifar10"]["command"] == "cifarsweep data download cifar10"
    digits = found["digits"]
    assert (digits["here"], digits["side"], digits["channels"], digits["train"]) == (True, 32, 3, 1442)
    assert len(digits["classes"]) == 10 and len(digits["sha256"]) == 64


def test_classes_of_a_data_set_are_counted(call):
    shown = json.loads(call("data", "show", "digits", "--json").stdout)

    assert sum(shown["train_of_class"]) == shown["train"] and sum(shown["test_of_class"]) == shown["test"]


def test_a_damaged_data_set_is_said_and_the_others_are_printed(call, data_root):
    call("data", "show", "digits")
    (data_root / "broken.safetensors").write_bytes(b"nothing")
    try:
        done = call("data", "verify", "--json")
    finally:
        (data_root / "broken.safetensors").unlink()

    assert done.returncode == 2 and "broken" in done.stderr
    assert [one["name"] for one in json.loads(done.stdout)] == ["digits"]


def test_findings_of_a_check_are_printed_and_end_with_exit_code_2(call, made, tmp_path):
    assert json.loads(call("db", "check", "--json").stdout)["findings"] == []
    with closing(sqlite3.connect(tmp_path / "cifarsweep.db")) as database, database:
        database.execute("update cs_study set sha256 = 'other'")

    done = call("db", "check", "--json")

    assert done.returncode == 2 and json.loads(done.stdout)["findings"] and "findings" in done.stderr


def test_lists_stay_lists_and_one_study_an_object(call, made):
    """Scripts of before the schema read them so."""
    assert isinstance(json.loads(call("report", "--json").stdout), list)
    assert isinstance(json.loads(call("status", "demo", "--json").stdout), dict)


def test_numbers_that_json_lacks_are_texts(capsys):
    print_json("trial", {"last": {"loss": float("nan")}, "all": (float("-inf"), 1.5)})

    assert json.loads(capsys.readouterr().out) == {
        "schema": "trial/1",
        "last": {"loss": "nan"},
        "all": ["-inf", 1.5],
    }
