"""One run of a program for a trial: from its checkpoint to its end, as the events that a training run has."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from cifarsweep.checkpoints.folder import Folder
from cifarsweep.checkpoints.location import open_folder
from cifarsweep.errors import CheckpointError, CheckpointNotFound
from cifarsweep.files import remove, scratch
from cifarsweep.spec.metrics import ELAPSED, EPOCH
from cifarsweep.spec.program import Parameters
from cifarsweep.spec.program_reader import LocalProgram
from cifarsweep.spec.types import MetricRow
from cifarsweep.text import quoted
from cifarsweep.training import events
from cifarsweep.worker.child.program_checkpoint import pack, unpack
from cifarsweep.worker.child.program_command import fill_in, find_command, stop_file, told, why_not_found
from cifarsweep.worker.child.program_messages import (
    LONGEST_MESSAGE,
    ProgramError,
    Progress,
    Saved,
    header,
    parse,
    progress_of,
    rows_of,
)
from cifarsweep.worker.child.program_output import LONGEST_LINE, LineReader, Output
from cifarsweep.worker.child.program_process import ProgramPipe, ProgramProcess
from cifarsweep.worker.child.protocol import Failed, Train
from cifarsweep.worker.failures import Failure, classify

Reply = events.Event | Failed

_TICK_S, _PROGRESS_EVERY_S = 0.25, 1.0
#: From SIGTERM to SIGKILL, and from a signal of a batch system to the worker's own word that it stops. Seconds.
_KILL_AFTER_S, _SIGNAL_GRACE_S = 10.0, 1.0
#: Signals that batch systems and people send to all processes of a job.
_OF_THE_JOB = (-signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP)


def train_program(
    request: Train, local: LocalProgram, environment: Mapping[str, str], should_stop: Callable[[], bool]
) -> Iterator[Reply]:
    """Run the program for a trial and yield what comes of it. Nothing of it is left once the iterator ends."""
    with scratch() as own, ProgramPipe() as pipe:
        checkpoints = open_folder(request.folder)
        progress, elapsed_s = yield from _resumed(request, checkpoints, own / "resume")
        yield events.Started(max(progress.checkpoint_step, 0))
        run = _Run(request, local, own, checkpoints, progress, elapsed_s, should_stop)
        try:
            process = run.start(environment, pipe)
        except ProgramError as error:
            yield run.failed(str(error))
            return
        with closing(process):
            try:
                yield from run.events(process)
                return
            except ProgramError as error:
                failed = run.failed(str(error), crashed=error.crashed)
        # Once nothing of it is left: with the failure the lease ends.
        yield failed


def _resumed(request: Train, checkpoints: Folder, path: Path) -> Generator[events.Event, None, tuple[Progress, float]]:
    """Write the newest checkpoint that can be used to `path`; return what it knows of the trial."""
    for ref in request.resume:
        # By name alone: a program may run what it loads, so no path of the database is followed.
        own = replace(ref, path=f"{request.folder.rstrip('/')}/{ref.path.rpartition('/')[2]}")
        try:
            progress, elapsed_s = progress_of(unpack(checkpoints.read(own), path), ref.step)
        except (CheckpointError, ValueError) as error:
            remove(path)
            yield events.Rejected(ref.path, str(error), isinstance(error, CheckpointNotFound))
            continue
        return progress, elapsed_s
    return Progress(), 0.0


class _Run:
    """What is known of a program while it runs."""

    def __init__(
        self,
        request: Train,
        local: LocalProgram,
        own: Path,
        checkpoints: Folder,
        progress: Progress,
        elapsed_s: float,
        should_stop: Callable[[], bool],
    ) -> None:
        self._request, self._local, self._own, self._checkpoints = request, local, own, checkpoints
        self._progress, self._elapsed_before, self._should_stop = progress, elapsed_s, should_stop
        self._output = Output(local.program.read, max(progress.checkpoint_step, 0))
        self._messages = LineReader(LONGEST_MESSAGE)
        self._began = self._heard_at = self._shown_at = time.monotonic()
        self._greeted = False
        self._stop_by = self._kill_by = float("inf")
        self._stopping = False

    def start(self, environment: Mapping[str, str], pipe: ProgramPipe) -> ProgramProcess:
        """Start the program. Raises ProgramError if its command can't be made or is not found."""
        request, program, folder = self._request, self._local.program, self._local.folder
        parameters = Parameters.model_validate_json(json.dumps(request.settings)).parameters  # lists become tuples
        words = fill_in(program, parameters, request.seed, self._local.values)
        found = find_command(words[0], folder, environment)
        if found is None:
            why = why_not_found(words[0], folder)
            raise ProgramError(f"can't be started: the command {quoted(words[0])} {why}")
        step = self._progress.checkpoint_step
        resume = None if step < 0 else (self._own / "resume", step)
        (self._own / "checkpoints").mkdir()
        variable = told(request.label, parameters, request.seed, resume, self._own, pipe.write_end)
        return ProgramProcess([found, *words[1:]], folder, {**environment, **variable}, pipe)

    def events(self, process: ProgramProcess) -> Iterator[Reply]:
        """Yield what the program reports until it has ended. Raises ProgramError for what it did wrong."""
        while not process.ended:
            process.wait(_TICK_S)
            yield from self._read(process)
            self._check_silence()
            self._stop(process)
            if time.monotonic() - self._shown_at >= _PROGRESS_EVERY_S:
                self._shown_at = time.monotonic()
                _, epoch = self._progress.last.get(EPOCH, (0, None))
                yield events.Progress(self._progress.step, epoch, None, None, 0.0)
        while (yield from self._read(process)):
            pass  # what it wrote before its end
        if (rest := self._messages.rest()) and process.code == 0:
            yield from self._hear(rest)  # a last message without the end of its line
        yield from self._rows(self._output.end())
        yield self._end(process)

    def failed(self, what: str, *, crashed: bool = False) -> Failed:
        """Return the failure, with the last lines of the program's output."""
        sentence, tail = f"the program {what}", self._output.tail()
        story = f"{sentence}\n\nThe last lines of its output:\n{tail}" if tail else sentence
        short = classify(RuntimeError(tail)) is Failure.OUT_OF_MEMORY
        return Failed(sentence[:2000], story, short and not crashed, crashed)

    def _read(self, process: ProgramProcess) -> Generator[Reply, None, bool]:
        """Yield what has arrived; return whether something has."""
        messages, output = process.read()
        if messages or output:
            self._heard_at = time.monotonic()
        yield from self._rows(self._output.feed(output))
        for line in self._messages.feed(messages):
            yield from self._hear(line)
        if self._messages.cut:
            raise ProgramError(f"wrote more than {LONGEST_MESSAGE:,} bytes in one line to the worker's pipe")
        return bool(messages or output)

    def _hear(self, line: bytes) -> Iterator[Reply]:
        message = parse(line)
        if message.hello is not None:
            self._greeted = True
        if message.log is not None:
            yield from self._rows(iter(rows_of(message.log)))
        if message.checkpoint is not None:
            yield from self._save(message.checkpoint)
            self._heard_at = time.monotonic()

    def _rows(self, rows: Iterator[MetricRow]) -> Iterator[Reply]:
        found = []
        try:
            for row in rows:
                self._progress.add(row)
                found.append(row)
        except ValueError as error:
            raise ProgramError(f"wrote what can't be read: {error}") from None
        if not found:
            return
        step = max(row.step for row in found)
        if step > self._progress.last.get(ELAPSED, (-1, 0.0))[0]:
            self._progress.last[ELAPSED] = step, self._elapsed_s()
            found.append(MetricRow(ELAPSED, *self._progress.last[ELAPSED]))
        yield events.Metrics(tuple(found))

    def _elapsed_s(self) -> float:
        return self._elapsed_before + time.monotonic() - self._began

    def _save(self, saved: Saved) -> Iterator[Reply]:
        self._progress.saved(saved.step)
        path = self._local.folder / saved.path
        if not (path.is_file() or path.is_dir()):
            raise ProgramError(f"reported a checkpoint at step {saved.step:,}, and there is no file or folder {path}")
        yield events.Saving(saved.step)
        try:
            contents = pack(path, header(self._progress, self._elapsed_s()))
            yield events.Saved(self._checkpoints.write(saved.step, contents))
        except OSError as error:
            yield events.SaveFailed(saved.step, str(error))
        if path.is_relative_to(self._own):
            remove(path)

    def _check_silence(self) -> None:
        silent, most = time.monotonic() - self._heard_at, self._local.program.silence_s
        if most is None:
            most = self._request.silence_s or float("inf")
        if silent > most and not self._stopping:
            raise ProgramError(
                f"wrote nothing for {most:g} s and was ended; `silence_s` in [program] lets it be silent for longer",
                crashed=True,
            )

    def _stop(self, process: ProgramProcess) -> None:
        """Ask the program to end where the worker does; make it end where it does not."""
        now, stop_s = time.monotonic(), self._local.program.stop_s
        if self._should_stop() and not self._stopping:
            stop_file(self._own).touch()
            # One that never said hello does not look for the file.
            self._stopping, self._stop_by = True, now + (stop_s if self._greeted else 0.0)
        if now >= self._stop_by:
            process.terminate()
            self._stop_by, self._kill_by = float("inf"), now + _KILL_AFTER_S
        if now >= self._kill_by:
            process.kill()

    def _end(self, process: ProgramProcess) -> Reply:
        """Return how it ended. Raises ProgramError if that was not well."""
        code = process.code
        if code is None:
            raise ProgramError(f"can't be started: {process.error}")
        if self._stopping or (code in _OF_THE_JOB and self._stops_too()):
            return events.Stopped(max(self._progress.checkpoint_step, 0))
        if code < 0:
            name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
            why = (
                ", as the system does where memory is short, or as somebody has asked for"
                if code == -signal.SIGKILL
                else ""
            )
            raise ProgramError(f"was ended by signal {name}{why}", crashed=True)
        if code > 0:
            reason = self._output.reason()
            raise ProgramError(f"ended with exit code {code}" + (f": {reason}" if reason else ""))
        result = self._progress.result(self._local.program.metric)
        return events.Finished(replace(result, remark=self._remark(process)), None)

    def _remark(self, process: ProgramProcess) -> str:
        """Return what a person should know of a run that ended well; empty if nothing."""
        told = []
        if process.left:
            count = f"{process.left} process{'es' * (process.left > 1)}"
            told.append(f"the program left {count} behind, which ended with it")
        if self._output.cut:
            told.append(
                f"the program printed a line of more than {LONGEST_LINE:,} characters: the rest was not searched"
            )
        return "; ".join(told)

    def _stops_too(self) -> bool:
        """Return whether the worker is stopped by the signal that ended the program."""
        give_up = time.monotonic() + _SIGNAL_GRACE_S
        while not self._should_stop() and time.monotonic() < give_up:
            time.sleep(0.02)
        return self._should_stop()
