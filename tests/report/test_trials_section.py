"""The table of trials and the table of settings that differ."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from cifarsweep.analysis.study import analyse
from cifarsweep.report.render import render_study
from cifarsweep.report.trials_section import SPARK_HEIGHT, SPARK_WIDTH, differing_settings, overhead_s, trials_view


def test_overhead_is_that_of_all_attempts(make: Any) -> None:
    lost = make.attempt(1, end="taken_over")  # 14 s
    trial = make.trial(0, "base", 0, elapsed_s=12.5, attempts=(lost, make.attempt(2)))

    assert overhead_s(trial) == pytest.approx(15.5)
    assert overhead_s(replace(trial, elapsed_s=60.0)) == 0
    assert overhead_s(replace(trial, attempts=(make.attempt(1, ended_at=None),))) is None
    assert overhead_s(replace(trial, state="leased")) is None


def test_every_curve_stays_in_its_frame_and_gaps_are_left_out(make: Any) -> None:
    study = make.study({}, seeds=3)
    steps = np.arange(1, 201)
    wild = np.where(steps % 7 == 0, np.nan, np.sin(steps))
    series = {(0, "val/accuracy"): (steps, wild), (1, "val/accuracy"): (steps[:90], np.full(90, 0.5))}
    trials = [make.trial(number, "base", number) for number in range(3)]

    view = trials_view(make.report(study, trials, series), {}, trials)

    first, second, none = (row["spark"] for row in view["rows"])
    points = [tuple(map(float, pair.split())) for pair in first[1:].split("L")]
    assert len(points) <= 36 and all(0 <= x <= SPARK_WIDTH and 0 <= y <= SPARK_HEIGHT for x, y in points)
    assert float(second[1:].split("L")[-1].split()[0]) < SPARK_WIDTH / 2  # ended before the others
    assert none is None and view["curves"] == "validation accuracy"


def test_the_table_of_settings_has_what_differs_and_no_more(make: Any) -> None:
    table = differing_settings(make.report(make.study(), []))

    assert table["keys"] == ["model.skip", "optimizer.lr"]
    assert table["rows"][0] == ("lr=0.003, skip=no", ["no", "0.003"])
    assert differing_settings(make.report(make.study({}), []))["keys"] == []


def test_a_failed_trial_is_linked_with_its_error(make: Any) -> None:
    failed = make.trial(7, "base", 0, state="failed", outcome=None, final={}, error="RuntimeError: boom")

    html = render_study(analyse(make.report(make.study({}, seeds=1), [failed])))

    assert '<a href="#trial-7">1 failed</a>' in html and 'id="trial-7"' in html
    assert '<a href="#error-7">failed</a>' in html and 'id="error-7"' in html


def test_time_is_told_in_the_page(make: Any) -> None:
    attempts = (make.attempt(1, ended_at=make.attempt(1).started_at + timedelta(seconds=73)),)

    html = render_study(analyse(make.report(make.study({}, seeds=1), [make.trial(0, "base", 0, attempts=attempts)])))

    assert "1\u202fmin 00\u202fs" in html  # 73 s - 12.5 s
