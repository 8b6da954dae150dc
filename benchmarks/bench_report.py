"""Time and size of a page of 200 series x 5,000 points, against plotly's own way of writing one.

Once as 200 cells of one seed, where all 200 series are drawn, and once as 40 cells of 5 seeds, where each cell is drawn
as mean and band. The plain alternatives draw the 200 series with plotly.graph_objects through `to_html`, the points as
lists, and as NumPy arrays, which plotly writes in base64. Each runs in a process of its own, in turns; the times are of
the CPU, imports of its own included, the median of three.

    python benchmarks/bench_report.py

With --large: time, memory and size of the report of a whole database, as large_report.py says.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import large_report
import numpy as np

from cifarsweep.analysis.records import ReportStudy, ReportTrial, Series
from cifarsweep.analysis.study import analyse
from cifarsweep.spec.metrics import ELAPSED, EPOCH, IMAGES, VAL_LOSS
from cifarsweep.spec.settings import Settings
from cifarsweep.spec.study import Cell, Study

SERIES, POINTS, TURNS = 200, 5_000, 3
PLOTLY = "plotly.min.js"


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", action="store_true", help="1,000 trials and 5,000,000 rows, from the database")
    parser.add_argument("--trials", type=int, default=large_report.TRIALS, help="with --large: fewer, in hundreds")
    parser.add_argument("--way", nargs=2, metavar=("WAY", "FOLDER"), help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.way:
        write(wanted.way[0], Path(wanted.way[1]))
    elif wanted.large:
        large_report.main(wanted.trials)
    else:
        against_plotly()


def against_plotly() -> None:
    """Print what was measured."""
    turns = [{way: measured(way) for way in WAYS} for _ in range(TURNS)]
    print(f"{datetime.now(UTC):%Y-%m-%d}, {SERIES} series x {POINTS:,} points; goal <= 2 s, <= 2 MB beside plotly.js")
    for way in WAYS:
        seconds, megabytes = (statistics.median(column) for column in zip(*(turn[way] for turn in turns), strict=True))
        ratio = statistics.median(turn[way][0] / turn[next(iter(WAYS))][0] for turn in turns)
        print(f"{way:35} {seconds:5.2f} s of CPU, {ratio:5.2f}x the first  {megabytes:6.2f} MB")


def measured(way: str) -> tuple[float, float]:
    """CPU seconds of a process that writes the page, less those of making up its numbers; MB beside plotly.js."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--way", way, folder]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        size = sum(path.stat().st_size for path in Path(folder).iterdir() if path.name != PLOTLY)
    return float(done.stdout), size / 1e6


def write(way: str, folder: Path) -> None:
    """Write the page in this process and print its CPU seconds."""
    cells, seeds, work = WAYS[way]
    report = made_up(cells, seeds)
    start = time.process_time()
    work(report, folder)
    print(time.process_time() - start)


def with_lists(report: ReportStudy, folder: Path) -> None:
    """One line a series, every point as a list item: what plotly does when nobody thinks about it."""
    write_plainly(report, folder, lambda array: array.tolist())


def with_arrays(report: ReportStudy, folder: Path) -> None:
    """The same from NumPy arrays, which plotly hands on as they are."""
    write_plainly(report, folder, lambda array: array)


def write_plainly(report: ReportStudy, folder: Path, given: Callable[[Any], Any]) -> None:
    """Draw the curves of one metric, as `given` to plotly."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for (number, name), (steps, values) in report.series.items():
        if name == VAL_LOSS:
            figure.add_trace(go.Scatter(x=given(steps), y=given(values), mode="lines", name=str(number)))
    (folder / "plain.html").write_text(figure.to_html(include_plotlyjs=False))


def ours(report: ReportStudy, folder: Path) -> None:
    """The page with all that it says."""
    from cifarsweep.report.render import write_pages

    write_pages([analyse(report)], folder)


#: Cells, seeds and writer; the first is what the others are measured against.
WAYS: dict[str, tuple[int, int, Callable[[ReportStudy, Path], None]]] = {
    "write_pages, 200 cells x 1 seed": (SERIES, 1, ours),
    "write_pages, 40 cells x 5 seeds": (SERIES // 5, 5, ours),
    "plotly.graph_objects, lists": (SERIES, 1, with_lists),
    "plotly.graph_objects, NumPy arrays": (SERIES, 1, with_arrays),
}


def made_up(cells: int, seeds: int) -> ReportStudy:
    """A study whose trials logged one metric and the three x axes at every one of their steps."""
    batch_sizes = tuple(range(1, cells + 1))
    arms = tuple(
        Cell(name=f"batch_size={b}", levels={"batch_size": b}, settings=Settings(epochs=1, batch_size=b))
        for b in batch_sizes
    )
    study = Study(
        name="bench", question="How fast?", factors={"batch_size": batch_sizes}, cells=arms, seeds=tuple(range(seeds))
    )
    trials: list[ReportTrial] = []
    series: dict[tuple[int, str], Series] = {}
    rng = np.random.default_rng(0)
    for number, planned in enumerate(study.trials()):
        series |= trial_series(number, rng)
        trials.append(made_up_trial(number, planned.cell.name, planned.seed, rng.random()))
    return ReportStudy(
        study=study, trials=tuple(trials), series=series, made_at=datetime.now(UTC), database="-", version="0"
    )


def trial_series(number: int, rng: np.random.Generator) -> dict[tuple[int, str], Series]:
    steps = np.arange(1, POINTS + 1, dtype=np.int64)
    loss = 2.3 * np.exp(-steps / 1000) + rng.normal(0, 0.02, POINTS)
    axes = {EPOCH: steps / 391, IMAGES: steps * 128.0, ELAPSED: np.cumsum(rng.uniform(0.01, 0.02, POINTS))}
    return {(number, name): (steps, values.astype(np.float64)) for name, values in {VAL_LOSS: loss, **axes}.items()}


def made_up_trial(number: int, cell: str, seed: int, accuracy: float) -> ReportTrial:
    return ReportTrial(
        number=number, cell=cell, levels={}, seed=seed, state="done", outcome="finished",
        final={"val/accuracy": accuracy}, steps=POINTS, elapsed_s=75.0, params=None, flops=None, attempts=(),
        error=None, versions={},
    )  # fmt: skip


if __name__ == "__main__":
    main()
