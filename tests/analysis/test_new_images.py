"""The interval of each hypothesis for new images too, where the runs that it is tested on kept their hits."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats
from support.studies import ABOVE, ALIKE, CELLS, FIRST, HIGH, LOW, MIDDLE

from cifarsweep.analysis.records import ReportStudy
from cifarsweep.analysis.verdicts import Verdict, verdicts
from cifarsweep.spec.hypothesis import Best, Greater, NotWorse, Reaches
from cifarsweep.spec.moments import At
from cifarsweep.spec.settings import Validation

IMAGES = 2000
NOT_WORSE = NotWorse(kind="not_worse", claim="High is not worse", a=HIGH, b=LOW, margin=0.01)
BEST = Best(kind="best", claim="0.3 is best", factor="optimizer.lr", level=0.3)
REACHES = Reaches(kind="reaches", claim="High is good", a=HIGH, target=0.5)
EARLY = Greater(kind="greater", claim="High is ahead", a=HIGH, b=LOW, at=At(epoch=1))


def judged(tried: Any, *hypotheses: Any, seeds: int = 3) -> ReportStudy:
    """Cells whose runs get images right by chance, more of them with a higher rate; each recorded which."""
    random = np.random.default_rng(4)
    hardness = random.beta(3, 1, IMAGES)
    hits = {}
    values: dict[str, list[float]] = {}
    for place, cell in enumerate(CELLS):
        shares = np.clip(hardness + 0.1 * place * random.random(IMAGES), 0, 1)
        for seed in range(seeds):
            hits[place * seeds + seed, "val/accuracy"] = right = random.random(IMAGES) < shares
            values.setdefault(cell, []).append(float(right.mean()))
    return replace(tried(values, *hypotheses), hits=hits)


def only(report: ReportStudy) -> Verdict:
    (found,) = verdicts(report)
    return found


@pytest.mark.parametrize("hypothesis", [ABOVE, ALIKE, NOT_WORSE, BEST], ids=lambda one: one.kind)
def test_it_is_that_of_welch_with_the_variance_of_images_added(tried: Any, hypothesis: Any) -> None:
    report = judged(tried, hypothesis)

    found = only(report)

    other = MIDDLE if hypothesis is BEST else LOW
    sides = [
        np.array([report.hits[trial.number, "val/accuracy"] for trial in report.trials if trial.cell == cell])
        for cell in (HIGH, other)
    ]
    flips = [side.var(axis=0, ddof=1).sum() / IMAGES**2 / 3 for side in sides]
    runs = [max(side.mean(axis=1).var(ddof=1) / 3, floor) for side, floor in zip(sides, flips, strict=True)]
    total = sum(runs) + np.var(sides[0].mean(axis=0) - sides[1].mean(axis=0), ddof=1) / IMAGES - sum(flips)
    half = stats.t.ppf(0.975, total**2 / sum(each**2 / 2 for each in runs)) * np.sqrt(total)
    assert found.new_images is not None and found.estimate is not None and found.interval is not None
    assert found.new_images.interval.half == pytest.approx(max(half, found.interval.half))
    assert (found.new_images.interval.low + found.new_images.interval.high) / 2 == pytest.approx(found.estimate)
    assert found.new_images.wider == (half > found.interval.half)


@pytest.mark.parametrize("hypothesis", [REACHES, EARLY, FIRST], ids=["reaches", "early", "faster"])
def test_what_is_no_difference_of_final_accuracies_has_none(tried: Any, hypothesis: Any) -> None:
    assert only(judged(tried, hypothesis)).new_images is None


def test_nothing_is_said_where_a_run_did_not_keep_its_hits_or_there_is_one_run(tried: Any) -> None:
    report = judged(tried, ABOVE)
    lacking = {key: hits for key, hits in report.hits.items() if key[0] != report.trials[0].number}

    assert only(replace(report, hits=lacking)).new_images is None
    assert only(replace(report, hits={})).new_images is None
    assert only(judged(tried, ABOVE, seeds=1)).new_images is None


def test_nothing_is_said_of_cells_that_were_judged_on_different_images(tried: Any) -> None:
    report = judged(tried, ABOVE)
    other_data = [
        replace(one, versions={"data digits": "ab" if one.cell == LOW else "cd"}, attempts=()) for one in report.trials
    ]
    cells = [
        cell.model_copy(
            update={
                "own_settings": cell.settings.model_copy(
                    update={"validation": Validation(split="holdout", seed=int(cell.name == LOW))}
                )
            }
        )
        for cell in report.study.cells
    ]
    other_part = replace(report, study=report.study.model_copy(update={"cells": tuple(cells)}))

    assert only(replace(report, trials=tuple(other_data))).new_images is None
    assert only(other_part).new_images is None


def test_runs_after_the_look_do_not_count(tried: Any) -> None:
    later = only(replace(judged(tried, ABOVE, seeds=4), plans=((3, 12),)))
    report = judged(tried, ABOVE, seeds=4)
    early = [trial for trial in report.trials if trial.seed < 3]

    assert later.new_images == only(replace(report, trials=tuple(early))).new_images is not None
