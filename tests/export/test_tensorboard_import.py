"""Old runs from TensorBoard's event files."""

import json
import math
import os
import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text as sql
from typer.testing import CliRunner

from cifarsweep.analysis.comparison import compare
from cifarsweep.analysis.study import analyse, load_study
from cifarsweep.cli.app import app
from cifarsweep.errors import CifarsweepError, DataError, StoreError, StudyExists
from cifarsweep.export.run_folders import cell_and_seed
from cifarsweep.export.tables import export
from cifarsweep.export.tensorboard_import import imported_study
from cifarsweep.export.tensorboard_import import read_runs as read_all
from cifarsweep.report.notes import figure_notes
from cifarsweep.report.render import render_study, write_comparison
from cifarsweep.spec.settings import Optimizer, Settings
from cifarsweep.spec.study import Cell, Study
from cifarsweep.spec.types import MetricRow, Outcome, TrialResult
from cifarsweep.store import Store
from cifarsweep.store.records import FinishedRun


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


def read_runs(folder: Path, names: dict[str, str] | None = None) -> list:
    return read_all(folder, names or {}).runs


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

    store.studies.add_finished(imported_study("old", logs, runs), runs)

    rows = store.trials.all("old")
    assert [(row.cell, row.seed, row.state, row.value) for row in rows] == [
        ("adam", 0, "done", 0.5),
        ("adam", 1, "done", 0.75),
        ("sgd", 0, "done", 0.125),
    ]
    steps, values = store.metrics.read("old", ["elapsed_s"])[1, "elapsed_s"]
    assert (steps.tolist(), values.tolist()) == ([0, 1], [0.0, 2.0])
    assert store.queue.claim("w") is None
    assert store.admin.check() == []


def test_a_name_that_is_taken_is_refused_and_nothing_written(store: Store, logs: Path) -> None:
    runs = read_runs(logs, {})
    store.studies.add_finished(imported_study("old", logs, runs), runs)

    with pytest.raises(StudyExists, match="choose another name"):
        store.studies.add_finished(imported_study("old", logs, runs[:1]), runs[:1])
    assert len(store.trials.all("old")) == 3


def test_optuna_is_told_of_imported_trials(store: Store, logs: Path) -> None:
    runs = read_runs(logs, {"test_acc": "val/accuracy"})
    store.studies.add_finished(imported_study("old", logs, runs), runs)

    assert store.sync_optuna() == 3
    assert store.admin.check() == []


def test_what_was_exported_comes_back(store: Store, logs: Path, tmp_path: Path) -> None:
    runs = read_runs(logs, {})
    store.studies.add_finished(imported_study("old", logs, runs), runs)

    export(store, "old", "tensorboard", [], tmp_path / "again", force=False)
    again = read_runs(tmp_path / "again", {})

    assert [(run.cell, run.seed, run.rows) for run in again] == [(run.cell, run.seed, run.rows) for run in runs]


def test_crossed_cells_come_back_by_their_names(store: Store, tmp_path: Path) -> None:
    write_run(tmp_path / "logs" / "lr=1e-05, skip=no-seed=2", [0.25, 0.5])
    runs = read_runs(tmp_path / "logs", {})
    store.studies.add_finished(imported_study("old", tmp_path, runs), runs)

    export(store, "old", "tensorboard", [], tmp_path / "again", force=False)

    assert [(run.cell, run.seed) for run in read_runs(tmp_path / "again", {})] == [("lr=1e-05, skip=no", 2)]


def test_a_run_that_was_killed_keeps_what_is_whole(tmp_path: Path) -> None:
    path = write_run(tmp_path / "a", [0.25, 0.5, 0.75])
    path.write_bytes(path.read_bytes()[:-5])

    found = read_all(tmp_path, {})
    (run,) = found.runs

    assert found.notes == [f"{str(path)!r} ends in the middle of a record; what came before is imported"]
    assert [row.value for row in run.rows if row.name == "test_acc"] == [0.25, 0.5]


