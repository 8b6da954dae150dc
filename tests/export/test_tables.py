"""Exported files, read back by the programs that they are for."""

import csv
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cifarsweep.errors import OutputError
from cifarsweep.export import series, tables
from cifarsweep.export.output import harmless
from cifarsweep.export.series import curves
from cifarsweep.export.tables import export
from cifarsweep.spec.settings import Optimizer, Settings
from cifarsweep.spec.study import Cell, Study
from cifarsweep.spec.types import MetricRow, Outcome, TrialResult
from cifarsweep.store import Store
from cifarsweep.store.metrics import Metrics

EVIL = '=HYPERLINK("x")'
VALUES = [0.1, -2.5, math.nan, math.inf, -math.inf]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A study of two cells, one with a name that spreadsheets would run, and one seed."""
    with Store.open(f"sqlite:///{tmp_path / 'results.db'}", upgrade=True) as opened:
        cells = tuple(
            Cell(name=name, levels={}, settings=Settings(dataset="digits", epochs=1, optimizer=Optimizer(lr=lr)))
            for name, lr in ((EVIL, 0.1), ("a/../b", 0.2))
        )
        opened.studies.create(Study(name="s", question="?", cells=cells, seeds=(3,)))
        for _ in cells:
            lease = opened.queue.claim("w")
            assert lease
            rows = [MetricRow("val/loss", step, value) for step, value in enumerate(VALUES)]
            times = [MetricRow("elapsed_s", step, step * 2.0) for step in range(len(VALUES))]
            opened.queue.finish(lease, rows + times, None, TrialResult(Outcome.FINISHED, 4, {}, "f" * 64))
        yield opened


def test_csv_comes_back_to_the_last_bit(store: Store, tmp_path: Path) -> None:
    export(store, "s", "csv", ["val/loss"], tmp_path / "s.csv", force=False)

    rows = list(csv.DictReader((tmp_path / "s.csv").read_text().splitlines()))
    first = [float(row["value"]) for row in rows if row["trial"] == "0"]
    assert [value.hex() for value in first] == [value.hex() for value in VALUES]
    assert {row["name"] for row in rows} == {"val/loss"}
    assert {row["seed"] for row in rows} == {"3"}


def test_csv_holds_no_formula(store: Store, tmp_path: Path) -> None:
    export(store, "s", "csv", [], tmp_path / "s.csv", force=False)

    rows = list(csv.DictReader((tmp_path / "s.csv").read_text().splitlines()))
    assert {row["cell"] for row in rows} == {"'" + EVIL, "a/../b"}
    assert "-2.5" in {row["value"] for row in rows}, "a number below zero stays a number"


@given(st.text())
def test_no_text_begins_like_a_formula(text: str) -> None:
    assert not harmless(text).startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert harmless(text).endswith(text)


def test_jsonl_is_json_on_every_line(store: Store, tmp_path: Path) -> None:
    export(store, "s", "jsonl", ["val/loss"], tmp_path / "s.jsonl", force=False)

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    rows = [json.loads(line, parse_constant=refuse) for line in (tmp_path / "s.jsonl").read_text().splitlines()]
    assert rows[0] == {"trial": 0, "cell": EVIL, "seed": 3, "name": "val/loss", "step": 0, "value": 0.1}
    assert [row["value"] for row in rows[:5]] == [0.1, -2.5, "nan", "inf", "-inf"]


def test_parquet_comes_back(store: Store, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    export(store, "s", "parquet", [], tmp_path / "s.parquet", force=False)

    rows = pq.read_table(tmp_path / "s.parquet").to_pylist()
    assert len(rows) == 20
    found = [row["value"].hex() for row in rows if row["trial"] == 1 and row["name"] == "val/loss"]
    assert found == [value.hex() for value in VALUES]


def test_row_groups_of_parquet_are_full_whatever_the_curves_are(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow.parquet as pq

    monkeypatch.setattr(tables, "_ROWS", 8)
    export(store, "s", "parquet", [], tmp_path / "s.parquet", force=False)

    file = pq.ParquetFile(tmp_path / "s.parquet")
    assert [file.metadata.row_group(place).num_rows for place in range(file.num_row_groups)] == [8, 8, 4]
    monkeypatch.undo()
    export(store, "s", "parquet", [], tmp_path / "whole.parquet", force=False)
    assert str(file.read().to_pylist()) == str(pq.read_table(tmp_path / "whole.parquet").to_pylist())


@pytest.mark.parametrize("kind", ["csv", "jsonl", "tensorboard"])
def test_an_export_is_the_same_however_many_trials_are_read_at_once(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    written = []
    for rows, trials in ((100_000, 500), (1, 500), (10, 1), (15, 2)):
        monkeypatch.setattr(series, "_ROWS", rows)
        monkeypatch.setattr(tables, "_ROWS", rows)
        monkeypatch.setattr(series, "_TRIALS", trials)
        out = tmp_path / f"{rows}-{trials}" / "out"
        export(store, "s", kind, [], out, force=False)
        files = sorted(path for path in out.glob("**/*") if path.is_file()) or [out]
        written.append([(file.name, file.read_bytes()) for file in files])

    assert all(each == written[0] for each in written) and all(content for _, content in written[0])


def test_trials_are_read_by_their_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[list[int]] = []
    metrics = Metrics.read
    monkeypatch.setattr(Metrics, "read", lambda *a, only: read.append(list(only)) or metrics(*a, only=only))
    monkeypatch.setattr(series, "_ROWS", 10)
    with Store.open(f"sqlite:///{tmp_path / 'many.db'}", upgrade=True) as store:
        cell = Cell(name="a", levels={}, settings=Settings(dataset="digits", epochs=1))
        store.studies.create(Study(name="s", question="?", cells=(cell,), seeds=tuple(range(7))))
        for length in (4, 6, 1, 25, 2, 0):
            lease = store.queue.claim("w")
            assert lease
            rows = [MetricRow("val/loss", step, 0.5) for step in range(length)]
            store.queue.finish(lease, rows, None, TrialResult(Outcome.FINISHED, 4, {}, ""))

        found = [[len(curve.steps) for curve in group] for group in curves(store, "s", [])]

    assert found == [[4], [6], [1], [25], [2], [], []]
    assert read == [[0, 1], [2], [3], [4, 5, 6]]


def test_tensorboard_shows_its_runs_to_the_last_bit(store: Store, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
    from tensorboard.context import RequestContext
    from tensorboard.data.provider import RunTagFilter

    export(store, "s", "tensorboard", [], tmp_path / "runs", force=False)

    read = EventMultiplexer()
    read.AddRunsFromDirectory(str(tmp_path / "runs"))
    read.Reload()
    asked = {"experiment_id": "", "plugin_name": "scalars", "downsample": 100, "run_tag_filter": RunTagFilter()}
    shown = MultiplexerDataProvider(read, "").read_scalars(RequestContext(), **asked)
    assert sorted(shown) == ["=HYPERLINK_x-seed=3", "a_.._b-seed=3"]
    assert {tag for run in shown.values() for tag in run} == {"val/loss", "elapsed_s"}
    points = shown["a_.._b-seed=3"]["val/loss"]
    assert [point.step for point in points] == [0, 1, 2, 3, 4]
    assert [float(point.value).hex() for point in points] == [value.hex() for value in VALUES]
    assert points[4].wall_time - points[0].wall_time == pytest.approx(8.0)


def test_nothing_is_overwritten_unasked(store: Store, tmp_path: Path) -> None:
    out = tmp_path / "s.csv"
    out.write_text("mine")

    with pytest.raises(OutputError, match="is there already"):
        export(store, "s", "csv", [], out, force=False)
    assert out.read_text() == "mine"

    export(store, "s", "csv", [], out, force=True)
    assert out.read_text().startswith("trial,cell")


@pytest.mark.parametrize("kind", ["csv", "tensorboard"])
@pytest.mark.parametrize("out", [".", "..", "figures"])
def test_a_folder_is_never_replaced(store: Store, tmp_path: Path, monkeypatch, kind: str, out: str) -> None:
    (tmp_path / "here" / "figures").mkdir(parents=True)
    drawing = tmp_path / "here" / "figures" / "one.png"
    drawing.write_text("drawn by hand")
    monkeypatch.chdir(tmp_path / "here")

    with pytest.raises(OutputError, match="only a file replaces a file"):
        export(store, "s", kind, [], Path(out), force=True)

    assert drawing.read_text() == "drawn by hand"


def test_runs_replace_no_file_and_no_file_a_pipe(store: Store, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("the only copy")
    os.mkfifo(tmp_path / "pipe")

    for kind, out in (("tensorboard", "thesis.tex"), ("csv", "pipe")):
        with pytest.raises(OutputError, match="only a file replaces a file"):
            export(store, "s", kind, [], tmp_path / out, force=True)

    assert (tmp_path / "thesis.tex").read_text() == "the only copy" and (tmp_path / "pipe").is_fifo()


@pytest.mark.parametrize("link", [None, os.symlink, os.link])
def test_the_database_is_never_replaced(store: Store, tmp_path: Path, link) -> None:
    out = tmp_path / "results.db"
    if link:
        link(out, out := tmp_path / "s.csv")

    with pytest.raises(OutputError, match="is the database"):
        export(store, "s", "csv", [], out, force=True)

    assert store.admin.check() == []


def test_a_failure_leaves_nothing_behind(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def boom(*_: object) -> None:
        raise ValueError("boom")

    monkeypatch.setitem(tables._TEXTS, "csv", boom)
    with pytest.raises(ValueError, match="boom"):
        export(store, "s", "csv", [], tmp_path / "out" / "s.csv", force=False)

    assert list((tmp_path / "out").iterdir()) == []


def test_a_link_leads_to_the_file_that_is_replaced(store: Store, tmp_path: Path) -> None:
    (tmp_path / "old.csv").write_text("old")
    (tmp_path / "link.csv").symlink_to(tmp_path / "old.csv")

    export(store, "s", "csv", [], tmp_path / "link.csv", force=True)

    assert (tmp_path / "link.csv").is_symlink() and (tmp_path / "old.csv").read_text().startswith("trial,cell")


@pytest.mark.parametrize("length", [300, 5000])
def test_a_name_that_is_too_long_is_one_sentence(store: Store, tmp_path: Path, length: int) -> None:
    with pytest.raises(OutputError, match="File name too long") as refused:
        export(store, "s", "csv", [], Path("x" * length), force=False)

    assert len(str(refused.value)) < 300


def test_the_longest_name_that_there_is_can_be_written(store: Store, tmp_path: Path) -> None:
    export(store, "s", "csv", [], tmp_path / ("x" * 255), force=False)

    assert (tmp_path / ("x" * 255)).is_file()


def test_an_unknown_metric_is_named(store: Store, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no metric 'val/los'; it has: elapsed_s, val/loss"):
        export(store, "s", "csv", ["val/los"], tmp_path / "s.csv", force=False)

    assert not (tmp_path / "s.csv").exists()


def test_counts_of_confusion_are_not_listed_among_the_metrics(store: Store, tmp_path: Path) -> None:
    store.studies.create(Study(name="c", question="?", cells=store.studies.get("s").spec.cells[:1], seeds=(0,)))
    lease = store.queue.claim("w")
    assert lease
    rows = [MetricRow(name, 4, 1.0) for name in ("val/loss", "val/confusion/0/1")]
    store.queue.finish(lease, rows, None, TrialResult(Outcome.FINISHED, 4, {}, ""))

    with pytest.raises(OutputError, match="it has: val/loss$"):
        export(store, "c", "csv", ["val/los"], tmp_path / "c.csv", force=False)

    export(store, "c", "csv", ["val/confusion/0/1"], tmp_path / "c.csv", force=False)
    assert (tmp_path / "c.csv").read_text().endswith("val/confusion/0/1,4,1.0\n")
