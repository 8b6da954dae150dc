"""The reference of settings, against the records that study files are checked by."""

import pytest

from cifarsweep.errors import SpecError
from cifarsweep.spec.reference import settings_reference
from cifarsweep.spec.settings import setting_keys

REFERENCE = settings_reference()


def test_every_setting_is_there_and_says_what_it_does() -> None:
    assert {one.key for one in REFERENCE} == set(setting_keys())
    assert [one.key for one in REFERENCE if not one.text] == []


@pytest.mark.parametrize(
    ("key", "values", "default"),
    [
        ("threads", "whole number, 1 to 256", "1"),
        ("optimizer.lr", "number, above 0", "0.001"),
        ("optimizer.clip", "number, above 0 | none", "none"),
        ("validation.seed", "whole number, 0 to 4,294,967,295", "0"),
        ("schedule.milestones", "list of numbers, above 0 and below 1", "0.5, 0.75"),
        ("determinism", "exact | fast", "exact"),
        ("keep_best", "true or false", "false"),
        ("validation.split", "test | holdout", "holdout"),
        ("validation.fraction", "number, above 0 and below 1", "0.1"),
    ],
)
def test_values_and_defaults_are_those_that_a_file_means(key: str, values: str, default: str) -> None:
    found = settings_reference(key)[0]

    assert (found.values, found.default) == (values, default)


def test_a_setting_of_some_networks_says_which() -> None:
    assert {one.only_for for one in REFERENCE if one.key == "model.width"} == {"vit"}
    assert {one.only_for for one in REFERENCE if one.key == "batch_size"} == {""}


def test_a_table_gives_all_of_its_settings() -> None:
    keys = [one.key for one in settings_reference("early_stop")]

    assert keys == ["early_stop.patience", "early_stop.min_delta"]


def test_an_unknown_key_is_told_the_nearest_one() -> None:
    with pytest.raises(SpecError, match=r"no setting 'optimiser.lr'\. Did you mean 'optimizer.lr'\?"):
        settings_reference("optimiser.lr")
