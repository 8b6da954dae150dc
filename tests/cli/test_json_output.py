"""Every `--json` says by which schema its objects are written."""

import json

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
    ],
)
def test_each_object_has_its_schema_first(call, made, command, kind):
    printed = json.loads(call(*command, "--json").stdout)

    objects = printed if isinstance(printed, list) else [printed]
    assert objects
    assert all(next(iter(one.items())) == ("schema", f"{kind}/{SCHEMAS[kind]}") for one in objects)


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
