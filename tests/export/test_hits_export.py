"""Which images trials got right, written and unpacked again as the page on analysing says."""

import base64
import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from cifarsweep.errors import OutputError
from cifarsweep.export.hits import export_hits
from cifarsweep.spec.settings import Settings
from cifarsweep.spec.study import Cell, Study
from cifarsweep.spec.types import Hits, Outcome, TrialResult
from cifarsweep.store import Store

RUNS = np.random.default_rng(0).random((3, 11)) < 0.6


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Three trials of a cell whose name a spreadsheet would run; the second kept no hits, the third two."""
    cell = Cell(name="=lr", levels={}, settings=Settings(epochs=1, dataset="digits"))
    with Store.open(f"sqlite:///{tmp_path}/results.db", upgrade=True) as opened:
        opened.studies.create(Study(name="s", question="q?", factors={}, cells=(cell,), seeds=(0, 1, 2)))
        for place, names in enumerate([("val/accuracy",), (), ("test/accuracy", "val/accuracy")]):
            lease = opened.queue.claim("w")
            assert lease is not None
            packed = base64.b64encode(np.packbits(RUNS[place]).tobytes()).decode()
            kept = {name: Hits(11, packed) for name in names}
            opened.queue.finish(
                lease, [], None, TrialResult(Outcome.FINISHED, 10, {"val/accuracy": 0.5}, "cd" * 32, kept)
            )
        yield opened


def unpacked(bits: bytes, images: int) -> npt.NDArray[np.bool_]:
    return np.unpackbits(np.frombuffer(bits, np.uint8), count=images).astype(bool)


def read(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
        return rows
    with path.open(newline="") as file:
        texts = list(csv.DictReader(file)) if path.suffix == ".csv" else [json.loads(line) for line in file]
    return [row | {"bits": bytes.fromhex(row["bits"]), "images": int(row["images"])} for row in texts]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_the_bits_come_back(store: Store, tmp_path: Path, kind: str) -> None:
    export_hits(store, "s", kind, (), tmp_path / f"hits.{kind}", force=False)

    rows = read(tmp_path / f"hits.{kind}")
    assert [(int(row["trial"]), int(row["seed"]), row["name"]) for row in rows] == [
        (0, 0, "val/accuracy"),
        (2, 2, "test/accuracy"),
        (2, 2, "val/accuracy"),
    ]
    assert {row["cell"] for row in rows} == {"'=lr" if kind == "csv" else "=lr"}
    for row in rows:
        assert unpacked(row["bits"], row["images"]).tolist() == RUNS[int(row["trial"])].tolist()


def test_only_the_accuracies_that_are_asked_for(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    export_hits(store, "s", "csv", ["test/accuracy"], None, force=False)

    assert capsys.readouterr().out.splitlines() == [
        "trial,cell,seed,name,images,bits",
        f"2,'=lr,2,test/accuracy,11,{np.packbits(RUNS[2]).tobytes().hex()}",
    ]


@pytest.mark.parametrize(
    ("kind", "names", "says"),
    [("csv", ["train/loss"], "not of 'train/loss'"), ("tensorboard", [], "no place for single images")],
)
def test_what_can_not_be_written_is_refused(store: Store, tmp_path: Path, kind: str, names: Any, says: str) -> None:
    with pytest.raises(OutputError, match=says):
        export_hits(store, "s", kind, names, tmp_path / "out", force=False)

    assert not (tmp_path / "out").exists()
