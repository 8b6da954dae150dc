"""Time and size of a page of 200 series x 5,000 points, against plotly's own way of writing one.

Once as 200 cells of one seed, where all 200 series are drawn, and once as 40 cells of 5 seeds, where each cell is drawn
as mean and band. The plain alternative draws the 200 series with plotly.graph_objects, its points as lists, through
`to_html`. Each is timed once, from cold, imports included.

    python benchmarks/bench_report.py

With --large: time, memory and size of the report of a whole database, as large_report.py says.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import large_report
import numpy as np

from cifarsweep.report.pages import PLOTLY, write_pages
from cifarsweep.report.source import ReportStudy, ReportTrial, Series
from cifarsweep.spec.settings import Settings
from cifarsweep.spec.study import Cell, Study
from cifarsweep.spec.words import ELAPSED, EPOCH, IMAGES, VAL_LOSS

SERIES, POINTS = 200, 5_000


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", action="store_true", help="1,000 trials and 5,000,000 rows, from the database")
    parser.add_argument("--trials", type=int, default=large_report.TRIALS, help="with --large: fewer, in hundreds")
    wanted = parser.parse_args()
    if wanted.large:
        large_report.main(wanted.trials)
    else:
        against_plotly()


def against_plotly() -> None:
    """Print what was measured, and the line for benchmarks/LOG.md."""
    alone, seeds = made_up(SERIES, 1), made_up(SERIES // 5, 5)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        alone_s, alone_mb = measured(lambda: write_pages([alone], root / "alone"), root / "alone")
        seeds_s, seeds_mb = measured(lambda: write_pages([seeds], root / "seeds"), root / "seeds")
        (root / "plain").mkdir()
        plain_s, plain_mb = measured(lambda: write_plainly(alone, root / "plain" / "plain.html"), root / "plain")
    print(f"{SERIES} series x {POINTS:,} points; goal <= 2 s and <= 2 MB beside plotly.js")
    print(f"write_pages, 200 cells x 1 seed:        {alone_s:5.2f} s  {alone_mb:5.2f} MB")
    print(f"write_pages, 40 cells x 5 seeds:        {seeds_s:5.2f} s  {seeds_mb:5.2f} MB")
    print(f"plotly.graph_objects, points as lists:  {plain_s:5.2f} s  {plain_mb:5.2f} MB")
    print(
        f"| {datetime.now(UTC):%Y-%m-%d} | {platform.machine()}, {os.cpu_count()} cores | report of {SERIES} series "
        f"x {POINTS:,} points | {alone_s:.2f} s, {alone_mb:.2f} MB | plotly lists: {plain_s:.2f} s, {plain_mb:.1f} MB "
        f"| {plain_s / alone_s:.0f} x faster, {plain_mb / alone_mb:.0f} x smaller |"
    )


def measured(work: Callable[[], object], folder: Path) -> tuple[float, float]:
    """Seconds that the work takes, and millions of bytes that it leaves in the folder beside plotly.js."""
    start = time.perf_counter()
    work()
    seconds = time.perf_counter() - start
    return seconds, sum(path.stat().st_size for path in folder.iterdir() if path.name != PLOTLY) / 1e6


def write_plainly(report: ReportStudy, path: Path) -> None:
    """One line a series, every point as a list item: what plotly does when nobody thinks about it."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for (number, name), (steps, values) in report.series.items():
        if name == VAL_LOSS:
            figure.add_trace(go.Scatter(x=steps.tolist(), y=values.tolist(), mode="lines", name=str(number)))
    path.write_text(figure.to_html(include_plotlyjs=False))


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
        error=None, weights_sha256=None, versions={},
    )  # fmt: skip


if __name__ == "__main__":
    main()