def test_of_a_damaged_file_what_came_before_is_imported_and_said(tmp_path: Path) -> None:
    path = write_run(tmp_path / "a", [0.25, 0.5, 0.75])
    broken = bytearray(path.read_bytes())
    broken[len(broken) // 2] ^= 1
    path.write_bytes(broken)

    found = read_all(tmp_path, {})

    assert found.notes == [f"{str(path)!r} is damaged from a place on; what came before is imported"]
    assert 0 < len(found.runs[0].rows) < 6


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
    store.studies.add_finished(imported_study("old", logs, runs), runs)

    notes = " ".join(figure_notes(load_study(store, "old").report, []))

    assert "the imported logs don't say" in notes
    assert "during training as well" not in notes and "planned" not in notes


def test_nobody_makes_up_settings_for_imported_trials(store: Store, logs: Path, tmp_path: Path) -> None:
    """Not in the tables, on the page, in `show`, nor where two studies are set side by side."""
    runs = read_runs(logs, {"test_acc": "val/accuracy"})
    store.studies.add_finished(imported_study("old", logs, runs), runs)
    store.studies.add_finished(imported_study("again", logs, runs), runs)

    row = store.trials.get("old", 0)
    assert row.own_settings is None
    with pytest.raises(StoreError, match=r"trial 0 \('adam'\) was imported from logs"):
        _ = row.settings
    query = sql("SELECT settings FROM v_trial UNION SELECT settings FROM cs_cell")
    assert store._db.read(lambda conn: conn.execute(query).all()) == [("null",)]
    report = load_study(store, "old").report
    side_by_side = write_comparison(compare(report, load_study(store, "again").report), tmp_path / "pages")
    texts = [shown_text(render_study(analyse(report))), shown_text(side_by_side.read_text())]
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
    store.studies.add_finished(imported_study("old", logs, runs), runs)

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
        ("resnet_seed=1_s2", "resnet_s2", 1),
    ],
)
def test_the_seed_is_read_from_the_name(label: str, cell: str, seed: int) -> None:
    assert cell_and_seed(label, {}) == (cell, seed)


@given(st.text(max_size=400))
def test_any_name_gives_a_cell_that_can_be_stored(label: str) -> None:
    cell, seed = cell_and_seed(label, {})

    assert len(cell) <= 300
    assert seed >= 0


def test_the_command_says_what_it_did(logs: Path, tmp_path: Path) -> None:
    db = f"sqlite:///{tmp_path / 'new.db'}"
    done = CliRunner().invoke(app, ["import-tensorboard", str(logs), "--as", "old", "--db", db])

    assert done.exit_code == 0
    assert "old: 3 trials of 2 cells imported" in done.output
    assert "no tag is val/accuracy" in done.output


EVIL = [
    "基线",
    "跳跃连接",
    "é",
    unicodedata.normalize("NFD", "é"),
    "a" * 290 + ": norms",
    "a" * 290 + ": weights",
    "lr=0.1, seed=3/x: y",
    "../up\\here",
]
NUMBERS = [0.1, 1 / 3, -0.0, math.nan, math.inf, -math.inf, 5e-324, 1e300, 94.98]


def trained(store: Store) -> Study:
    """A study whose names, levels and numbers are hard to keep; one trial diverged, and the last is under way."""
    rates = tuple(0.1 + 0.01 * number for number in range(len(EVIL)))
    cells = tuple(
        Cell(
            name=name,
            levels={"optimizer.lr": rate, "model.widths": (8, 16), "optimizer.clip": None},
            settings=Settings(dataset="digits", epochs=1, optimizer=Optimizer(lr=rate)),
        )
        for name, rate in zip(EVIL, rates, strict=True)
    )
    factors = {"optimizer.lr": rates, "model.widths": ((8, 16),), "optimizer.clip": (None,)}
    study = Study(name="s", question="Welche?", factors=factors, cells=cells, seeds=(0, 1234567890123))
    store.studies.create(study)
    for number in range(study.planned):
        lease = store.queue.claim("w")
        assert lease
        rows = [MetricRow("val/accuracy", 10 * step, value) for step, value in enumerate(NUMBERS)]
        rows += [MetricRow("a: b/c 100 %", 2**40, number), MetricRow("elapsed_s", 2**40, 1.1 * number)]
        if number == study.planned - 1:
            store.queue.write(lease, rows)
        else:
            outcome = Outcome.DIVERGED if number == study.planned - 2 else Outcome.FINISHED
            store.queue.finish(lease, rows, None, TrialResult(outcome, 2**40, {"params": 7.0, "x": math.nan}, "f" * 64))
    return study


