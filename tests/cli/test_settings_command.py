"""`settings`: the reference in the terminal."""

import json


def test_settings_are_listed_for_people_and_for_programs(call):
    shown = call("settings", "early_stop")
    told = call("settings", "early_stop", "--json")

    assert "early_stop.patience" in shown.stdout and "whole number" in shown.stdout
    assert [one["key"] for one in json.loads(told.stdout)] == ["early_stop.patience", "early_stop.min_delta"]


def test_an_unknown_setting_is_one_sentence(call):
    done = call("settings", "early_stopp")

    assert done.returncode == 2
    assert done.stderr.startswith("error: there is no setting 'early_stopp'. Did you mean 'early_stop'?")
