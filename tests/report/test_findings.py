"""What is counted, what is in a mean, and how cells are told apart."""

from dataclasses import replace
from typing import Any

import pytest

from cifarsweep.analysis.records import ReportStudy
from cifarsweep.analysis.results import best, cell_results, named_means, state_counts
from cifarsweep.analysis.verdicts import verdicts
from cifarsweep.report.hypothesis_text import hypothesis_text
from cifarsweep.report.notes import figure_notes
from cifarsweep.report.palette import cell_styles
from cifarsweep.report.verdict_text import hypothesis_view
from cifarsweep.spec.hypothesis import AtChance, Best, Equivalent, Faster, Greater, NotWorse, Reaches, Trend
from cifarsweep.spec.settings import EarlyStop, Settings, Validation

WAITING = {"state": "queued", "outcome": None, "final": {}, "elapsed_s": None}
FAILED = {"state": "failed", "outcome": None, "final": {}, "error": "RuntimeError: no"}
SKIP, PLAIN = "skip=yes", "skip=no"


def accuracy(value: float) -> dict[str, Any]:
    return {"final": {"val/accuracy": value}}


@pytest.fixture
def mixed(make: Any) -> Any:
    """skip=no: two seeds, one of them diverged, and one failed; skip=yes: one done, two waiting."""
    study = make.study({"model.skip": (False, True)})
    trials = [
        make.trial(0, PLAIN, 0, **accuracy(0.8)),
        make.trial(1, SKIP, 0, **accuracy(0.7), elapsed_s=20.0),
        make.trial(2, PLAIN, 1, outcome="diverged", **accuracy(0.1)),
        make.trial(3, SKIP, 1, **WAITING),
        make.trial(4, PLAIN, 2, **FAILED),
        make.trial(5, SKIP, 2, **WAITING),
    ]
    return make.report(study, trials)


def test_diverged_trials_count_and_failed_ones_do_not(mixed: Any) -> None:
    plain, skip = cell_results(mixed)

    assert plain.accuracy is not None and plain.accuracy.mean == pytest.approx(0.45)
    assert (plain.done, plain.diverged, plain.failed) == (2, 1, 1)
    assert skip.accuracy is not None and skip.accuracy.interval is None
    assert (skip.done, skip.seconds) == (1, 20.0)
    assert best([plain, skip]) is skip


def test_every_state_is_counted(mixed: Any) -> None:
    assert state_counts(mixed) == {
        "queued": 2,
        "leased": 0,
        "done": 3,
        "failed": 1,
        "poisoned": 0,
        "paused": 0,
        "cancelled": 0,
    }


def test_nothing_is_best_before_a_trial_is_done(make: Any) -> None:
    study = make.study({})

    assert best(cell_results(make.report(study, [make.trial(0, "base", 0, **WAITING)]))) is None


def test_notes_say_what_is_missing_and_that_one_seed_is_never_enough(mixed: Any) -> None:
    notes = " ".join(figure_notes(mixed, cell_results(mixed)))

    for words in ("1 trial diverged and counts", "1 trial failed", "2 trials are not finished", "never enough"):
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

    assert not [word for word in ("never enough", "diverged", "failed", "not finished", "JPEG") if word in notes]


CLAIMS = [
    (Greater(kind="greater", claim="c", a={"model.skip": True}, b={"model.skip": False}, margin=0.1), "10 points"),
    (NotWorse(kind="not_worse", claim="c", a=SKIP, b=PLAIN, margin=0.01), "at most 1 point below"),
    (Equivalent(kind="equivalent", claim="c", a=SKIP, b=PLAIN, margin=0.005), "less than 0.5 points either way"),
    (AtChance(kind="at_chance", claim="c", a=SKIP), "within 2 points of guessing"),
    (Reaches(kind="reaches", claim="c", a=SKIP, target=0.95, margin=0.01), "or at most 1 point below it"),
    (Faster(kind="faster", claim="c", a=SKIP, b=PLAIN, target=0.9, by="epoch"), "counted in epochs"),
    (Best(kind="best", claim="c", factor="model.skip", level=True), "model.skip = yes has the highest"),
    (
        Trend(kind="trend", claim="c", factor="model.skip", direction="rising"),
        "is rising on average along",
    ),
]


@pytest.mark.parametrize(("claim", "words"), CLAIMS, ids=lambda part: getattr(part, "kind", ""))
def test_each_hypothesis_is_put_into_words_with_the_means_it_names(mixed: Any, claim: Any, words: str) -> None:
    means = {named.cell: named.value for named in named_means(claim, mixed.study, cell_results(mixed))}

    assert words in hypothesis_text(claim)
    assert means[SKIP] is not None and means[SKIP].mean == pytest.approx(0.7)
    assert set(means) <= {SKIP, PLAIN}


def hypothesis_rows(report: ReportStudy) -> Any:
    """What the page says of the cells of the study's hypothesis."""
    (verdict,) = verdicts(report)
    return hypothesis_view(verdict, named_means(verdict.hypothesis, report.study, cell_results(report)))["rows"]


def test_a_cell_that_is_done_without_a_finite_value_is_not_called_undone(make: Any) -> None:
    helps = Greater(kind="greater", claim="c", a="skip=no", b="skip=yes")
    report = make.report(
        make.study({"model.skip": (False, True)}, hypotheses=(helps,)),
        [make.trial(0, "skip=no", 0, final={"val/accuracy": float("nan")})],
    )

    assert [row["mean"] for row in hypothesis_rows(report)] == ["no finite value", "no trial is done"]


def test_a_hypothesis_without_results_says_so(make: Any) -> None:
    report = make.report(make.study({"model.skip": (False, True)}, hypotheses=(CLAIMS[0][0],)), [])

    assert [(row["role"], row["mean"], row["n"]) for row in hypothesis_rows(report)] == [
        ("a", "no trial is done", 0),
        ("b", "no trial is done", 0),
    ]


def test_crossed_factors_choose_colour_and_dash(make: Any) -> None:
    study = make.study()

    found = [cell_styles(study)[cell.name] for cell in study.cells]

    assert [look.colour for look in found] == [0, 0, 1, 1, 2, 2]
    assert [look.dash for look in found] == ["solid", "dash"] * 3


@pytest.mark.parametrize("cells", [1, 7, 28])
def test_no_two_cells_look_alike_while_there_are_looks(make: Any, cells: int) -> None:
    study = make.study({"batch_size": tuple(range(1, cells + 1))})

    assert len(set(cell_styles(study).values())) == cells


def test_a_thousand_cells_still_have_looks(make: Any) -> None:
    study = make.study({"batch_size": tuple(range(1, 1001))}, seeds=1)

    assert len(cell_styles(study)) == 1000


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
