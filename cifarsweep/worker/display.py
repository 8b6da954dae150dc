"""What a worker shows: the log, and on a terminal a progress bar per slot."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, Task, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

from cifarsweep.spec.metrics import IMAGES_PER_SECOND, TRAIN_LOSS, VAL_ACCURACY, is_share
from cifarsweep.spec.types import TrialResult
from cifarsweep.store.records import Lease
from cifarsweep.text import one_line
from cifarsweep.training import events

logger = logging.getLogger(__name__)

#: Seconds between two log lines of one slot.
_LINE_EVERY_S = 10.0


class Display:
    """A display that shows nothing; base class and test double."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def ready(self, device: str, advice: str) -> None:
        """Show the device before the first trial, and what would make training faster."""

    def begin(self, slot: int, lease: Lease) -> None:
        """Show that a slot took a trial."""

    def started(self, slot: int, started: events.Started) -> None:
        """Show where its training begins."""

    def progress(self, slot: int, progress: events.Progress) -> None:
        """Show how far it is."""

    def metrics(self, slot: int, metrics: events.Metrics) -> None:
        """Show new rows."""

    def end(self, slot: int, lease: Lease, how: str, result: TrialResult | None = None) -> None:
        """Show how it ended."""


def title(lease: Lease) -> str:
    """Return the name of a trial as the command line takes it, with what it trains."""
    again = f" (attempt {lease.attempt})" if lease.attempt > 1 else ""
    return f"{one_line(lease.study)}/{lease.number} {one_line(lease.cell)}, seed {lease.seed}{again}"


def summary(how: str, result: TrialResult | None, metric: str = VAL_ACCURACY) -> str:
    """Say in a few words how a trial ended."""
    if result is None or metric not in result.final:
        return how
    value = result.final[metric]
    text = f"{100 * value:.2f} %" if is_share(metric) else f"{metric} {value:.4g}"
    return f"{how} at {text} after {result.step:,} step{'s' * (result.step != 1)}"


def device_line(device: str, advice: str) -> str:
    """Describe the device, with advice on how to train faster."""
    return "; ".join(filter(None, (f"training on {device}", advice)))


def where(progress: events.Progress) -> str:
    """Say how far a trial is; a program of the user's own may count no epochs."""
    step = f"step {progress.step:,}"
    return step if progress.epoch is None else f"epoch {progress.epoch:.1f}, {step}"


def values(rows: Mapping[str, float], metric: str = VAL_ACCURACY) -> str:
    """Format the metrics that a person follows; `metric` is the study's."""
    shown = []
    if TRAIN_LOSS in rows:
        shown.append(f"loss {rows[TRAIN_LOSS]:.3f}")
    if VAL_ACCURACY in rows:
        shown.append(f"accuracy {100 * rows[VAL_ACCURACY]:.1f} %")
    if metric in rows and metric not in (VAL_ACCURACY, TRAIN_LOSS):
        shown.append(f"{one_line(metric)} {rows[metric]:.4g}")
    if IMAGES_PER_SECOND in rows:
        shown.append(f"{rows[IMAGES_PER_SECOND]:,.0f} images/s")
    return ", ".join(shown)


class _ConsoleHandler(logging.Handler):
    """Prints each record on a console. A full disk below it costs lines, not trials."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        # Errors of trials have several lines; an indented one can't be taken for a record of its own.
        text = self.format(record).replace("\n", "\n    ")
        with suppress(OSError):
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def log_to(console: Console, *, times: bool) -> None:
    """Let the package's log appear on `console`, with the time of day where `times` says so, and nowhere else."""
    handler = _ConsoleHandler(console)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s" if times else "%(message)s", "%H:%M:%S"))
    package = logging.getLogger("cifarsweep")
    package.handlers = [handler]
    package.setLevel(logging.INFO)


class Lines(Display):
    """Logs what happens, for each slot about every ten seconds."""

    def __init__(self) -> None:
        self._leases: dict[int, Lease] = {}
        self._latest: dict[int, dict[str, float]] = {}
        self._shown_at: dict[int, float] = {}

    def ready(self, device: str, advice: str) -> None:
        logger.info(device_line(device, advice))

    def begin(self, slot: int, lease: Lease) -> None:
        """Remember the trial; its first line is logged when training begins."""
        self._leases[slot], self._latest[slot], self._shown_at[slot] = lease, {}, time.monotonic()

    def started(self, slot: int, started: events.Started) -> None:
        begin = f"from step {started.start_step:,}" if started.start_step else "begins"
        steps = "" if started.total_steps is None else f", {started.total_steps:,} steps"
        logger.info(f"{title(self._leases[slot])}: {begin}{steps}")

    def metrics(self, slot: int, metrics: events.Metrics) -> None:
        self._latest[slot] |= {row.name: row.value for row in metrics.rows}

    def progress(self, slot: int, progress: events.Progress) -> None:
        """Log how far training is, at most every ten seconds."""
        if time.monotonic() - self._shown_at[slot] >= _LINE_EVERY_S:
            self._shown_at[slot] = time.monotonic()
            lease = self._leases[slot]
            logger.info(f"{title(lease)}: {where(progress)} {values(self._latest[slot], lease.metric)}".rstrip())

    def end(self, slot: int, lease: Lease, how: str, result: TrialResult | None = None) -> None:
        logger.info(f"{title(lease)}: {summary(how, result, lease.metric)}")


class _Shortened(TextColumn):
    """A text that gives way on a narrow screen, where Rich would cut bars and times alike."""

    def __init__(self, text_format: str) -> None:
        super().__init__(text_format, markup=False, table_column=Column(no_wrap=False))

    def render(self, task: Task) -> Text:
        text = super().render(task)
        text.no_wrap, text.overflow = True, "ellipsis"
        return text


class Bars(Lines):
    """One bar a slot: trial, epoch, loss, accuracy, images/s, time left."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._bars = Progress(
            _Shortened("{task.description}"),
            BarColumn(bar_width=20),
            _Shortened("{task.fields[values]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
        )
        self._tasks: dict[int, TaskID] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def begin(self, slot: int, lease: Lease) -> None:
        if slot in self._tasks:
            self._bars.remove_task(self._tasks[slot])
        self._leases[slot], self._latest[slot] = lease, {}
        self._tasks[slot] = self._bars.add_task(title(lease), total=None, values="")

    def started(self, slot: int, started: events.Started) -> None:
        self._bars.reset(
            self._tasks[slot], total=started.total_steps, completed=started.start_step, values="", start=True
        )

    def end(self, slot: int, lease: Lease, how: str, result: TrialResult | None = None) -> None:
        # A bar of a trial that has ended would stay below the worker's last line.
        if slot in self._tasks:
            self._bars.remove_task(self._tasks.pop(slot))
        super().end(slot, lease, how, result)

    def progress(self, slot: int, progress: events.Progress) -> None:
        at = "" if progress.epoch is None else f"epoch {progress.epoch:.1f} "
        shown = at + values(self._latest[slot], self._leases[slot].metric)
        self._bars.update(self._tasks[slot], completed=progress.step, values=shown)


def display_for(console: Console) -> Display:
    """Return bars on a terminal, log lines elsewhere, and let the log appear on `console`."""
    log_to(console, times=not console.is_terminal)
    return Bars(console) if console.is_terminal else Lines()
