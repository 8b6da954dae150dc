"""Old runs from TensorBoard's event files."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text as sql
from typer.testing import CliRunner

from cifarsweep.cli.app import app
from cifarsweep.errors import CifarsweepError, DataError, StoreError, StudyExists
from cifarsweep.report.collect import collect
from cifarsweep.report.compare import compare
from cifarsweep.report.export import export
from cifarsweep.report.notes import figure_notes
from cifarsweep.report.pages import render_study, write_comparison
from cifarsweep.report.tensorboard import _cell_and_seed, imported_study, read_runs
from cifarsweep.store import Store


def write_run(folder: Path, values: list[float], tag: str = "test_acc", wall: float = 100.0) -> Path:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    folder.mkdir(parents=True)
    path = folder / "events.out.tfevents.1.host"
    with path.open("wb") as file:
        writer = RecordWriter(file)
        writer.write(Event(wall_time=wall, file_version="brain.Event:2").SerializeToString())
        for step, value in enumerate(values):
            summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
            writer.write(Event(wall_time=wall + 2.0 * step, step=step, summary=summary).SerializeToString())
        writer.flush()
    return path


@pytest.fixture
def store(tmp_path: Path):
    with Store.open(f"sqlite:///{tmp_path / 'results.db'}", upgrade=True) as opened:
        yield opened


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Two seeds of one cell, and a run without a seed."""
    write_run(tmp_path / "logs" / "adam-seed=0", [0.25, 0.5])
    write_run(tmp_path / "logs" / "adam-seed=1", [0.25, 0.75])
    write_run(tmp_path / "logs" / "sgd", [0.125])
    return tmp_path / "logs"


def test_runs_become_trials_that_are_done(store: Store, logs: Path) -> None:
    runs = read_runs(logs, {"test_acc": "val/accuracy"})

    store.import_study(imported_study("old", logs, runs), runs)

    rows = store.trials("old")
    assert [(row.cell, row.seed, row.state, row.value) for row in rows] == [
        ("adam", 0, "done", 0.5),
        ("adam", 1, "done", 0.75),
        ("sgd", 0, "done", 0.125),
    ]
    steps, values = store.metrics("old", ["elapsed_s"])[1, "elapsed_s"]
    assert (steps.tolist(), values.tolist()) == ([0, 1], [0.0, 2.0])
    assert store.claim("w") is None
    assert store.check() == []


def test_a_name_that_is_taken_is_refused_and_nothing_written(store: Store, logs: Path) -> None:
    runs = read_runs(logs, {})
    store.import_study(imported_study("old", logs, runs), runs)

    with pytest.raises(StudyExists, match="choose another name"):
        store.import_study(imported_study("old", logs, runs[:1]), runs[:1])
    assert len(store.trials("old")) == 3


def test_optuna_is_told_of_imported_trials(store: Store, logs: Path) -> None:
    runs = read_runs(logs, {"test_acc": "val/accuracy"})
    store.import_study(imported_study("old", logs, runs), runs)

    assert store.tell() == 3
    assert store.check() == []


def test_what_was_exported_comes_back(store: Store, logs: Path, tmp_path: Path) -> None:
    runs = read_runs(logs, {})
    store.import_study(imported_study("old", logs, runs), runs)

    export(store, "old", "tensorboard", [], tmp_path / "again", force=False)
    again = read_runs(tmp_path / "again", {})

    assert [(run.cell, run.seed, run.rows) for run in again] == [(run.cell, run.seed, run.rows) for run in runs]


def test_crossed_cells_come_back_by_their_names(store: Store, tmp_path: Path) -> None:
    write_run(tmp_path / "logs" / "lr=1e-05, skip=no-seed=2", [0.25, 0.5])
    runs = read_runs(tmp_path / "logs", {})
    store.import_study(imported_study("old", tmp_path, runs), runs)

    export(store, "old", "tensorboard", [], tmp_path / "again", force=False)

    assert [(run.cell, run.seed) for run in read_runs(tmp_path / "again", {})] == [("lr=1e-05, skip=no", 2)]


def test_a_run_that_was_killed_keeps_what_is_whole(tmp_path: Path) -> None:
    path = write_run(tmp_path / "a", [0.25, 0.5, 0.75])
    path.write_bytes(path.read_bytes()[:-5])

    (run,) = read_runs(tmp_path, {})

    assert run.truncated
    assert [row.value for row in run.rows if row.name == "test_acc"] == [0.25, 0.5]


