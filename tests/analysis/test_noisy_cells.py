"""What a verdict and effects say of a noisy cell of few seeds."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from support.studies import ABOVE, HIGH, LOW, MIDDLE, study_of_rates

from cifarsweep.analysis.effects import effects
from cifarsweep.analysis.few_seeds import PlannedFewSeeds, planned_few_seeds
from cifarsweep.analysis.records import ReportStudy
from cifarsweep.analysis.study import analyse
from cifarsweep.analysis.verdicts import verdicts
from cifarsweep.report.effects_text import effect_lines
from cifarsweep.report.few_seeds_text import planned_few_seeds_text
from cifarsweep.report.summary import study_fields, verdict_lines
from cifarsweep.report.verdict_text import warning
from cifarsweep.spec.hypothesis import Greater
from cifarsweep.stats.multiplicity import Plans


def spread_out(seeds: int, sd: float) -> Sequence[float]:
    pattern = np.linspace(-1, 1, seeds)
    return list(0.9 + sd * pattern / pattern.std(ddof=1))


def with_noisy(make: Any, seeds: int, beside: int, ratio: float) -> ReportStudy:
    values = {LOW: spread_out(beside, 0.01), MIDDLE: [0.5, 0.51, 0.52], HIGH: spread_out(seeds, 0.01 * ratio)}
    return study_of_rates(make, values, ABOVE)


def test_a_noisy_cell_of_few_seeds_is_named_with_what_mends_it(make: Any) -> None:
    report = with_noisy(make, 3, 12, 2.0)

    (verdict,) = verdicts(report)

    assert verdict.few_seeds is not None and verdict.few_seeds.cell == HIGH
    assert 0.07 < verdict.few_seeds.chance < 0.076  # integrated: 7.4 %
    assert warning(verdict) == (
        "Careful: with spreads as they were measured, the chance of a false verdict in this study is about 7.4 %, not "
        "5 %, as lr=0.3 has 3 seeds beside 12 and 2 times the spread of what it is compared with; with 4 seeds of it "
        "that would be below 6 % (`cifarsweep extend tried --seeds 13` adds them to all cells, for one more look)."
    )
    analysis = analyse(report)
    assert warning(verdict) in verdict_lines(analysis)[0]
    assert study_fields(analysis)["verdicts"][0]["warning"] == warning(verdict)


def test_trials_without_a_result_are_to_be_trained_again(make: Any) -> None:
    report = with_noisy(make, 3, 12, 2.0)
    lost = [make.trial(100 + seed, HIGH, seed, state="failed", outcome=None, final={}) for seed in range(3, 12)]

    (verdict,) = verdicts(replace(report, trials=(*report.trials, *lost)))

    assert "(`cifarsweep retry tried` trains the 9 that have no result again)" in warning(verdict)


def test_like_numbers_and_like_spreads_say_nothing(make: Any) -> None:
    quiet = [with_noisy(make, 3, 3, 1.0), with_noisy(make, 3, 3, 5.0), with_noisy(make, 6, 12, 2.0)]

    assert [verdicts(report)[0].few_seeds for report in quiet] == [None, None, None]


def test_create_names_the_cell_that_has_fewer_seeds_than_others(make: Any) -> None:
    study = with_noisy(make, 3, 12, 2.0).study

    few = planned_few_seeds(study, {LOW: 12, MIDDLE: 3, HIGH: 3}, ())

    assert few is not None
    assert planned_few_seeds_text(few, "tried") == (
        "lr=0.3 has 3 seeds beside 12: if it is noisier than what it is compared with, the chance of a false verdict "
        "is up to 7.4 %, not 5 %; `cifarsweep extend tried --seeds 14` keeps it below 6 %"
    )
    assert planned_few_seeds(study, {LOW: 3, MIDDLE: 3, HIGH: 3}, ()) is None
    assert planned_few_seeds(study, {LOW: 12, HIGH: 12}, ()) is None, "all trials of a cell were given up"
    assert planned_few_seeds(study, {LOW: 8, MIDDLE: 8, HIGH: 7}, ()) is None


def test_create_says_what_few_seeds_of_many_hypotheses_may_cost(make: Any) -> None:
    rates = (0.1, 0.2, 0.3, 0.4)
    claims = tuple(
        Greater(kind="greater", claim=str(high), a={"optimizer.lr": high}, b={"optimizer.lr": low})
        for low, high in pairwise(rates)
    )
    study = make.study({"optimizer.lr": rates}, hypotheses=claims)

    def few(seeds: int, hypotheses: int, plans: Plans = ()) -> PlannedFewSeeds | None:
        asked = study.model_copy(update={"hypotheses": study.hypotheses[:hypotheses]})
        return planned_few_seeds(asked, {cell.name: seeds for cell in study.cells}, plans)

    told = few(3, 3)
    assert told is not None
    assert planned_few_seeds_text(told, "tried") == (
        "3 seeds a cell: if cells are far noisier than those they are compared with, the chance of a false verdict is "
        "up to 7.5 %, not 5 %; `cifarsweep extend tried --seeds 4` keeps it below 7 %"
    )
    assert [few(4, 3), few(3, 2), few(2, 3), few(3, 0), few(3, 3, ((3, 6),))] == [None] * 5


def test_effects_name_a_noisy_cell(make: Any) -> None:
    factors = {"optimizer.lr": (0.1, 0.2, 0.3), "batch_size": (16, 32, 64, 128)}
    study = make.study(factors, seeds=3)

    def found(ratio: float) -> ReportStudy:
        noisy = study.cells[0].name
        trials = [
            make.trial(
                number,
                one.cell.name,
                one.seed,
                levels=one.cell.levels,
                final={"val/accuracy": spread_out(3, 0.01 * (ratio if one.cell.name == noisy else 1))[one.seed]},
            )
            for number, one in enumerate(study.trials())
        ]
        return make.report(study, trials)

    noisy, alike = (effects(found(ratio)) for ratio in (8.0, 1.0))

    assert alike is not None and alike.noisy is None
    assert noisy is not None and noisy.noisy is not None
    assert (noisy.noisy.cell, noisy.noisy.seeds, round(noisy.noisy.ratio)) == (study.cells[0].name, 3, 8)
    assert any(
        line.startswith(f"Careful: {study.cells[0].name} has 3 seeds") for line in effect_lines(analyse(found(8.0)))
    )