def test_what_was_exported_comes_back_to_the_last_bit(store: Store, tmp_path: Path) -> None:
    study = trained(store)
    export(store, "s", "tensorboard", [], tmp_path / "runs", force=False)

    found = read_all(tmp_path / "runs", {})
    store.studies.add_finished(imported_study("again", tmp_path / "runs", found.runs), found.runs)

    assert found.notes == [] and list(found.left_out.sentences()) == []
    back = store.studies.get("again").spec
    assert (back.question, back.factors, back.seeds) == (study.question, study.factors, study.seeds)
    assert [(cell.name, cell.levels) for cell in back.cells] == [(cell.name, cell.levels) for cell in study.cells]
    assert facts(store, "again") == facts(store, "s")
    last = store.trials.all("again")[-1]
    assert (last.state, last.outcome, last.final) == ("cancelled", None, {}), "it had not ended"


def facts(store: Store, study: str) -> list[object]:
    """Everything of its trials that an export holds."""
    names = store.metrics.names(study)
    series = store.metrics.read(study, names)
    rows = [
        (row.number, row.cell, row.seed, dict(row.levels), row.outcome, repr(row.final), row.value)
        for row in store.trials.all(study)
    ]
    curves = [
        (key, steps.tolist(), [value.hex() for value in values.tolist()]) for key, (steps, values) in series.items()
    ]
    return [rows, sorted(curves)]


def test_folders_of_an_export_tell_cells_apart_without_its_records(store: Store, tmp_path: Path) -> None:
    """Where somebody renamed them, or an old version of this program reads them."""
    trained(store)
    export(store, "s", "tensorboard", [], tmp_path / "runs", force=False)

    names = [path.name for path in (tmp_path / "runs").iterdir()]

    assert len({cell_and_seed(name, {}) for name in names}) == len(names) == 16
    assert len({cell_and_seed(name, {})[0] for name in names}) == len(EVIL)
    assert max(len(name.encode()) for name in names) < 256


def test_a_trial_of_an_import_is_not_queued_again(store: Store, tmp_path: Path) -> None:
    trained(store)
    export(store, "s", "tensorboard", [], tmp_path / "runs", force=False)
    runs = read_runs(tmp_path / "runs")
    store.studies.add_finished(imported_study("again", tmp_path / "runs", runs), runs)

    for number in (None, 15):
        with pytest.raises(StoreError, match="'again' was imported: its trials were trained elsewhere"):
            store.control.retry("again", number)
    assert store.trials.all("again")[-1].state == "cancelled"


def log(
    folder: Path, rows: list[tuple[int, dict[str, float], float]], name: str = "1", start: int | None = None
) -> Path:
    """An event file: steps, the values of tags, and when they were written."""
    from tensorboard.compat.proto.event_pb2 import Event, SessionLog
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"events.out.tfevents.{name}.host").open("wb") as file:
        writer = RecordWriter(file)
        writer.write(Event(wall_time=rows[0][2], file_version="brain.Event:2").SerializeToString())
        if start is not None:
            begun = SessionLog(status=SessionLog.START)
            writer.write(Event(wall_time=rows[0][2], step=start, session_log=begun).SerializeToString())
        for step, values, moment in rows:
            summary = Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()])
            writer.write(Event(wall_time=moment, step=step, summary=summary).SerializeToString())
        writer.flush()


