"""What counts as a final value: as the file says, else by the schedules of its cells."""

from pathlib import Path
from typing import Any

import pytest

from cifarsweep.errors import SpecError
from cifarsweep.spec.final import Final
from cifarsweep.spec.reader import read_study
from cifarsweep.spec.study import Study


@pytest.fixture
def read(tmp_path: Path) -> Any:
    def _read(text: str) -> Study:
        path = tmp_path / "study.toml"
        path.write_text(f'name = "tried"\nquestion = "Which one?"\n{text}')
        return read_study(path)

    return _read


@pytest.mark.parametrize(
    ("text", "mean_of"),
    [
        ("[settings]\nepochs = 40\n", 5),
        ("[settings]\nepochs = 12\n", 3),  # the last quarter
        ("[settings]\nepochs = 3\n", 1),
        ("[settings]\nsteps = 1000\neval_every = 10\n", 5),
        ("[settings]\nsteps = 1000\n", 1),  # nobody knows here how many evaluations that gives
        ('[settings]\nepochs = 40\nschedule = { name = "cosine" }\n', 1),
        ('[settings]\nepochs = 40\nschedule = { phases = ["10-20 x2"] }\n', 1),
        ('[settings]\nepochs = 40\n[factors]\n"schedule.name" = ["constant", "linear"]\n', 1),
        ('final = { mean_of = 7 }\n[settings]\nepochs = 40\nschedule = { name = "cosine" }\n', 7),
        ("final = { mean_of = 1 }\n[settings]\nepochs = 40\n", 1),
    ],
)
def test_a_constant_rate_counts_with_the_mean_of_its_last_evaluations(read: Any, text: str, mean_of: int) -> None:
    assert read(text).final == Final(mean_of=mean_of)


def test_a_study_that_counts_the_last_value_has_the_hash_of_earlier_versions(read: Any) -> None:
    last, mean = (read(f"final = {{ mean_of = {count} }}\n[settings]\nepochs = 40\n") for count in (1, 5))

    assert '"final":{' not in last.canonical()
    assert '"final":{"mean_of":5}' in mean.canonical() and last.sha256 != mean.sha256


def test_no_evaluation_is_no_value(read: Any) -> None:
    with pytest.raises(SpecError, match="final.mean_of: must be at least 1, not 0"):
        read("final = { mean_of = 0 }\n[settings]\nepochs = 1\n")
