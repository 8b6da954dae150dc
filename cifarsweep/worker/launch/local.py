"""Keeps several workers running on one machine: one process each, started again when it crashes, stopped together.

A worker's output goes straight into its log file, so no broken pipe ends it if the launcher crashes. Its standard input
is a pipe whose only writer is the launcher: its end means that the launcher is gone.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cifarsweep.errors import CifarsweepError, SpecError, StoreUnavailable
from cifarsweep.files import private_opener
from cifarsweep.worker.launch.group import Group
from cifarsweep.worker.signals import BATCH_SIGNALS, INTERACTIVE_SIGNALS
from cifarsweep.worker.supervisor import EXIT_FAULTY_HOST

#: Exit codes after which a restart is useless: nothing left to do, bad input, a faulty host.
_NO_RESTART_CODES = (0, SpecError.exit_code, EXIT_FAULTY_HOST)
#: Exit codes of a worker that was asked to stop.
_STOP_CODES = tuple(128 + number for number in INTERACTIVE_SIGNALS + BATCH_SIGNALS)
#: How long workers may take to stop; they write checkpoints for at most 30 s. Seconds.
_GRACE_S = 45.0
_TICK_S = 0.2


@dataclass(frozen=True, slots=True)
class WorkerCommand:
    """A worker to keep running: a short name for its log, and its command."""

    name: str
    command: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays between restarts of a worker that crashes, and when to give it up.

    A worker that ran for `stable_after_s` has recovered: its crashes count from 0 again.
    """

    first_s: float = 1.0
    longest_s: float = 60.0
    stable_after_s: float = 60.0
    max_crashes: int = 8

    def pause_s(self, crashes: int) -> float:
        """Return the delay after so many crashes in a row: it doubles each time."""
        return min(self.longest_s, self.first_s * 2.0 ** (crashes - 1))


def worker_command(arguments: Iterable[str]) -> tuple[str, ...]:
    """Return the command of a worker that stops when its launcher ends. It reads its database from $CIFARSWEEP_DB."""
    return (sys.executable, "-m", "cifarsweep.cli", "worker", "--until-eof", *arguments)


def stop_at_end_of_input() -> None:
    """Stop this worker gracefully when standard input ends."""

    def watch() -> None:
        # Not sys.stdin: its lock, held by a daemon thread, is a fatal error when the interpreter ends.
        while os.read(0, 4096):
            pass
        os.kill(os.getpid(), signal.SIGUSR1)

    threading.Thread(target=watch, daemon=True).start()


