"""`benchmarks/new_images.py` in short: the interval for new images too holds the truth as often as it says."""

import importlib
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.parametrize("seeds", [3, 5])
def test_it_holds_the_truth(monkeypatch: pytest.MonkeyPatch, seeds: int) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    bench = importlib.import_module("new_images")

    found = bench.covered(500, seeds, 0.05, 300)

    # Four standard errors below 95 % of so many studies.
    assert found.runs_alone <= found.new_images and found.new_images > 0.90
    assert found.limit < found.half
