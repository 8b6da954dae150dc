"""A level is the same however the file writes it, from the study file to the verdict."""

from pathlib import Path
from typing import Any

import pytest

from cifarsweep.analysis.records import ReportStudy
from cifarsweep.analysis.results import cell_results, named_means
from cifarsweep.analysis.samples import sides
from cifarsweep.analysis.study import analyse
from cifarsweep.analysis.verdicts import verdicts
from cifarsweep.spec.levels import same_level
from cifarsweep.spec.reader import read_study
from cifarsweep.spec.study import Study

FILE = """
name = "rates"
question = "Which rate?"
seeds = 4
[settings]
dataset = "digits"
epochs = 1
[factors]
"optimizer.lr" = [{levels}]
"model.skip" = [false, true]
[[hypotheses]]
kind = "best"
claim = "1 is the best rate"
factor = "optimizer.lr"
level = {level}
[[hypotheses]]
kind = "greater"
claim = "1 is above 0.5"
a = {{ "optimizer.lr" = {level} }}
b = {{ "optimizer.lr" = 0.5 }}
"""


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [(1, 1.0, True), (1, True, False), (0.0, False, False), ((1, 2), (1.0, 2.0), True), ((1,), (True,), False),
     ("1", 1, False), (None, False, False), (0.1, 0.1, True)],
)  # fmt: skip
def test_a_number_is_its_value_and_a_switch_is_no_number(left: Any, right: Any, same: bool) -> None:
    assert same_level(left, right) == same == same_level(right, left)


def read(folder: Path, levels: str, level: str) -> Study:
    (folder / "rates.toml").write_text(FILE.format(levels=levels, level=level))
    return read_study(folder / "rates.toml")


def tried(make: Any, study: Study, worst: float) -> ReportStudy:
    """The rate `worst` ends a good deal below the other, every seed with some noise of its own."""
    trials = [
        make.trial(number, one.cell.name, one.seed, levels=one.cell.levels, final={"val/accuracy": value})
        for number, one in enumerate(study.trials())
        for value in [0.9 - 0.3 * (one.cell.levels["optimizer.lr"] == worst) + 0.001 * (7 * number % 5)]
    ]
    return make.report(study, trials)


@pytest.mark.parametrize(("levels", "level"), [("0.5, 1.0", "1"), ("0.5, 1", "1.0"), ("0.5, 1", "1")])
def test_a_whole_number_is_the_level_that_it_names(make: Any, tmp_path: Path, levels: str, level: str) -> None:
    study = read(tmp_path, levels, level)

    report = tried(make, study, worst=1.0)

    assert [side.label for side in sides(study.hypotheses[0], study)] == ["lr=1", "lr=0.5"]
    assert [verdict.decision for verdict in verdicts(report)] == ["refuted", "refuted"]
    assert {named.role for named in named_means(study.hypotheses[0], report, cell_results(report))} == {"1", "0.5"}
    assert all(all(row) for pair in analyse(report).effects.interactions for row in pair.means)


def test_a_study_keeps_its_levels_as_its_settings_have_them(tmp_path: Path) -> None:
    whole, plain = (read(tmp_path, *written) for written in (("0.5, 1", "1"), ("0.5, 1.0", "1.0")))

    assert repr(whole.factors["optimizer.lr"]) == "(0.5, 1.0)"
    assert repr(whole.hypotheses[0].level) == "1.0" and repr(whole.hypotheses[1].a) == "{'optimizer.lr': 1.0}"
    assert whole.sha256 == plain.sha256


def test_an_excluded_switch_is_no_number(tmp_path: Path) -> None:
    study = FILE.format(levels="0.5, 1.0", level="1") + '[[exclude]]\n"model.skip" = 1\n'
    (tmp_path / "rates.toml").write_text(study)

    with pytest.raises(Exception, match="1 is no level of model.skip"):
        read_study(tmp_path / "rates.toml")