class _ManagedWorker:
    """Keeps one worker running. `code` is its exit code once it will not be started again."""

    def __init__(self, worker: WorkerCommand, log: Path, emit: Callable[[str], None], backoff: Backoff) -> None:
        self.name = worker.name
        self.code: int | None = None
        self._command, self._log, self._emit, self._backoff = worker.command, log, emit, backoff
        self._crashes = 0
        self._start_at = self._started_at = time.monotonic()
        self._log_read = log.stat().st_size if log.exists() else 0
        self._process: subprocess.Popen[bytes] | None = None

    def poll(self, *, stopping: bool) -> None:
        """Start the worker if it is due, forward its log, and handle its exit."""
        process = self._process
        if process is None:
            if self.code is None and stopping:
                self.code = 128 + signal.SIGTERM
            elif self.code is None and time.monotonic() >= self._start_at:
                self._start()
            return
        ended = process.poll()
        self._forward_log()
        if ended is not None:
            self._on_exit(process, ended, stopping=stopping)

    def send(self, number: int) -> None:
        """Forward a signal to the worker, if it runs."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    def kill(self) -> None:
        """Kill the worker; its training processes notice and end too."""
        if self._process is not None:
            self._process.kill()
            self._on_exit(self._process, self._process.wait(), stopping=True)

    def _start(self) -> None:
        self._started_at = time.monotonic()
        with open(self._log, "ab", opener=private_opener) as log:
            # A session of its own: Ctrl-C in the terminal reaches only the launcher, which forwards it once.
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    def _on_exit(self, process: subprocess.Popen[bytes], ended: int, *, stopping: bool) -> None:
        assert process.stdin is not None
        process.stdin.close()
        self._process = None
        code = ended if ended >= 0 else 128 - ended
        if stopping or code in _NO_RESTART_CODES or ended in _STOP_CODES:
            self.code = code
            self._emit(f"ended, {_exit_text(ended)}")
            return
        ran_s = time.monotonic() - self._started_at
        self._crashes = 1 if ran_s >= self._backoff.stable_after_s else self._crashes + 1
        away = code == StoreUnavailable.exit_code
        if self._crashes >= self._backoff.max_crashes and not away:
            self.code = code
            self._emit(f"crashed, {_exit_text(ended)}, {self._crashes} times in a row: given up; see {self._log}")
            return
        pause_s = self._backoff.pause_s(self._crashes)
        self._start_at = time.monotonic() + pause_s
        what = "the database is away" if away else f"crashed, {_exit_text(ended)}"
        self._emit(f"{what}: starts again in {pause_s:.0f} s; see {self._log}")

    def _forward_log(self) -> None:
        with suppress(FileNotFoundError), self._log.open("rb") as log:
            log.seek(self._log_read)
            whole, newline, _ = log.read().rpartition(b"\n")
            self._log_read += len(whole + newline)
            for line in whole.decode(errors="replace").splitlines():
                self._emit(line)


class WorkerGroup(Group):
    """Workers that run and stop together. `emit` gets a worker's name and a line of its log, or about it."""

    def __init__(
        self,
        workers: Sequence[WorkerCommand],
        logs: Path,
        emit: Callable[[str, str], None],
        backoff: Backoff | None = None,
    ) -> None:
        super().__init__()
        try:
            logs.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CifarsweepError(f"{logs}: no logs can be written there ({error.strerror}); give --logs") from None
        self._workers = [
            _ManagedWorker(each, logs / f"{each.name}.log", _line_writer(each.name, emit), backoff or Backoff())
            for each in workers
        ]

    @property
    def interrupted(self) -> bool:
        """Whether a batch system, not a person, asked for the end, as it does before a time limit."""
        return any(number in BATCH_SIGNALS for number in self._signals.heard[:1])

    def _let_go(self) -> None:
        for worker in self._workers:
            worker.kill()

    def _codes(self) -> Iterable[int]:
        return (worker.code or 0 for worker in self._workers)

    def _run(self) -> None:
        handled = 0
        give_up = float("inf")
        while any(worker.code is None for worker in self._workers) and time.monotonic() < give_up:
            for number in self._signals.heard[handled:]:
                handled += 1
                give_up = min(give_up, time.monotonic() + _GRACE_S)
                self._forward(number, again=handled > 1)
            for worker in self._workers:
                worker.poll(stopping=bool(handled))
            time.sleep(_TICK_S)

    def _forward(self, number: int, *, again: bool) -> None:
        # SIGUSR1 may reach a worker beside the SIGTERM that systemd or Slurm sends to every process: it never means
        # "at once". Two different signals do, and, unlike two of one kind, they can't become one on the way.
        numbers = (signal.SIGUSR1,) if not again else INTERACTIVE_SIGNALS if number in INTERACTIVE_SIGNALS else ()
        for worker in self._workers:
            for each in numbers:
                worker.send(each)


def _line_writer(name: str, emit: Callable[[str, str], None]) -> Callable[[str], None]:
    def write(line: str) -> None:
        # A full screen or log must not stop the supervision of workers.
        with suppress(OSError):
            emit(name, line)

    return write


def _exit_text(ended: int) -> str:
    if ended < 0:
        return f"killed by {signal.Signals(-ended).name}"
    return f"exit code {ended}" + (", asked to stop" if ended in _STOP_CODES else "")
