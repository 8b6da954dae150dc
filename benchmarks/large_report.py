"""The report of a study of 1,000 trials and 5,000,000 metric rows: time, memory, size, and how long a browser draws.

The database is filled by bulk inserts instead of by workers. The command is measured as a process of its own, by its
CPU time and its largest resident set. Clocks mean something on machines that do nothing else.

    python benchmarks/bench_report.py --large
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cifarsweep.spec.levels import cell_name, crossed
from cifarsweep.spec.settings import Settings
from cifarsweep.spec.study import Cell, Study
from cifarsweep.store import Store
from cifarsweep.store.records import WorkerInfo

NAME = "large"
#: 20 x 10 cells of 5 seeds, or fewer rates.
TRIALS, BATCHES, SEEDS = 1000, 20, 5
#: Rows of each of 8 metrics at every logging step, and of 2 at every evaluation: 5,000 a trial.
STEPS, EVALUATIONS = 620, 20
EVERY_STEP = ("train/loss", "train/accuracy", "lr", "images_per_s", "epoch", "images", "elapsed_s", "flops")

#: Notes when the first line of the main figure is in the page and painted. It stands in the place of the page's policy,
#: which allows no such script.
_STAMP = """<script>new MutationObserver((_, observer) => {
  if (!document.querySelector("#curves-plot .scatterlayer .trace")) return;
  observer.disconnect();
  requestAnimationFrame(() => setTimeout(() => performance.mark("drawn")));
}).observe(document, { childList: true, subtree: true });</script>"""
_POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
#: Seconds that Chromium writes down what happens, and seconds until it must have told.
_TRACED, _PATIENCE = 15, 120


@dataclass(frozen=True)
class Measured:
    """Seconds and bytes."""

    rows: int
    cpu_s: float
    wall_s: float
    memory: int
    page: int
    drawn_s: float | None
    """Until the main figure stands, by the clock; None without Chromium."""
    drawn_cpu_s: float | None
    """Of the thread that draws, until then."""
    all_cpu_s: float | None
    """The same, with every figure drawn for paper, while a debugger is attached."""


def main(trials: int) -> None:
    """Print what was measured beside the goals."""
    found = measure(trials)
    print(f"report of {trials:,} trials and {found.rows:,} rows, {SEEDS} trials a cell")
    print(f"cifarsweep report    {found.cpu_s:6.1f} s of CPU, {found.wall_s:.1f} s by the clock; goal <= 10 s")
    print(f"largest resident set {found.memory / 1e6:6.0f} MB; goal <= 500 MB")
    print(f"page beside plotly   {found.page / 1e6:6.2f} MB; goal <= 8 MB")
    if found.drawn_s is not None:
        print(f"main figure drawn in {found.drawn_s:6.2f} s by the clock; goal <= 2 s")
        print(f"CPU of its thread    {found.drawn_cpu_s:6.2f} s by then, {found.all_cpu_s:.2f} s with all figures")


def measure(trials: int) -> Measured:
    """Build the database, write its report as a user does, open the page."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        url = build(root / "large.db", trials)
        began = time.perf_counter()
        command = [sys.executable, "-m", "cifarsweep.cli", "report", "--db", url, "--out", str(root / "pages")]
        child = os.posix_spawn(sys.executable, command, os.environ, file_actions=[_quiet()])
        _, status, usage = os.wait4(child, 0)
        wall = time.perf_counter() - began
        if status:
            raise SystemExit("the report could not be written")
        page = root / "pages" / f"{NAME}.html"
        at, cpu = drawn(page) if shutil.which("chromium") else (None, None)
        return Measured(
            rows=_count(root / "large.db"),
            cpu_s=usage.ru_utime + usage.ru_stime,
            wall_s=wall,
            memory=usage.ru_maxrss * 1024,
            page=page.stat().st_size,
            drawn_s=at,
            drawn_cpu_s=cpu,
            all_cpu_s=all_drawn(page) if shutil.which("chromium") else None,
        )


def _quiet() -> tuple[int, int, str, int, int]:
    return (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)


def _count(path: Path) -> int:
    connection = sqlite3.connect(path)
    (rows,) = connection.execute("SELECT count(*) FROM cs_metric").fetchone()
    connection.close()
    return int(rows)


def drawn(page_file: Path) -> tuple[float, float]:
    """Seconds by the clock, and of CPU of the page's thread, until the main figure stands.

    Chromium writes down the moment itself. Through a debugger it parses plotly.js three times more: for the position of
    every error that plotly.js catches while it starts.
    """
    with tempfile.TemporaryDirectory() as folder:
        stamped, out = page_file.with_name("stamped.html"), Path(folder) / "trace.json"
        stamped.write_text(_POLICY.sub(_STAMP, page_file.read_text(), count=1))
        command = [
            str(shutil.which("chromium")), "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
            "--window-size=1280,900", f"--user-data-dir={folder}/profile", "--trace-startup=-*,blink.user_timing",
            "--trace-startup-format=json", f"--trace-startup-file={out}", f"--trace-startup-duration={_TRACED}",
            stamped.as_uri(),
        ]  # fmt: skip
        browser = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            events = _traced(out)
        finally:
            os.killpg(browser.pid, signal.SIGKILL)
            browser.wait()
    end = next(event for event in events if event["name"] == "drawn")
    start = max(
        (one for one in events if one["name"] == "navigationStart" and one["tid"] == end["tid"]),
        key=lambda one: one["ts"],
    )
    return (end["ts"] - start["ts"]) / 1e6, (end["tts"] - start.get("tts", 0)) / 1e6