def curve(run: FinishedRun, name: str) -> dict[int, float]:
    return {row.step: row.value for row in run.rows if row.name == name}


W = 1_700_000_000.0


@pytest.mark.parametrize("start", [51, None])
def test_a_resumed_run_has_not_the_dead_tail_of_the_killed_one(tmp_path: Path, start: int | None) -> None:
    """By the start of a session, or by a file that begins its tags anew; also of a tag that it never came to."""
    log(tmp_path / "a", [(s, {"acc": s, "rare": s, "loss": s}, W + s) for s in range(0, 101, 10)], "9")
    log(tmp_path / "a", [(s, {"acc": -s, "loss": -s}, W + 50 + s) for s in (60, 70)], "10", start)

    found = read_all(tmp_path, {})

    (run,) = found.runs
    assert curve(run, "acc") == {0: 0, 10: 10, 20: 20, 30: 30, 40: 40, 50: 50, 60: -60, 70: -70}
    assert max(curve(run, "rare")) == 50
    assert curve(run, "elapsed_s")[70] == 60
    (said,) = found.left_out.sentences()
    assert said.startswith("left out: values that a restart made void: 15 (")


def test_two_writers_in_one_folder_are_no_restart_of_each_other(tmp_path: Path) -> None:
    log(tmp_path / "a", [(s, {"train": s}, W + s) for s in range(0, 100, 5)], "1")
    log(tmp_path / "a", [(s, {"val": s}, W + s) for s in (10, 20, 90)], "2")
    log(tmp_path / "a", [(s, {"train": -s}, W + 9000 + s) for s in range(51, 80)], "3")
    log(tmp_path / "a", [(s, {"val": -s}, W + 9000 + s) for s in (60, 70)], "4")

    (run,) = read_runs(tmp_path)

    assert max(curve(run, "train")) == 79 and curve(run, "train")[51] == -51 and curve(run, "train")[50] == 50
    assert curve(run, "val") == {10: 10, 20: 20, 60: -60, 70: -70}
    assert curve(run, "elapsed_s")[79] == pytest.approx(50 + 28)


@pytest.mark.parametrize(
    ("moments", "expected"),
    [
        ([0, 60, 120, 180 - 3600, 240 - 3600], [0, 60, 120, 120, 180]),
        ([0, 60, 3 * 86400, 3 * 86400 + 60], [0, 60, 60, 120]),
        ([-W, 60, 120], [0, 0, 60]),
        ([0, math.nan, 60, math.inf, 120], [0, 0, 60, 60, 120]),
        ([0, 7200, 14400], [0, 7200, 14400]),
        ([0, 60, 660, 720], [0, 60, 660, 720]),
        ([0, 60, 661, 721], [0, 60, 60, 120]),
    ],
    ids=["set back", "resumed", "no clock", "no moment", "hours are usual", "ten times", "more"],
)
def test_pauses_and_clocks_are_no_training_time(tmp_path: Path, moments: list[float], expected: list[float]) -> None:
    log(tmp_path / "a", [(step, {"acc": 0.5}, W + moment) for step, moment in enumerate(moments)])

    (run,) = read_runs(tmp_path)

    assert list(curve(run, "elapsed_s").values()) == expected


def test_folders_of_add_scalars_and_add_hparams_are_parts_of_their_run(tmp_path: Path) -> None:
    from torch.utils.tensorboard import SummaryWriter

    for seed in range(2):
        writer = SummaryWriter(f"{tmp_path}/lr=0.1-seed={seed}")
        for epoch in range(3):
            writer.add_scalar("val/accuracy", 0.5 + 0.1 * epoch, epoch)
            writer.add_scalars("some/loss", {"train": 1 - 0.1 * epoch, "val/x": 1.1}, epoch)
        writer.add_hparams({"lr": 0.1, "seed": seed}, {"hparam/accuracy": 0.7, "val/accuracy": 9.0})
        writer.close()

    found = read_all(tmp_path, {})

    assert [(run.cell, run.seed) for run in found.runs] == [("lr=0.1", 0), ("lr=0.1", 1)]
    names = {row.name for row in found.runs[0].rows}
    assert names == {"val/accuracy", "some/loss/train", "some/loss/val/x", "hparam/accuracy", "elapsed_s"}
    assert curve(found.runs[0], "val/accuracy")[2] == pytest.approx(0.7)
    assert "whose tag the run has itself: 2 ('val/accuracy')" in next(found.left_out.sentences())


