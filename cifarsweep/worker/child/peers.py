"""The other processes of a trial on several devices, seen from the training child, which leads them.

They get the same requests, train the same trial, and follow the leader's decisions, which come as one byte each. A
process that fails says so by its pipe, and ends. A thread of the leader waits for that, since the leader itself may
wait for an operation that the other one never joins: the thread says what the other one said, and ends this process,
and all others with it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from multiprocessing.connection import wait
from pathlib import Path
from typing import IO, Any, NoReturn

from cifarsweep.errors import DeviceError
from cifarsweep.worker.child.protocol import Request, encode

#: A decision of the leader, and in the place of a request what ends a process.
YES, NO, LEAVE = b"y", b"n", b"\n"
#: With this code ends a process that lost the others: the reason is to be found at another one.
LOST_OTHERS = 3
#: How long the reason is waited for, once a process has ended without one; and the reason of our own failure. Seconds.
_REASON_S = 2.0
_VERDICT_S = 10.0


class Peers:
    """The processes of ranks 1 and above; `end_with` writes a last reply to the supervisor and ends this process.

    They are started for a trial, and then wait for the next one. Raises DeviceError if the system can't start another
    process.
    """

    def __init__(self, devices: Sequence[str], arguments: Sequence[str], end_with: Callable[[bytes], NoReturn]) -> None:
        self.size, self._end_with = len(devices), end_with
        self._lock = threading.Lock()
        self._training, self._broken = True, False
        self._folder = Path(tempfile.mkdtemp(prefix="cifarsweep-"))
        self._processes: list[subprocess.Popen[bytes]] = []
        try:
            for rank, device in enumerate(devices[1:], start=1):
                command = _command(rank, len(devices), self.meeting_point, device, arguments)
                self._processes.append(
                    subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
                )
        except OSError as error:
            self.kill()
            self.have_met()
            raise DeviceError(f"a process for device {len(self._processes) + 1} can't start: {error}") from None
        threading.Thread(target=self._watch, daemon=True).start()

    @property
    def meeting_point(self) -> Path:
        """The file in which the processes find each other."""
        return self._folder / "store"

    def have_met(self) -> None:
        """Remove the meeting point; a slow process may make it anew for a moment, until its trial has ended."""
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def usable(self) -> bool:
        """Whether all wait for a trial: none has ended or said why it will, heard by the thread or not yet."""
        with self._lock:
            return self._usable()

    def _usable(self) -> bool:
        return not self._broken and not wait([_pipe(process.stdout).fileno() for process in self._processes], 0)

    def begin(self, request: Request) -> bool:
        """Let all train a trial; False where not all wait for one. From now on the failure of one is the trial's."""
        with self._lock:
            if not self._usable():
                return False
            self._training = True
        self._say(encode(request))
        return True

    def agree(self, decision: bool) -> bool:
        """Tell all what this process has decided."""
        self._say(YES if decision else NO)
        return decision

    def end_of_trial(self) -> None:
        """Take note that the trial needs the others no more. Does not return where one of them has just failed."""
        with self._lock:
            self._training = False
        self.have_met()

    def fail(self, *, of_others: bool) -> None:
        """Take note that the trial failed in this process, perhaps since it lost the others: then they say why."""
        if of_others:
            time.sleep(_VERDICT_S)
        with self._lock:
            self._training, self._broken = False, True

    def dismiss(self) -> None:
        """Ask all to end, in order."""
        self.end_of_trial()
        self._say(LEAVE)

    def kill(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()

    def _say(self, words: bytes) -> None:
        for process in self._processes:
            with contextlib.suppress(BrokenPipeError):  # `_watch` will know why
                _pipe(process.stdin).write(words)

    def _watch(self) -> None:
        """Wait for what one of them says, which is why it failed, or for the end of one that said nothing."""
        open_ones = {_pipe(process.stdout).fileno(): process for process in self._processes}
        gone: list[subprocess.Popen[bytes]] = []
        give_up = None
        while open_ones:
            timeout = None if give_up is None else max(0.0, give_up - time.monotonic())
            for fd in wait(list(open_ones), timeout):
                process = open_ones[fd]
                line = _pipe(process.stdout).readline()
                if line.endswith(b"\n"):
                    self._on_failure(lambda line=line: self._end_with(line))  # type: ignore[misc]
                else:
                    process.wait()
                    with self._lock:
                        self._broken = True
                    gone.append(open_ones.pop(fd))
                    give_up = give_up or time.monotonic() + _REASON_S
            if give_up is not None and time.monotonic() >= give_up:
                break
        self._on_failure(lambda: _die_as(gone, self.size))

    def _on_failure(self, action: Callable[[], NoReturn]) -> None:
        """Do it if a trial is trained; nothing of this process is to be told once it has begun."""
        with self._lock:
            self._broken = True
            if self._training:
                action()


def _command(rank: int, size: int, meeting_point: Path, device: str, arguments: Sequence[str]) -> list[str]:
    python = [sys.executable, *(["-P"] if sys.flags.safe_path else []), "-m", "cifarsweep.worker.child.peer"]
    return [*python, str(rank), str(size), str(meeting_point), device, *arguments]


def _pipe(pipe: IO[bytes] | None) -> Any:
    assert pipe is not None
    return pipe


def _die_as(gone: Iterable[subprocess.Popen[bytes]], size: int) -> NoReturn:
    """End this process as the other one has ended, so that the supervisor reads the same of it."""
    code = next((process.returncode for process in gone if process.returncode != LOST_OTHERS), LOST_OTHERS)
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    sys.stderr.write(f"one of the {size} processes of the trial ended by {how}\n")
    sys.stderr.flush()
    if code < 0:
        signal.signal(-code, signal.SIG_DFL) if -code not in (signal.SIGKILL, signal.SIGSTOP) else None
        os.kill(os.getpid(), -code)
    os._exit(code or 1)
