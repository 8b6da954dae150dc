"""The notebook API, on a small database; and the example notebook's cells."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.programs import program_study
from support.studies import Maker

import cifarsweep
from cifarsweep.errors import OutputError, UnknownStudy
from cifarsweep.spec.hypothesis import Greater
from cifarsweep.spec.reported import Reported
from cifarsweep.spec.settings import Optimizer, Settings
from cifarsweep.spec.study import Cell, Study
from cifarsweep.spec.types import MetricRow, Outcome, TrialResult
from cifarsweep.store import Store

RATES = {"slow": 0.1, "fast": 0.2}
NOTEBOOK = Path(__file__).parents[1] / "reports" / "example.ipynb"


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A study of two cells and three seeds, all done: `fast` is better by a tenth."""
    url = f"sqlite:///{tmp_path / 'results.db'}"
    with Store.open(url, upgrade=True) as store:
        store.studies.create(two_rates("demo"))
        while lease := store.queue.claim("w"):
            # In another order of the seeds, so that the differences have a spread.
            last = RATES[lease.cell] + 0.5 + (lease.seed if lease.cell == "slow" else 2 * lease.seed % 3) / 100
            rows = [MetricRow("val/accuracy", step, last * step / 4) for step in range(1, 5)]
            times = [MetricRow(name, step, 2.0 * step) for step in range(1, 5) for name in ("elapsed_s", "epoch")]
            result = TrialResult(Outcome.FINISHED, 4, {"val/accuracy": last}, "f" * 64)
            store.queue.finish(lease, rows + times, None, result)
    return url


def two_rates(name: str) -> Study:
    cells = tuple(
        Cell(
            name=cell,
            levels={"optimizer.lr": lr},
            settings=Settings(dataset="digits", epochs=1, optimizer=Optimizer(lr=lr)),
        )
        for cell, lr in RATES.items()
    )
    claim = Greater(kind="greater", claim="fast is better", a="fast", b="slow")
    reported = (Reported(cell="fast", metric="val/accuracy", value=0.71, tolerance=0.2),)
    return Study(name=name, question="?", cells=cells, seeds=(0, 1, 2), hypotheses=(claim,), reported=reported)


@pytest.fixture
def results(url: str) -> Iterator["cifarsweep.notebook.Results"]:
    with cifarsweep.open(url) as opened:
        yield opened


def test_studies_and_trials_are_tables(results: "cifarsweep.notebook.Results") -> None:
    trials = results.study("demo").trials()

    assert list(results.studies()["name"]) == ["demo"]
    assert trials.groupby("cell")["val/accuracy"].mean().round(6).to_dict() == {"slow": 0.61, "fast": 0.71}
    assert set(trials["state"]) == {"done"}


def test_no_two_columns_of_trials_share_a_name(tmp_path: Path) -> None:
    url, last = f"sqlite:///{tmp_path / 'names.db'}", {"elapsed_s": 8.0, "step": 9.0, "optimizer.lr": 7.0, "state": 1.0}
    with Store.open(url, upgrade=True) as store:
        store.studies.create(two_rates("names"))
        lease = store.queue.claim("w")
        rows = [MetricRow("elapsed_s", 4, 8.0)]
        store.queue.finish(lease, rows, None, TrialResult(Outcome.FINISHED, 4, last | {"last/step": 6.0}, ""))

    with cifarsweep.open(url) as results:
        trials = results.study("names").trials()

    assert trials.columns.is_unique
    assert trials.loc[0, ["step", "last/step", "last/last/step", "last/optimizer.lr"]].tolist() == [4, 6.0, 9.0, 7.0]
    assert trials.loc[0, ["state", "elapsed_s", "last/state"]].tolist() == ["done", 8.0, 1.0]
    assert "last/elapsed_s" not in trials, "it is the trial's own"


def test_metrics_are_long(results: "cifarsweep.notebook.Results") -> None:
    long = results.study("demo").metrics("val/accuracy")

    assert list(long.columns) == ["trial", "cell", "seed", "name", "step", "value"]
    assert len(long) == 6 * 4
    assert long[(long.trial == 0) & (long.step == 4)].value.item() == 0.6