def test_the_seed_may_stand_among_the_hyperparameters(tmp_path: Path) -> None:
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(f"{tmp_path}/plain")
    writer.add_hparams({"seed": 7}, {"acc": 0.7})
    writer.close()

    assert [(run.cell, run.seed) for run in read_runs(tmp_path)] == [("plain", 7)]


@pytest.mark.parametrize(
    ("old", "kept"), [("epoch_acc", "train/epoch_acc"), ("validation/epoch_acc", "train/epoch_acc")]
)
def test_what_keras_wrote_is_one_run(tmp_path: Path, old: str, kept: str) -> None:
    for part, value in (("train", 0.9), ("validation", 0.5)):
        log(tmp_path / "lr=0.1-seed=1" / part, [(epoch, {"epoch_acc": value}, W + epoch) for epoch in range(3)])

    (run,) = read_runs(tmp_path, {old: "val/accuracy"})

    assert (run.cell, run.seed) == ("lr=0.1", 1)
    assert set(curve(run, "val/accuracy").values()) == {0.5}
    assert list(curve(run, "train/epoch_acc").values()) == pytest.approx([0.9] * 3)
    with pytest.raises(DataError, match="--rename train/epoch_acc=acc or --rename val/epoch_acc=acc"):
        read_runs(tmp_path, {"epoch_acc": "acc"})


def test_what_an_import_can_not_take_is_counted_and_the_rest_imported(tmp_path: Path) -> None:
    from tensorboard.compat.proto import types_pb2 as types
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
    from tensorboard.summary.writer.record_writer import RecordWriter

    def tensor(kind: int, raw: bytes, *sizes: int) -> TensorProto:
        shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in sizes])
        return TensorProto(dtype=kind, tensor_content=raw, tensor_shape=shape)

    one = b"\0\0\x80\x3f"
    tensors = [
        tensor(types.DT_BFLOAT16, b"\x80\x3f"),
        tensor(types.DT_FLOAT, b"\1\2"),
        tensor(77, b"\1"),
        tensor(types.DT_FLOAT, one, 2**40),
        tensor(types.DT_FLOAT, one * 2, 2),
        tensor(types.DT_COMPLEX64, one * 2),
        TensorProto(dtype=types.DT_STRING, string_val=[b"hello"]),
        tensor(types.DT_FLOAT, one, 1),
        tensor(types.DT_INT64, one * 2),
    ]
    (tmp_path / "a").mkdir()
    with (tmp_path / "a" / "events.out.tfevents.1.h").open("wb") as file:
        writer = RecordWriter(file)
        for number, each in enumerate(tensors):
            summary = Summary(value=[Summary.Value(tag=f"t{number}", tensor=each)])
            writer.write(Event(wall_time=W, step=1, summary=summary).SerializeToString())
        writer.flush()
    odd = {"": 1.0, "a\nb": 1.0, "x" * 65: 1.0, "epoch": math.nan, "flops": -1.0, "acc": 0.5}
    log(tmp_path / "b", [(1, odd, W), (-1, {"acc": 0.1}, W), (2**62, {"acc": 0.1}, W)])
    log(tmp_path / "c", [(1, {"elapsed_s": 5.0}, W), (2, {"elapsed_s": 3.0, "acc": 1.0}, W + 7)])
    (tmp_path / "c" / "old-tfevents").mkdir()
    (tmp_path / "c" / "events.out.tfevents.1.h.gz").write_bytes(b"\x1f\x8b junk and more of it")
    (tmp_path / "c" / "events.out.tfevents.2.h").touch()
    log(tmp_path / "c" / ".ipynb_checkpoints", [(9, {"acc": 0.1}, W)])
    (tmp_path / "latest").symlink_to("c")

    found = read_all(tmp_path, {})

    a, b, c = found.runs
    assert (curve(a, "t7"), set(curve(a, "t8"))) == ({1: 1.0}, {1})
    assert {row.name for row in a.rows} == {"t7", "t8", "elapsed_s"}
    assert (curve(b, "acc"), {row.name for row in b.rows}) == ({1: 0.5}, {"acc", "elapsed_s"})
    assert curve(c, "elapsed_s") == {1: 0, 2: 7}
    assert sorted(found.left_out.sentences()) == [
        "left out: files that are no event files of TensorBoard: 1 ('events.out.tfevents.1.h.gz')",
        "left out: links to folders: 1 ('latest')",
        "left out: tensors of a type that can't be read: 3 ('t0', 't1', 't2')",
        "left out: tensors of a type that is no number: 2 ('t5', 't6')",
        "left out: tensors that hold no single number: 2 ('t3', 't4')",
        "left out: values at steps below 0 or from 9007199254740992 on: 2 ('acc')",
        "left out: values of a training time that falls: 2 ('elapsed_s')",
        f"left out: values of tags that can't name a metric, unless --rename gives them another name: 3 "
        f"('', 'a\\nb', '{'x' * 65}')",
        "left out: values that are no amount: 2 ('epoch', 'flops')",
    ]


