"""Notes on a page tell how its numbers were made."""

from dataclasses import replace
from typing import Any

import pytest
from support.studies import ABOVE, ALIKE, FAR, HIGH, LOW, NEAR

from cifarsweep.analysis.results import cell_results
from cifarsweep.analysis.study import analyse
from cifarsweep.report.notes import evaluation_notes, figure_notes
from cifarsweep.report.study_page import study_view
from cifarsweep.report.summary import study_fields, verdict_lines
from cifarsweep.spec.moments import At
from cifarsweep.spec.settings import EarlyStop, Settings, Validation
from cifarsweep.stats.shares import Guess

NARROW = "\N{NARROW NO-BREAK SPACE}"


def test_notes_say_what_is_missing_and_that_one_seed_is_never_enough(mixed: Any) -> None:
    notes = " ".join(figure_notes(mixed, cell_results(mixed)))

    for words in (
        "Here: of skip=no, 1 of 2 runs fell out (up to 97 % may).",
        "No run of the other cells fell out",
        "1 trial failed",
        "2 trials are not finished",
        "never enough",
    ):
        assert words in notes


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (Settings(epochs=1), "the test set of cifar10, which was looked at during training"),
        (Settings(epochs=1, validation=Validation(split="holdout")), "20 % of the training set of cifar10, held out"),
        (Settings(epochs=1, dataset="cifar10-jpeg-small"), "JPEG compression"),
        (Settings(epochs=1, determinism="fast"), "Trials ran with determinism = fast"),
        (Settings(epochs=1, early_stop=EarlyStop(patience=3)), "Trials may stop early"),
        (Settings(epochs=1, keep_best=True), "it is not quoted as the result"),
    ],
)
def test_notes_say_what_accuracy_is_of(make: Any, settings: Settings, words: str) -> None:
    study = make.study({})
    study = study.model_copy(update={"cells": (study.cells[0].model_copy(update={"own_settings": settings}),)})

    assert words in " ".join(figure_notes(make.report(study, []), []))


def test_only_compressed_images_are_called_so(make: Any) -> None:
    study = make.study({"dataset": ("digits", "cifar10-jpeg-small")})

    notes = " ".join(figure_notes(make.report(study, []), []))

    assert "The images of cifar10-jpeg-small are those of CIFAR-10 after JPEG compression" in notes


@pytest.mark.parametrize(("without", "said"), [(0, False), (1, True)])
def test_cells_with_fewer_seeds_are_told_of_where_there_are_some(make: Any, without: int, said: bool) -> None:
    found = make.finished(make.study())
    report = replace(found, plans=((3, 6),), trials=found.trials[without:])

    notes = " ".join(figure_notes(report, cell_results(report)))

    assert "planned with 3" in notes
    assert ("have fewer seeds" in notes) is said


def test_a_complete_study_with_seeds_has_no_warning(make: Any) -> None:
    report = make.finished(make.study())

    notes = " ".join(figure_notes(report, cell_results(report)))

    assert not [word for word in ("never enough", "runs fell out", "failed", "not finished", "JPEG") if word in notes]


def test_notes_say_what_a_guess_is_and_where_it_is_not_known(tried: Any) -> None:
    report = tried({LOW: [0.1, 0.9, 0.91], HIGH: [0.1, 0.1]})
    older = Guess(0.1, 355, recorded=False)
    told = replace(report, trials=tuple(replace(trial, guess=older) for trial in report.trials))

    notes, without = (" ".join(figure_notes(each, cell_results(each))).replace(NARROW, " ") for each in (told, report))

    assert "no better than a guess: 10.0 % of the 355 images, and up to 5 standard errors more" in notes
    assert f"cell {HIGH} does not train (all 2 runs fell out); of {LOW}, 1 of 3 runs fell out" in notes
    assert "5 trials did not record how large the classes" in notes and "it is not known" not in notes
    assert "Of 5 trials it is not known on how many images" in without
    assert "No run fell out; 2 runs a cell leave open that up to 78 % may." in without


