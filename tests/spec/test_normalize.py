"""The word for the statistics of the training images, in the place of a table."""

import pytest

from cifarsweep.errors import SpecError
from cifarsweep.spec.overrides import parse_overrides
from cifarsweep.spec.reader import read_study
from cifarsweep.spec.settings import Normalize

HALVES = Normalize(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
TWO_ARMS = """
name = "pixels"
question = "Does it matter what is subtracted?"
[settings]
epochs = 1
normalize = { mean = [0.5, 0.5, 0.5], std = [0.5, 0.5, 0.5] }
[[arms]]
name = "halves"
set = { "normalize.mean" = [0.5, 0.5, 0.5] }
[[arms]]
name = "data"
set = { normalize = "data" }
"""


def normalizes(study):
    return {cell.name: cell.settings.normalize for cell in study.cells}


def test_an_arm_may_take_the_statistics_of_the_data(write):
    assert normalizes(read_study(write(TWO_ARMS))) == {"halves": HALVES, "data": Normalize()}


def test_a_file_that_says_data_is_one_that_says_nothing(write):
    silent = 'name = "s"\nquestion = "q?"\n[settings]\nepochs = 1\n'

    assert read_study(write(silent + 'normalize = "data"')).sha256 == read_study(write(silent)).sha256


def test_the_command_line_takes_the_word_too(write):
    path = write(TWO_ARMS)

    assert set(normalizes(read_study(path, overrides=parse_overrides(["normalize=data"]))).values()) == {Normalize()}
    with pytest.raises(SpecError, match="--set 'normalize=data' sets normalize.mean already"):
        parse_overrides(["normalize=data", "normalize.mean=[0, 0, 0]"])


def test_another_word_is_refused_with_those_that_are_allowed(write):
    path = write(TWO_ARMS.replace('"data" }', '"imagenet" }'))

    with pytest.raises(SpecError, match="arm 'data': normalize: 'imagenet' is unknown. Allowed: \"data\" .* a table"):
        read_study(path)