def test_a_long_tag_is_imported_by_another_name(tmp_path: Path) -> None:
    log(tmp_path / "a", [(1, {"x" * 70: 0.5}, W)])

    (run,) = read_runs(tmp_path, {"x" * 70: "val/accuracy"})

    assert curve(run, "val/accuracy") == {1: 0.5}


@pytest.mark.parametrize("new", ["", "x" * 65, "a\nb"])
def test_a_name_that_no_metric_can_have_is_refused(tmp_path: Path, new: str) -> None:
    log(tmp_path / "a", [(1, {"acc": 0.5}, W)])

    with pytest.raises(DataError, match="a metric's name has 1 to 64 printable characters"):
        read_runs(tmp_path, {"acc": new})


def test_two_tags_do_not_become_one(tmp_path: Path) -> None:
    log(tmp_path / "a", [(1, {"acc": 0.5, "val/accuracy": 0.1}, W)])

    with pytest.raises(DataError, match="has a tag 'val/accuracy' beside 'acc'"):
        read_runs(tmp_path, {"acc": "val/accuracy"})


@pytest.mark.parametrize(
    ("values", "expected", "note"),
    [
        ([[10.0, 94.98], [1.0, 50.0]], [[0.1, 0.9498], [0.01, 0.5]], "values up to 94.98: taken as percent"),
        ([[90.0], [0.9]], [[0.9], [0.009]], "1 of 2 runs have none above 1: check"),
        ([[0.5, 1.0], [1.0000001]], [[0.5, 1.0], [1.0000001]], None),
        ([[0.5, math.nan], [94.98, math.nan]], [[0.005, math.nan], [0.9498, math.nan]], "divided by 100"),
        ([[500.0]], [[500.0]], "neither shares nor percent (up to 500)"),
        ([[50.0, -1.0]], [[50.0, -1.0]], "neither shares nor percent"),
    ],
)
def test_accuracies_in_percent_become_shares_and_that_is_said(
    tmp_path: Path, values: list[list[float]], expected: list[list[float]], note: str | None
) -> None:
    for number, each in enumerate(values):
        log(tmp_path / f"{number}", [(step, {"acc": value, "loss": 99.0}, W) for step, value in enumerate(each)])

    found = read_all(tmp_path, {"acc": "val/accuracy"})

    for run, each in zip(found.runs, expected, strict=True):
        assert list(curve(run, "val/accuracy").values()) == pytest.approx(each, nan_ok=True)
        assert set(curve(run, "loss").values()) == {99.0}
    told = found.changes
    assert (note in told[0]) if note else (told == [])
    assert "; ".join(found.changes) in imported_study("old", tmp_path, found.runs, found.changes).source


