"""Runs that others reported: imported, drawn, told and held against ours, and in no result."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.studies import HIGH, LOW
from typer.testing import CliRunner

import cifarsweep
from cifarsweep.analysis.study import StudyAnalysis, load_study
from cifarsweep.cli.app import app
from cifarsweep.report.figures import unpacked
from cifarsweep.report.render import render_study
from cifarsweep.report.reported_text import reported_lines
from cifarsweep.report.study_page import study_view
from cifarsweep.report.summary import study_fields
from cifarsweep.spec.reported_runs import ReportedRuns
from cifarsweep.spec.study import Cell, Study
from cifarsweep.spec.types import MetricRow, Outcome, TrialResult
from cifarsweep.store import Store
from cifarsweep.store.records import FinishedRun

CELLS = {LOW: 0.5, HIGH: 0.7}


def rows(last: int, ends: float, every: int = 10) -> tuple[MetricRow, ...]:
    steps = range(every, last + 1, every)
    accuracies = [MetricRow("val/accuracy", step, ends * step / last) for step in steps]
    return (*accuracies, *(MetricRow("epoch", step, step / 50) for step in steps))


def runs_of(store: Store, **runs: tuple[MetricRow, ...]) -> None:
    cells = tuple(Cell(name=name, levels={}, settings=None) for name in runs)
    study = Study(name="backbone", question="?", cells=cells, seeds=(0,), imported=True)
    store.studies.add_finished(study, [FinishedRun(name, 0, rows) for name, rows in runs.items()])


def train(store: Store, study: Study) -> None:
    """Train 100 steps: a cell ends at 0.5 or 0.7, its seeds a hundredth apart."""
    store.studies.create(study)
    while lease := store.queue.claim("w"):
        ends = CELLS.get(lease.cell, 0.6) + lease.seed / 100
        result = TrialResult(Outcome.FINISHED, 100, {"val/accuracy": ends}, "f" * 64)
        store.queue.finish(lease, rows(100, ends), None, result)


@pytest.fixture
def url(make: Any, tmp_path: Path) -> str:
    """Three rates with three seeds; for two cells, runs of an imported study, of which one is twice as long."""
    url = f"sqlite:///{tmp_path}/runs.db"
    given = ReportedRuns(study="backbone", runs={LOW: ("equal",), HIGH: ("longer", "nobody")})
    with Store.open(url, upgrade=True) as store:
        runs_of(store, equal=rows(100, 0.9), longer=rows(200, 0.9), bystander=rows(100, 0.1))
        train(store, make.study({"optimizer.lr": (0.1, 0.2, 0.3)}, reported_runs=given))
    return url


@pytest.fixture
def analysis(url: str) -> StudyAnalysis:
    with Store.open(url, read_only=True) as store:
        return load_study(store, "tried")


def plain(text: str) -> str:
    return text.replace("\N{NARROW NO-BREAK SPACE}", " ")


def test_the_figure_has_a_grey_curve_a_run_up_to_the_end_of_ours(analysis: StudyAnalysis) -> None:
    payload = study_view(analysis)["payload"]
    place = [metric["name"] for metric in payload["metrics"]].index("val/accuracy")

    drawn = [(run["cell"], run["name"], unpacked(run["curves"][place]["steps"])[-1]) for run in payload["reported"]]

    assert drawn == [(0, "equal", 100), (2, "longer", 100)]
    assert unpacked(payload["reported"][1]["curves"][place]["mean"])[-1] == pytest.approx(0.45)


def test_page_json_and_terminal_have_a_row_a_run_and_say_what_is_missing(analysis: StudyAnalysis, url: str) -> None:
    page, fields = plain(render_study(analysis)), study_fields(analysis)
    said = CliRunner().invoke(app, ["report", "tried", "--db", url, "--json"])

    assert "run equal of backbone" in page and "reported (runs of backbone)" in page
    assert "200 steps long" in page
    lines = [plain(line) for line in reported_lines(analysis)]
    assert lines[0].startswith(f"{LOW}, test accuracy at the end: reported is 90.00 % from the run equal; found")
    assert "The study 'backbone' has no run 'nobody'. It has: equal; longer; bystander." in lines
    assert "Reported runs drawn by step: equal; longer." in lines
    assert [(row["run"], row["standing"]) for row in fields["reported"]] == [
        ("equal", "higher than a run of ours would give"),
        ("longer", "lower than a run of ours would give"),
    ]
    (printed,) = json.loads(said.stdout)
    assert printed["reported"] == json.loads(json.dumps(fields["reported"]))
    assert printed["reported_runs"] == json.loads(json.dumps(fields["reported_runs"]))


def test_a_study_that_is_not_there_is_a_note_and_no_failure(make: Any, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/alone.db"
    given = ReportedRuns(study="backbone", runs={LOW: ("equal",)})
    with Store.open(url, upgrade=True) as store:
        train(store, make.study({"optimizer.lr": (0.1,)}, reported_runs=given))
        analysis = load_study(store, "tried")

    shown = CliRunner().invoke(app, ["report", "tried", "--db", url, "--out", str(tmp_path / "pages")])

    note = "The study 'backbone', whose runs are to be drawn as reported, is not in this database or can't be read"
    assert shown.exit_code == 0 and note in " ".join(shown.output.split())
    assert note in (tmp_path / "pages" / "tried.html").read_text().replace("&#39;", "'")
    assert study_fields(analysis)["reported_runs"]["notes"][0].startswith(note)


def test_what_is_exported_and_compared_is_ours_alone(url: str, tmp_path: Path) -> None:
    call = CliRunner().invoke
    exported = call(app, ["export", "tried", "--db", url, "--format", "csv", "--out", str(tmp_path / "all.csv")])
    compared = call(app, ["report", "--compare", "tried", "tried", "--db", url, "--json"])

    assert (exported.exit_code, compared.exit_code) == (0, 0)
    assert "equal" not in (tmp_path / "all.csv").read_text()
    assert [cell["difference"] for cell in json.loads(compared.stdout)["cells"]] == [0.0] * 3


def test_a_notebook_has_the_rows_and_the_lines(url: str) -> None:
    with cifarsweep.open(url) as results:
        study = results.study("tried")
        table, figure = study.reported(), study.figure()
        by_epoch = study.figure(x="epoch")

    assert list(table["source"]) == ["run equal of backbone", "run longer of backbone"]
    reported = [trace for trace in figure.data if "(reported)" in str(trace.name)]
    assert [(trace.name, float(np.max(trace.x))) for trace in reported] == [
        ("equal (reported)", 100),
        ("longer (reported)", 100),
    ]
    assert not [trace for trace in by_epoch.data if "(reported)" in str(trace.name)]


@pytest.mark.parametrize(("imported", "written"), [("optimizer=sgd", "name=sgd"), ("name=sgd", "optimizer=sgd")])
def test_a_run_may_be_named_in_the_words_of_another_version(
    make: Any, tmp_path: Path, imported: str, written: str
) -> None:
    cell = Cell(name=imported, levels={"optimizer.name": "sgd"}, settings=None)
    factors = {"optimizer.name": ("sgd",)}
    backbone = Study(name="backbone", question="?", factors=factors, cells=(cell,), seeds=(0,), imported=True)
    given = ReportedRuns(study="backbone", runs={LOW: (written,)})
    with Store.open(f"sqlite:///{tmp_path}/runs.db", upgrade=True) as store:
        store.studies.add_finished(backbone, [FinishedRun(imported, 0, rows(100, 0.9))])
        train(store, make.study({"optimizer.lr": (0.1, 0.2)}, reported_runs=given))
        analysis = load_study(store, "tried")

    assert [run["name"] for run in study_view(analysis)["payload"]["reported"]] == [written]
    assert not any("has no run" in line for line in reported_lines(analysis))
