"""A page marks what was taken over and from where; a page of a study that took nothing over does not change."""

import re
from dataclasses import replace
from typing import Any

import pytest

from cifarsweep.analysis.study import analyse
from cifarsweep.report.render import render_study
from cifarsweep.report.summary import study_fields, verdict_lines
from cifarsweep.report.trials_section import overhead_s


@pytest.fixture
def report(make: Any) -> Any:
    """Six trials of 600 steps: trial 1 took over all of trial 0, and trial 4 its first 200 steps of another study."""
    finished = make.finished(make.study({"model.skip": (False, True)}, seeds=3))
    taken = {
        1: make.reuse("tried/0", 600, 12.5, host="trainer"),
        4: make.reuse("<b>&/7", 200, 4.0, host="trainer", device="H200"),
    }
    trials = [
        replace(
            one,
            reuse=taken.get(one.number),
            attempts=(make.attempt(1, first_step=200 if one.number == 4 else 0, host="claimer"),),
        )
        for one in finished.trials
    ]
    return replace(finished, trials=tuple(trials))


def row(page: str, number: int) -> str:
    return re.search(rf'<tr id="trial-{number}"[ >].*?</tr>', page, re.DOTALL)[0]  # type: ignore[index]


def test_the_table_of_trials_marks_what_was_taken_over_and_who_trained_it(report: Any) -> None:
    page = render_study(analyse(report))

    assert '<a href="#trial-0"><bdi>reused from tried/0</bdi></a>' in row(page, 1)
    assert "trainer, cpu" in row(page, 1) and "claimer" not in row(page, 1)
    assert "<bdi>first 200 steps from &lt;b&gt;&amp;/7</bdi>" in row(page, 4) and 'href="#trial-7"' not in page
    assert "claimer, H200, then cpu" in row(page, 4)
    assert "steps from" not in row(page, 0) and "reused" not in row(page, 0)
    assert "Steps and time count what a trial took over" in page


def test_one_sentence_tells_how_many_steps_were_trained_and_how_many_were_taken_over(report: Any) -> None:
    told = (
        "Of the 3,600 steps of the trials that are done, 2,800 were trained for this study (58.5\u202fs) and 800 were "
        "taken over, bit for bit, from trials that had trained them before (16.5\u202fs): 1 trial took over all of its "
        "steps, 1 trial took over the first ones of its steps."
    )

    assert told in render_study(analyse(report))
    assert told in verdict_lines(analyse(report))
    assert "trial 1: reused from tried/0; trial 4: first 200 steps from" in render_study(analyse(report))


def test_what_energy_and_flops_are_known_is_told_too(report: Any) -> None:
    last = {"flops": 3e15, "energy_j": 4e6}
    trials = [replace(one, final=one.final | last, reused=last if one.number == 1 else {}) for one in report.trials]

    told = " ".join(verdict_lines(analyse(replace(report, trials=tuple(trials)))))

    assert "15 PFLOP, 20\u202fMJ) and 800" in told and "3 PFLOP, 4\u202fMJ)" in told


def test_programs_get_what_was_trained_and_what_was_taken_over(report: Any) -> None:
    fields = study_fields(analyse(report))

    assert fields["cost"] == {
        "trained": {"steps": 2800, "elapsed_s": 58.5},
        "reused": {"steps": 800, "elapsed_s": 16.5},
    }
    assert fields["reused"] == [
        {"trial": 1, "source": "tried/0", "steps": 600},
        {"trial": 4, "source": "<b>&/7", "steps": 200},
    ]


def test_what_an_attempt_took_beside_its_training_is_without_what_was_taken_over(report: Any) -> None:
    copied, branch = report.trials[1], report.trials[4]  # each attempt took 14 s

    assert (overhead_s(copied), overhead_s(branch)) == (14.0, pytest.approx(14 - (12.5 - 4.0)))


def test_a_page_without_any_has_no_word_on_it(make: Any) -> None:
    report = make.finished(make.study({"model.skip": (False, True)}, seeds=3))

    page = render_study(analyse(report))

    assert not re.search("reused|taken over|took over", page.split("<main>")[1].split("<script")[0])
    assert not re.search("took over|taken over", " ".join(verdict_lines(analyse(report))))


def test_a_study_that_trained_nothing_says_so(make: Any) -> None:
    finished = make.finished(make.study({}, seeds=2))
    last = {"flops": 3e9}
    trials = [
        replace(one, reuse=make.reuse("a/1", 600), final=one.final | last, reused=last) for one in finished.trials
    ]

    (told, _) = verdict_lines(analyse(replace(finished, trials=tuple(trials))))

    assert told == (
        "Of the 1,200 steps of the trials that are done, none was trained for this study and 1,200 were taken over, "
        "bit for bit, from trials that had trained them before (25.0\u202fs, 6\u202fGFLOP): 2 trials took over all "
        "of their steps."
    )