@pytest.mark.parametrize(
    ("label", "cell", "seed"),
    [
        ("a-seed=1234567890", "a", 1234567890),
        ("a_seed=999999999999999999", "a", 999999999999999999),
        ("a-seed=18446744073709551615", "a-seed=18446744073709551615", 0),
        (unicodedata.normalize("NFD", "né-seed=1"), "né", 1),
    ],
)
def test_long_seeds_and_accents(label: str, cell: str, seed: int) -> None:
    assert cell_and_seed(label, {}) == (cell, seed)


def test_long_names_that_begin_alike_stay_apart(tmp_path: Path) -> None:
    names = ["/".join(["x" * 200, "y" * 200, end]) for end in ("a", "b")]
    for name in names:
        log(tmp_path / name, [(1, {"acc": 0.5}, W)])

    cells = [run.cell for run in read_runs(tmp_path)]

    assert len(set(cells)) == 2 and max(map(len, cells)) == 300


def test_a_part_of_an_export_gets_no_training_times_that_were_not_in_it(store: Store, tmp_path: Path) -> None:
    trained(store)
    export(store, "s", "tensorboard", ["val/accuracy"], tmp_path / "runs", force=False)

    runs = read_runs(tmp_path / "runs")

    assert {row.name for run in runs for row in run.rows} == {"val/accuracy"}


def test_a_folder_whose_name_is_no_text_is_imported_with_escapes(tmp_path: Path) -> None:
    log(tmp_path / "a\nb", [(1, {"acc": 0.5}, W)])
    os.makedirs(os.fsencode(tmp_path) + b"/\xff")
    name = "events.out.tfevents.1.host"
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"), name).write_bytes((tmp_path / "a\nb" / name).read_bytes())

    found = read_all(tmp_path, {})

    assert [run.cell for run in found.runs] == ["a\\x0ab", "\\xdcff"]


def test_records_that_are_no_events_are_counted(tmp_path: Path) -> None:
    from tensorboard.summary.writer.record_writer import RecordWriter

    path = write_run(tmp_path / "logs" / "adam", [0.25, 0.5])
    with path.open("ab") as file:
        writer = RecordWriter(file)
        writer.write(b"\x0a\xff\xff")
        writer.flush()

    found = read_all(tmp_path / "logs", {})

    assert [run.cell for run in found.runs] == ["adam"]
    assert list(found.left_out.sentences()) == [
        "left out: records that are no events of TensorBoard: 1 ('events.out.tfevents.1.host')"
    ]


def test_values_that_were_written_over_are_counted(tmp_path: Path) -> None:
    # As of a SummaryWriter that is told of no step.
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(tmp_path / "logs" / "adam")) as writer:
        for value in (3.0, 2.0, 2.0, 1.0):
            writer.add_scalar("loss", value)

    found = read_all(tmp_path / "logs", {})

    assert [row.value for row in found.runs[0].rows if row.name == "loss"] == [1.0]
    assert list(found.left_out.sentences()) == ["left out: values of a step that was written again: 2 ('loss')"]


def test_training_time_never_falls(tmp_path: Path) -> None:
    # Steps 0, 1 and 2 were written in time, and a last metric at step 0 when all was over.
    log(tmp_path / "logs" / "a", [*((step, {"loss": 1.0}, W + step) for step in range(3)), (0, {"best": 1.0}, W + 3)])

    times = [row.value for row in read_runs(tmp_path / "logs")[0].rows if row.name == "elapsed_s"]

    assert times == [1.0, 1.0, 2.0]


def test_several_results_of_one_writer_without_curves_are_runs(tmp_path: Path) -> None:
    # As in the documentation of SummaryWriter.add_hparams.
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(tmp_path / "logs" / "search")) as writer:
        for number in range(3):
            writer.add_hparams({"lr": 0.1 * number, "seed": number}, {"accuracy": number / 4}, run_name=f"try{number}")

    found = read_all(tmp_path / "logs", {})

    assert [(run.cell, run.seed, run.rows[0].value) for run in found.runs] == [
        (f"search/try{number}", number, number / 4) for number in range(3)
    ]
    assert list(found.left_out.sentences()) == []


