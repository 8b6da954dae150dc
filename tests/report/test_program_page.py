"""The page, table and JSON of a study of a user's own program."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from support.programs import program_report, program_study

from cifarsweep.analysis.comparison import compare
from cifarsweep.analysis.study import analyse
from cifarsweep.report.comparison_page import comparison_view
from cifarsweep.report.comparison_page import lead as comparison_lead
from cifarsweep.report.figures import curve_payload
from cifarsweep.report.render import render_study, write_comparison
from cifarsweep.report.results_table import results_table
from cifarsweep.report.study_page import study_view
from cifarsweep.report.summary import study_fields
from cifarsweep.spec.hypothesis import Greater
from cifarsweep.spec.search_reader import point_cell
from cifarsweep.spec.search_space import Choices, Range, Search

ERRS = Greater(kind="greater", claim="0.1 errs more", a={"lr": 0.1}, b={"lr": 0.01}, metric="dev/error")
#: What is true of our own loop alone.
FOREIGN = (
    "FLOP",
    "images",
    "data set",
    "augment",
    "test set",
    "accuracy",
    "cifar",
    "classes",
    "--cpu",
    "data download",
)


def text_of(page: str) -> str:
    """What a reader sees of a page."""
    body = page.split("<main>")[1].split("<script")[0]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body)).replace("\N{NARROW NO-BREAK SPACE}", " ")


def test_a_page_says_nothing_that_only_our_own_loop_knows() -> None:
    report = program_report(program_study("dev/error", hypotheses=(ERRS,)), [0.3, 0.2, 0.1], spread=0.001)

    page = text_of(render_study(analyse(report)))

    told = page.replace("cifarsweep", "")
    assert not [word for word in FOREIGN if word in told]
    assert "Of 3 cells, lr=0.01 has the lowest mean dev/error: 0.101" in page
    assert "dev/error at the end of training: mean ± half of the 95 % interval" in page.replace("&nbsp;", " ")
    assert "supported" in page


def test_a_page_names_command_files_commit_and_packages() -> None:
    page = text_of(render_study(analyse(program_report(program_study(), [0.9, 0.8, 0.7]))))

    assert "python train.py --lr &#39;{lr}&#39; --seed &#39;{seed}&#39;" in page
    assert f"sha256 {program_study().program.sha256} of 2 files" in page
    assert f"{'a' * 64} train.py" in page
    assert "git commit 0123456789ab, with all committed" in page and f"packages sha256 {'c' * 64}" in page
    assert "ran with python 3.11.2" in page
    assert "cifarsweep worker --study own --program own.toml" in page
    assert "cifarsweep replay own/0 --program own.toml" in page


def test_commits_that_differ_between_cells_are_confounds() -> None:
    study = program_study()
    report = program_report(study, [0.9, 0.8, 0.7])
    dirty = program_report(study, [0.9, 0.8, 0.7], versions={"program git": "0123456789ab with changes"})
    mixed = (*report.trials[:4], *dirty.trials[4:])

    page = text_of(render_study(analyse(replace(report, trials=mixed))))

    assert "Commit of the program" in page and "0123456789ab with changes" in page


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("values", [[3.0, 3.0, 3.0], [1e9, -2.0, 0.0], [0.3, 0.2, 0.1]])
def test_figures_hold_few_logged_steps_and_any_numbers(steps: int, values: list[float]) -> None:
    report = program_report(program_study("bleu"), values, steps, spread=0.0)

    view = study_view(analyse(report))

    payload = view["payload"]
    assert json.loads(json.dumps(payload, allow_nan=False))["share"] is False
    assert [metric["name"] for metric in curve_payload(report)["metrics"]] == ["bleu", "lines"]
    assert payload["reach"] is None and payload["gaps"] is None
    assert len(view["scale"]) == 2 and "%" not in "".join(view["scale"])


def test_a_program_that_logged_nothing_yet_has_a_page() -> None:
    study = program_study("dev/error")
    report = program_report(study, [0.3, 0.2, 0.1])
    empty = replace(report, trials=(), series={})

    assert "No trial is done yet" in text_of(render_study(analyse(empty)))


def test_a_program_that_never_reported_its_metric_is_told_so() -> None:
    report = program_report(program_study("dev/error"), [float("nan")] * 3)

    page = text_of(render_study(analyse(report)))

    assert "No trial that is done has a finite dev/error" in page


def test_the_table_of_a_terminal_has_the_metric_and_no_per_cent() -> None:
    console = Console(width=80, record=True, file=None, force_terminal=False)
    with console.capture() as told:
        console.print(results_table(analyse(program_report(program_study("dev/word_error"), [0.3, 0.2, 0.1]))))

    shown = told.get()
    assert "dev/word_err" in shown and "0.11" in shown and "%\n" not in shown.split("lr=0.1")[0].replace("95 %", "")


def test_a_share_is_told_in_per_cent() -> None:
    view = study_view(analyse(program_report(program_study("dev/accuracy"), [0.9, 0.8, 0.7])))

    assert view["results"][0]["mean"].startswith("91.0") and view["scale"][0].endswith("%")
    assert view["payload"]["share"] is True


def test_json_has_the_metric_and_the_digest_of_the_program() -> None:
    fields = study_fields(analyse(program_report(program_study("bleu"), [3.0, 2.0, 1.0])))

    assert (fields["metric"], fields["program"]) == ("bleu", program_study("bleu").program.sha256)
    assert fields["cells"][0]["mean"] == pytest.approx(3.01)


def test_a_search_for_the_least_error_shows_its_points() -> None:
    search = Search(n_trials=3, space={"lr": Range(low=0.01, high=0.1), "kind": Choices(choices=("a", "b"))})
    points = [{"lr": 0.1, "kind": "a"}, {"lr": 0.05, "kind": "b"}, {"lr": 0.01, "kind": "a"}]
    cells = tuple(point_cell(search, point, "", free=True) for point in points)
    compared = program_report(program_study("dev/error", seeds=1, factors={}, cells=cells), [0.3, 0.2, 0.1])
    report = replace(compared, study=compared.study.model_copy(update={"search": search}))

    page = text_of(render_study(analyse(report)))

    assert "#2 (lr=0.01, kind=a) has the lowest dev/error: 0.1" in page
    assert "The best so far is #2: 0.1; lr 0.01, kind a." in page
    assert "cifarsweep create --from own --best 3 --seeds 5" in page


def test_two_studies_of_programs_are_compared_in_their_own_unit(tmp_path: Path) -> None:
    a, b = (
        program_report(program_study("bleu", name=name), values, spread=0.001)
        for name, values in (("own", [30.0, 20.0, 10.0]), ("again", [32.0, 20.0, 10.0]))
    )

    found = compare(a, b)

    assert "1 reaches a higher bleu in B" in comparison_lead(found)
    row = comparison_view(found)["rows"][0]
    assert row["difference"].startswith("2.0000 (1.9977 to") and "points" not in row["mark"]["label"]
    assert "bleu at the end of training" in text_of(write_comparison(found, tmp_path).read_text())


def test_names_of_metrics_are_escaped() -> None:
    page = render_study(analyse(program_report(program_study("<b>error"), [0.3, 0.2, 0.1])))

    assert "<b>error" not in page.replace("<b>Table", "").replace("<b>Figure", "")