def test_effects_of_crossed_factors_come_as_a_table(tmp_path: Path) -> None:
    """Given two factors of two levels, each cell with two seeds 0.02 apart, then levels are averaged over the other."""
    url = f"sqlite:///{tmp_path / 'crossed.db'}"
    study = Maker().study({"optimizer.lr": (0.1, 0.2), "model.skip": (False, True)}, seeds=2, name="crossed")
    means = dict(zip((cell.name for cell in study.cells), (0.5, 0.6, 0.7, 0.8), strict=True))
    with Store.open(url, upgrade=True) as store:
        store.studies.create(study)
        while lease := store.queue.claim("w"):
            final = {"val/accuracy": means[lease.cell] + 0.02 * lease.seed}
            store.queue.finish(lease, [], None, TrialResult(Outcome.FINISHED, 4, final, "f" * 64))

    with cifarsweep.open(url) as results:
        table = results.study("crossed").effects()

    assert table[["factor", "level"]].values.tolist() == [
        ["optimizer.lr", 0.1], ["optimizer.lr", 0.2], ["model.skip", False], ["model.skip", True],
    ]  # fmt: skip
    assert table["mean"].tolist() == pytest.approx([0.56, 0.76, 0.61, 0.71])
    assert (table["low"] < table["mean"]).all() and table["runs"].tolist() == [4] * 4


def test_a_study_that_crosses_no_factors_has_no_effects(results: "cifarsweep.notebook.Results") -> None:
    assert results.study("demo").effects().empty


def test_verdicts_come_as_a_table(results: "cifarsweep.notebook.Results") -> None:
    (verdict,) = results.study("demo").verdicts().to_dict("records")

    assert verdict["decision"] == "supported"
    assert verdict["estimate"] == pytest.approx(0.1)


def test_reported_numbers_come_as_a_table(results: "cifarsweep.notebook.Results") -> None:
    (row,) = results.study("demo").reported().to_dict("records")

    assert (row["cell"], row["at"], row["n"], row["standing"]) == ("fast", "the end", 3, "in line")
    assert row["low"] < row["reported"] < row["high"] and row["found"] == pytest.approx(0.71)
    assert row["sentence"].endswith("expected to be higher.")


@pytest.mark.parametrize(("x", "last"), [("step", 4), ("elapsed_s", 8.0)])
def test_the_figure_has_a_mean_and_a_band_a_cell(results: "cifarsweep.notebook.Results", x: str, last: float) -> None:
    figure = results.study("demo").figure(x=x)

    lines = [trace for trace in figure.data if trace.name]
    assert [trace.name for trace in lines] == ["slow (n = 3)", "fast (n = 3)"]
    assert max(lines[1].x) == last
    assert lines[1].y[-1] == pytest.approx(0.71)


def test_what_is_not_there_is_named(results: "cifarsweep.notebook.Results") -> None:
    with pytest.raises(UnknownStudy, match="Known: demo"):
        results.study("demos")
    with pytest.raises(OutputError, match="it has: elapsed_s, epoch, val/accuracy"):
        results.study("demo").figure(metric="val/acc")


def test_importing_the_package_costs_nothing() -> None:
    code = "import sys, cifarsweep; print([name for name in ('pandas', 'sqlalchemy', 'torch') if name in sys.modules])"

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_study_that_nobody_can_close_is_closed_when_dropped(url: str, left_open: Callable[[], list[str]]) -> None:
    study = cifarsweep.open(url).study("demo")
    assert len(study.trials()) == 6 and left_open()

    del study

    assert left_open() == []


def test_the_example_notebook_runs(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    code = "\n".join("".join(cell["source"]) for cell in cells).replace("sqlite:///demo.db", url)

    exec(compile(code, str(NOTEBOOK), "exec"), {})  # noqa: S102 - our own file

    assert cells
    assert all(cell["outputs"] for cell in cells[1:]), "the notebook that ships has been executed"


@pytest.mark.parametrize("name", [None, 3, ["demo"]])
def test_a_study_that_is_called_by_no_name_is_one_sentence(url, name):
    with cifarsweep.open(url) as results, pytest.raises(UnknownStudy, match="called by its name.*'demo'"):
        results.study(name)


def test_table_and_figure_of_a_program_are_about_its_metric(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'own.db'}"
    with Store.open(url, upgrade=True) as store:
        store.studies.create(program_study("dev/error", seeds=2))
        while lease := store.queue.claim("w"):
            rows = [MetricRow("dev/error", step, 1 / step) for step in (1, 2)]
            store.queue.finish(lease, rows, None, TrialResult(Outcome.FINISHED, 2, {"dev/error": 0.5}, ""))

    with cifarsweep.open(url) as opened:
        trials, figure = opened.study("own").trials(), opened.study("own").figure()

    assert list(trials["lr"]) == [0.1, 0.03, 0.01] * 2 and list(trials["dev/error"]) == [0.5] * 6
    assert figure.layout.yaxis.title.text == "dev/error"
