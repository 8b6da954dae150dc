"""Effects of factors in words, as page, terminal and JSON tell them."""

import json
from dataclasses import replace
from typing import Any

import pytest
from support.pages import EXAMPLES
from support.programs import program_report, program_study

from cifarsweep.analysis.records import ReportStudy
from cifarsweep.analysis.study import analyse
from cifarsweep.formatting import estimate_text
from cifarsweep.report.effects_text import effect_lines, interval_text
from cifarsweep.report.summary import study_fields
from cifarsweep.stats import Interval
from cifarsweep.stats.shares import Guess


def lines(report: ReportStudy) -> list[str]:
    return [line.replace("\N{NARROW NO-BREAK SPACE}", " ") for line in effect_lines(analyse(report))]


def with_seeds(report: ReportStudy, seeds: int) -> ReportStudy:
    study = report.study.model_copy(update={"seeds": report.study.seeds[:seeds]})
    return replace(report, study=study, trials=tuple(one for one in report.trials if one.seed < seeds))


def test_each_factor_has_a_sentence_and_what_its_effect_depends_on() -> None:
    assert lines(EXAMPLES["crossed"]()) == [
        "Over the others, lr 0.3 is 2.1 ± 0.9 points above 0.03; how much depends on skip.",
        "Over the others, the levels of optimizer differ by no more than the noise explains: "
        "optimizer adamw is 0.2 ± 0.7 points above sgd.",
        "Over the others, skip yes is 2.0 ± 0.7 points above no; how much depends on lr.",
        "The effect of lr depends on skip more than the noise explains: with skip yes, lr 0.3 is 2.6 points above 0.1; "
        "with skip no, 1.7 points below (p < 0.001 corrected for 3 pairs).",
        "No other effect depends on another factor more than the noise explains "
        "(smallest p = 1 corrected for 3 pairs).",
        "± is half of an interval that holds for any two levels of any factor at once, with 95 % chance; the noise is "
        "that of seeds within cells (standard deviation 1.0 points, 48 degrees of freedom).",
    ]


def test_nothing_is_claimed_of_a_study_that_goes_on() -> None:
    told = lines(EXAMPLES["judged"]())

    assert told[0] == "Over the others so far, lr 0.3 is 2.1 ± 0.9 points above 0.03."
    assert told[-2] == "1 trial is not finished, so nothing is tested yet."
    assert not any("noise" in line for line in told[:-1])


def test_one_seed_tells_nothing_of_the_noise() -> None:
    report = with_seeds(EXAMPLES["crossed"](), 1)

    told = lines(report)

    assert "±" not in " ".join(told) and told[0] == "Over the others, lr 0.1 is 1.7 points above 0.03."
    assert told[-1] == "Every cell has one seed, so the noise is unknown, and no difference can be told from it."
    assert interval_text(analyse(report).effects) == ""


def test_levels_with_the_same_mean_are_not_set_against_one_another() -> None:
    report = EXAMPLES["crossed"]()
    same = {one.seed: one for one in report.trials if one.cell == report.study.cells[0].name}

    told = lines(replace(report, trials=tuple(replace(one, final=same[one.seed].final) for one in report.trials)))

    assert told[:3] == [
        f"Over the others, all levels of {name} have the same mean." for name in ("lr", "optimizer", "skip")
    ]


def test_less_of_a_loss_comes_first_and_is_no_share() -> None:
    study = program_study("val/loss", factors={"lr": (0.1, 0.2), "width": (1, 2)})

    told = lines(program_report(study, [0.5, 0.5, 0.3, 0.3], spread=0.001))

    assert told[0] == "Over the others, lr 0.2 is 0.2000 ± 0.0016 below 0.1."
    assert told[2] == "No effect depends on another factor more than the noise explains (p = 1)."


def test_cells_that_did_not_train_are_named() -> None:
    report = EXAMPLES["crossed"]()
    cell = report.study.cells[0].name
    trials = tuple(
        replace(one, guess=Guess(0.1, 1000), final={"val/accuracy": 0.1} if one.cell == cell else one.final)
        for one in report.trials
    )

    told = " ".join(lines(replace(report, trials=trials)))

    assert f"No run of {cell} trained; means count the test accuracy that these ended with." in told


def test_cells_that_are_left_out_are_counted() -> None:
    report = EXAMPLES["crossed"]()
    cell = report.study.cells[0].name
    lost = {"state": "failed", "outcome": None, "final": {}}
    trials = tuple(replace(one, **lost) if one.cell == cell else one for one in report.trials)

    told = lines(replace(report, trials=trials))[-2]

    assert told == "Cells without a counterpart at every level are left out: 2 for lr, 1 for optimizer, 1 for skip."


@pytest.mark.parametrize(
    ("value", "interval", "metric", "difference", "text"),
    [
        (0.9067, Interval(0.9021, 0.9113), "val/accuracy", False, "90.7 ± 0.5 %"),
        (0.0215, Interval(0.0128, 0.0302), "val/accuracy", True, "2.1 ± 0.9 points"),
        (0.99, Interval(0.96, 1.0), "val/accuracy", False, "99.0 % (96.0 to 100.0 %)"),
        (0.99, None, "val/accuracy", False, "99.0 %"),
        (0.2, Interval(0.15, 0.25), "val/loss", True, "0.200 ± 0.050"),
    ],
)
def test_an_estimate_has_half_of_its_interval_or_the_ends_of_one_that_was_cut_off(
    value: float, interval: Interval | None, metric: str, difference: bool, text: str
) -> None:
    said = estimate_text(value, interval, metric, difference=difference)

    assert said.replace("\N{NARROW NO-BREAK SPACE}", " ") == text


def test_json_has_every_number(make: Any) -> None:
    fields = json.loads(json.dumps(study_fields(analyse(EXAMPLES["crossed"]()))["effects"]))

    rate, (name, skip) = fields["factors"][0], fields["interactions"][:2]
    assert (fields["metric"], fields["df"], fields["level"], fields["comparisons"]) == ("val/accuracy", 48, 0.05, 5)
    assert [level["level"] for level in rate["levels"]] == [0.03, 0.1, 0.3]
    assert rate["levels"][0]["interval"][0] < rate["levels"][0]["mean"] < rate["levels"][0]["interval"][1]
    assert (rate["furthest"]["high"], rate["furthest"]["low"], rate["furthest"]["larger_than_noise"]) == (
        0.3,
        0.03,
        True,
    )
    assert (name["larger_than_noise"], skip["larger_than_noise"]) == (False, True)
    assert skip["factors"] == ["optimizer.lr", "model.skip"] and len(skip["means"]) == 6
    assert skip["largest_change"]["at"] == [True, False] and skip["corrected_p"] == pytest.approx(3 * skip["p"])
    assert study_fields(analyse(make.finished(make.study({}))))["effects"] is None