def test_one_run_a_cell_leaves_nearly_all_open(tried: Any) -> None:
    report = tried({LOW: [0.9], HIGH: [0.9]})

    notes = " ".join(figure_notes(report, cell_results(report))).replace(NARROW, " ")

    assert "No run fell out; 1 run a cell leaves open that up to 95 % may." in notes


def test_notes_name_the_cells_that_differ_in_recipe_and_count_early_stops(make: Any) -> None:
    study = make.study({"early_stop.patience": (0, 2), "determinism": ("exact", "fast")})
    trials = [
        make.trial(number, planned.cell.name, planned.seed, final={"early_stopped_at": 40.0} if number == 2 else {})
        for number, planned in enumerate(study.trials())
    ]

    notes = " ".join(figure_notes(make.report(study, trials), []))

    assert "Trials of patience=2, determinism=exact / patience=2, determinism=fast may stop early" in notes
    assert "1 of the 6 that are done did" in notes
    assert "Trials of patience=0, determinism=fast / patience=2, determinism=fast ran with determinism = fast" in notes


def test_a_study_that_was_cut_short_says_what_that_does_to_the_promise(tried: Any) -> None:
    report = tried({cell: [*values, None] for cell, values in FAR.items()}, ABOVE)
    trials = tuple(replace(one, state="cancelled") if one.state == "queued" else one for one in report.trials)

    fields = study_fields(analyse(replace(report, trials=trials)))

    assert fields["verdicts"][0]["decision"] == "supported"
    assert fields["promise"].startswith("3 trials were cancelled: if somebody did that in view of the numbers")
    assert fields["false_verdicts_at_most"] is None and study_fields(analyse(report))["false_verdicts_at_most"] == 0.05


def test_what_was_not_planned_is_said_everywhere(tried: Any) -> None:
    words = "at most 8.75 %, not 5 %; plan before the first look to keep 5 %"

    report = tried(NEAR, ALIKE, plans=((3,), (4, 5), (6,)))

    fields = study_fields(analyse(report))
    nothing_claimed = replace(report, study=report.study.model_copy(update={"hypotheses": ()}))
    assert (
        verdict_lines(analyse(nothing_claimed)) == []
        and study_view(analyse(nothing_claimed))["error_rate_warnings"] == ""
    )
    assert (
        words in study_view(analyse(report))["error_rate_warnings"].replace("\u202f", " ")
        and words in verdict_lines(analyse(report))[-1]
    )
    assert words in fields["promise"] and fields["false_verdicts_at_most"] == pytest.approx(0.0875)
    assert (fields["verdicts"][0]["looks"], fields["verdicts"][0]["level"]) == (4, 0.05)


def test_the_page_says_how_often_the_test_set_was_looked_at_and_what_was_chosen_by_it(make: Any) -> None:
    report = make.finished(make.study({}))
    stopping = Settings(epochs=1, early_stop=EarlyStop(patience=2))
    cells = (report.study.cells[0].model_copy(update={"own_settings": stopping}),)

    notes = " ".join(figure_notes(replace(report, study=report.study.model_copy(update={"cells": cells})), []))

    assert "looked at 36 times in 3 trials, at most 12 times in one" in notes
    assert "looked at" not in " ".join(evaluation_notes(replace(report, series={}))).partition("as well")[2]
    assert "also decided when to stop" in notes and "not the best one seen" in notes


def test_a_claim_about_the_best_accuracy_seen_is_named(tried: Any) -> None:
    best_seen = ABOVE.model_copy(update={"metric": "best/accuracy", "claim": "High peaks above low."})

    plain, named = (
        " ".join(evaluation_notes(tried(FAR, *hypotheses))) for hypotheses in ((ABOVE,), (ABOVE, best_seen))
    )

    assert plain.endswith("not the best one seen.")
    assert "not the best one seen, but for “High peaks above low”: the best accuracy is" in named


def test_a_hypothesis_about_a_moment_is_told_beside_the_last_values(tried: Any) -> None:
    early = ABOVE.model_copy(update={"at": At(epoch=1)})
    said = "names a moment of training is tested on the values at that moment"

    assert any(said in note for note in evaluation_notes(tried(FAR, early)))
    assert not any(said in note for note in evaluation_notes(tried(FAR, ABOVE)))