def _traced(out: Path) -> list[dict[str, Any]]:
    """What Chromium wrote down, once the file is whole."""
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        time.sleep(0.5)
        try:
            return list(json.loads(out.read_text())["traceEvents"])
        except (FileNotFoundError, ValueError):
            continue
    raise SystemExit("Chromium did not tell when it drew the figure")


def all_drawn(page_file: Path) -> float:
    """Seconds of CPU of the page's thread until all figures are drawn for paper, with a debugger attached."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        session = page.context.new_cdp_session(page)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})
        page.goto(page_file.as_uri())
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        page.evaluate("new Promise((done) => setTimeout(() => requestIdleCallback(done), 100))")
        metrics = {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
        browser.close()
        return float(metrics["TaskDuration"])


def build(path: Path, trials: int = TRIALS) -> str:
    """Make the database; returns its URL."""
    url = f"sqlite:///{path}"
    with Store.open(url, upgrade=True) as store:
        store.studies.create(study(trials))
        store.queue.register_worker(WorkerInfo("bench-1", "node1", 1, "NVIDIA H200", 8, {"torch": "2.15.0"}))
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA synchronous = OFF")
    rng = np.random.default_rng(0)
    rows = connection.execute("SELECT trial_id, cell_id FROM cs_trial ORDER BY trial_id").fetchall()
    with connection:
        for trial_id, cell_id in rows:
            _fill(connection, trial_id, 0.95 - 0.002 * (cell_id % 97), rng)
    connection.close()
    return url


def study(trials: int) -> Study:
    """As many cells as make the trials, rounded up to a whole number of rates."""
    rates = max(1, -(-trials // (BATCHES * SEEDS)))
    factors = {
        "batch_size": tuple(range(16, 16 * BATCHES + 16, 16)),
        "optimizer.lr": tuple(round(1e-4 * 2**k, 6) for k in range(rates)),
    }
    cells = tuple(
        Cell(name=cell_name(levels, list(factors)), levels=levels, settings=_settings(levels))
        for levels in crossed(factors)
    )
    return Study(name=NAME, question="How large may it be?", factors=factors, cells=cells, seeds=tuple(range(SEEDS)))


def _settings(levels: dict[str, object]) -> Settings:
    text = {"epochs": 20, "batch_size": levels["batch_size"], "optimizer": {"lr": levels["optimizer.lr"]}}
    return Settings.model_validate_json(json.dumps(text))


def _fill(connection: sqlite3.Connection, trial_id: int, quality: float, rng: np.random.Generator) -> None:
    final = json.dumps({"val/accuracy": quality + rng.normal(0, 0.004), "params": 1e6, "flops_per_image": 8e7})
    connection.execute(
        "UPDATE cs_trial SET state = 'done', outcome = 'finished', attempt = 1, step = ?, elapsed_s = ?, final = ?, "
        "worker_id = 'bench-1' WHERE trial_id = ?",
        (STEPS * 10, float(rng.uniform(60, 90)), final, trial_id),
    )
    connection.execute(
        "INSERT INTO cs_attempt (trial_id, attempt, worker_id, started_at, ended_at, ending, first_step) "
        "VALUES (?, 1, 'bench-1', '2026-01-02 03:04:05', '2026-01-02 03:06:05', 'done', 0)",
        (trial_id,),
    )
    rows = "INSERT INTO cs_metric (trial_id, name, step, value) VALUES (?, ?, ?, ?)"
    for name, steps, values in _curves(quality, rng):
        connection.executemany(
            rows, ((trial_id, name, step, value) for step, value in zip(steps.tolist(), values.tolist(), strict=True))
        )


def _curves(quality: float, rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    steps = np.arange(1, STEPS + 1) * 10
    rise = quality * (1 - np.exp(-steps / 1500)) + rng.normal(0, 0.01, STEPS)
    shapes = {"train/loss": 2.3 * (1 - rise) + 0.05, "train/accuracy": rise, "lr": np.linspace(1e-3, 0, STEPS)}
    pace = {"images_per_s": rng.normal(2e4, 300, STEPS), "elapsed_s": np.cumsum(rng.uniform(0.1, 0.14, STEPS))}
    axes = {"epoch": steps / 390.0, "images": steps * 128.0, "flops": steps * 3e10}
    for name in EVERY_STEP:
        yield name, steps, (shapes | pace | axes)[name]
    places = np.linspace(0, STEPS - 1, EVALUATIONS).astype(int)
    yield "val/accuracy", steps[places], rise[places]
    yield "val/loss", steps[places], 2.3 * (1 - rise[places])
