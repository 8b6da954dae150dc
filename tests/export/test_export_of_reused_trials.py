"""Exported files say what was taken over and from where; those of a study that took nothing over do not change."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import update

from cifarsweep.export.tables import export
from cifarsweep.spec.settings import Settings
from cifarsweep.spec.study import Cell, Study
from cifarsweep.spec.types import MetricRow, Outcome, TrialResult
from cifarsweep.store import Store
from cifarsweep.store.schema import trial

TOLD = ["", "reused from s/0", "first 2 steps from s/0"]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A study with three seeds, all done."""
    with Store.open(f"sqlite:///{tmp_path / 'results.db'}", upgrade=True) as opened:
        cell = Cell(name="base", levels={}, settings=Settings(dataset="digits", epochs=1))
        opened.studies.create(Study(name="s", question="?", cells=(cell,), seeds=(0, 1, 2)))
        for _ in range(3):
            lease = opened.queue.claim("w")
            assert lease
            rows = [MetricRow("val/loss", step, value) for step, value in ((1, 0.5), (4, float("inf")))]
            opened.queue.finish(lease, rows, None, TrialResult(Outcome.FINISHED, 4, {}, "f" * 64))
        yield opened


@pytest.fixture
def reused(store: Store) -> Store:
    """Trial 1 took over all of trial 0, and trial 2 its first two steps."""
    for number, steps in ((1, 4), (2, 2)):
        change = update(trial).where(trial.c.number == number).values(source_id=1, reused_steps=steps)
        store._db.write(lambda conn, change=change: conn.execute(change))
    return store


def test_csv_has_one_more_column(reused: Store, tmp_path: Path) -> None:
    export(reused, "s", "csv", [], tmp_path / "s.csv", force=False)

    rows = list(csv.DictReader((tmp_path / "s.csv").read_text().splitlines()))
    assert [(row["trial"], row["value"], row["reused"]) for row in rows] == [
        (str(number), value, told) for number, told in enumerate(TOLD) for value in ("0.5", "inf")
    ]


def test_jsonl_has_one_more_key(reused: Store, tmp_path: Path) -> None:
    export(reused, "s", "jsonl", [], tmp_path / "s.jsonl", force=False)

    rows = [json.loads(line) for line in (tmp_path / "s.jsonl").read_text().splitlines()]
    assert [row["reused"] for row in rows] == [told for told in TOLD for _ in range(2)]
    assert list(rows[0]) == ["trial", "cell", "seed", "name", "step", "value", "reused"]


def test_parquet_has_one_more_column(reused: Store, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    export(reused, "s", "parquet", [], tmp_path / "s.parquet", force=False)

    assert pq.read_table(tmp_path / "s.parquet").column("reused").to_pylist() == [each for each in TOLD for _ in "ab"]


def test_a_run_of_tensorboard_has_it_in_its_record(reused: Store, tmp_path: Path) -> None:
    export(reused, "s", "tensorboard", [], tmp_path / "runs", force=False)

    found = [next((tmp_path / "runs" / f"base-seed={seed}").iterdir()).read_bytes() for seed in range(3)]
    assert b'"reused":' not in found[0]
    assert b'"reused":"reused from s/0"' in found[1] and b'"reused":"first 2 steps from s/0"' in found[2]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_study_that_took_nothing_over_has_no_such_column(store: Store, tmp_path: Path, kind: str) -> None:
    export(store, "s", kind, [], tmp_path / "out", force=False)

    assert b"reused" not in (tmp_path / "out").read_bytes()