def test_a_damaged_file_is_refused_by_name(tmp_path: Path) -> None:
    path = write_run(tmp_path / "a", [0.25, 0.5, 0.75])
    broken = bytearray(path.read_bytes())
    broken[len(broken) // 2] ^= 1
    path.write_bytes(broken)

    with pytest.raises(DataError, match=f"{path.name}: is damaged"):
        read_runs(tmp_path, {})


def test_two_runs_of_one_trial_are_named(tmp_path: Path) -> None:
    write_run(tmp_path / "adam-seed=1", [0.5])
    write_run(tmp_path / "adam_s1", [0.5])

    with pytest.raises(DataError, match="are both 'adam' with seed 1"):
        read_runs(tmp_path, {})


def test_a_tag_to_rename_that_no_run_has_is_refused(logs: Path) -> None:
    with pytest.raises(DataError, match="no run has the tag 'test_ac' that --rename names; there are: test_acc"):
        read_runs(logs, {"test_ac": "val/accuracy"})


def test_a_report_claims_nothing_of_how_imported_runs_were_evaluated(store: Store, logs: Path) -> None:
    runs = read_runs(logs, {"test_acc": "val/accuracy"})
    store.import_study(imported_study("old", logs, runs), runs)

    notes = " ".join(figure_notes(collect(store, "old"), []))

    assert "the imported logs don't say" in notes
    assert "during training as well" not in notes and "planned" not in notes


def test_nobody_makes_up_settings_for_imported_trials(store: Store, logs: Path, tmp_path: Path) -> None:
    """Not in the tables, on the page, in `show`, nor where two studies are set side by side."""
    runs = read_runs(logs, {"test_acc": "val/accuracy"})
    store.import_study(imported_study("old", logs, runs), runs)
    store.import_study(imported_study("again", logs, runs), runs)

    row = store.trial("old", 0)
    assert row.own_settings is None
    with pytest.raises(StoreError, match=r"trial 0 \('adam'\) was imported from logs"):
        _ = row.settings
    query = sql("SELECT settings FROM v_trial UNION SELECT settings FROM cs_cell")
    assert store._db.read(lambda conn: conn.execute(query).all()) == [("null",)]
    report = collect(store, "old")
    side_by_side = write_comparison(compare(report, collect(store, "again")), tmp_path / "pages")
    texts = [shown_text(render_study(report)), shown_text(side_by_side.read_text())]
    url = store.shown_url
    texts += [CliRunner().invoke(app, ["show", "old/0", *options, "--db", url]).output for options in ([], ["--json"])]
    for text in texts:
        assert not re.search("adamw|convnet|cifar10|weight_decay|batch_size", text)
    assert "The settings of imported cells are not known." in texts[1]
    assert '"settings": null' in texts[3]
    spec = sql("SELECT spec FROM cs_study WHERE name = 'old'")
    cells = json.loads(store._db.read(lambda conn: conn.execute(spec).scalar_one()))["cells"]
    assert {cell["settings"] for cell in cells} == {None}


def shown_text(page: str) -> str:
    """Without scripts and styles, which name what a study might have."""
    return re.sub(r"<(script|style).*?</\1>", "", page, flags=re.DOTALL)


@pytest.mark.parametrize("command", [["replay", "old/0", "--cpu"], ["extend", "old", "--seeds", "3"]])
def test_an_imported_trial_is_not_trained_here(store: Store, logs: Path, command: list[str]) -> None:
    runs = read_runs(logs, {"test_acc": "val/accuracy"})
    store.import_study(imported_study("old", logs, runs), runs)

    said = CliRunner().invoke(app, [*command, "--db", store.shown_url])

    assert isinstance(said.exception, CifarsweepError)
    assert "imported" in str(said.exception)


def test_a_folder_without_scalars_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no scalars"):
        read_runs(tmp_path, {})


@pytest.mark.parametrize(
    ("label", "cell", "seed"),
    [
        ("lr=0.1/seed=3", "lr=0.1", 3),
        ("resnet_s12", "resnet", 12),
        ("seed7", "run", 7),
        ("vit-s16", "vit", 16),
        ("resnets3", "resnets3", 0),
        ("plain", "plain", 0),
    ],
)
def test_the_seed_is_read_from_the_name(label: str, cell: str, seed: int) -> None:
    assert _cell_and_seed(label) == (cell, seed)


@given(st.text(max_size=400))
def test_any_name_gives_a_cell_that_can_be_stored(label: str) -> None:
    cell, seed = _cell_and_seed(label)

    assert len(cell) <= 300
    assert seed >= 0


def test_the_command_says_what_it_did(logs: Path, tmp_path: Path) -> None:
    db = f"sqlite:///{tmp_path / 'new.db'}"
    done = CliRunner().invoke(app, ["import-tensorboard", str(logs), "--as", "old", "--db", db])

    assert done.exit_code == 0
    assert "old: 3 trials of 2 cells imported" in done.output
    assert "no tag is val/accuracy" in done.output