@pytest.mark.parametrize(
    ("folders", "cells"),
    [
        (["test", "baseline"], ["baseline", "test"]),
        (["train", "validation", "baseline"], ["baseline", "logs"]),
        (["a/test", "b/test"], ["a", "b"]),
    ],
)
def test_a_folder_named_test_is_a_run_among_runs(tmp_path: Path, folders: list[str], cells: list[str]) -> None:
    for folder in folders:
        write_run(tmp_path / "logs" / folder, [0.5])

    assert sorted(run.cell for run in read_runs(tmp_path / "logs")) == cells


def test_a_run_without_values_is_counted(tmp_path: Path) -> None:
    write_run(tmp_path / "logs" / "adam", [0.5])
    write_run(tmp_path / "logs" / "killed", [])

    found = read_all(tmp_path / "logs", {})

    assert list(found.left_out.sentences()) == ["left out: runs without a value that can be imported: 1 ('killed')"]


def test_a_folder_that_can_not_be_looked_into_ends_no_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path / "logs" / "adam", [0.5])
    write_run(tmp_path / "logs" / "theirs", [0.5])
    scandir = os.scandir

    def refuse(path: Path | str):  # the tests may run as root, who may look everywhere
        if Path(path).name == "theirs":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)

    found = read_all(tmp_path / "logs", {})

    assert [run.cell for run in found.runs] == ["adam"]
    assert list(found.left_out.sentences()) == ["left out: folders that can't be read: 1 ('theirs')"]


@pytest.mark.parametrize("changed", [{"outcome": None}, {"question": ""}, {"cell": "a\x00b"}, {"factors": {"lr": []}}])
def test_a_record_that_would_make_a_study_nobody_can_read_is_left_out(
    store: Store, tmp_path: Path, changed: dict[str, object]
) -> None:
    runs = read_runs(write_run(tmp_path / "logs" / "adam", [0.5]).parent)
    store.studies.add_finished(imported_study("old", tmp_path, runs), runs)
    export(store, "old", "tensorboard", [], tmp_path / "out", force=False)
    (path,) = (tmp_path / "out").glob("*/*tfevents*")
    edit_record(path, changed)

    found = read_all(tmp_path / "out", {})
    store.studies.add_finished(imported_study("again", tmp_path, found.runs), found.runs)

    assert [trial.value for trial in store.trials.all("again")] == [None]
    assert list(found.left_out.sentences()) == [
        f"left out: records of an export that can't be read: 1 ({str(path.parent)!r})"
    ]


def edit_record(path: Path, changed: dict[str, object]) -> None:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.record_writer import RecordWriter

    from cifarsweep.export.event_files import PLUGIN, records

    events = [Event.FromString(record) for record in records(path)]
    with path.open("wb") as file:
        writer = RecordWriter(file)
        for event in events:
            for value in event.summary.value:
                if value.metadata.plugin_data.plugin_name == PLUGIN:
                    record = json.loads(value.tensor.string_val[0])
                    value.tensor.string_val[0] = json.dumps(record | changed).encode()
            writer.write(event.SerializeToString())
        writer.flush()


def test_what_is_no_plain_file_is_counted(tmp_path: Path) -> None:
    run = write_run(tmp_path / "logs" / "adam", [0.5]).parent
    (run / "events.out.tfevents.2.host").symlink_to("nowhere")
    os.mkfifo(run / "events.out.tfevents.3.host")

    found = read_all(tmp_path / "logs", {})

    assert [run.cell for run in found.runs] == ["adam"]
    assert [sentence.split(": ")[2] for sentence in found.left_out.sentences()] == [
        "2 ('events.out.tfevents.2.host', 'events.out.tfevents.3.host')"
    ]
