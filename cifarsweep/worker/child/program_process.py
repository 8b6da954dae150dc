"""A running program: its processes, its pipe of messages and its output. Nothing of it outlives `close`."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from cifarsweep.worker.child import guard
from cifarsweep.worker.child.guard import TERM, kill_descendants

_READ_SIZE = 1 << 16
#: Bytes of output that are read in one turn, so that a flood of it does not keep us from messages.
_MOST_IN_A_TURN = 1 << 22
_LONGEST_END_S = 30.0


class ProgramPipe:
    """The pipe of messages. A program inherits the end that it writes to, or finds it in `/proc` of this process."""

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe()
        os.set_blocking(self.read_end, False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.read_end)
        os.close(self.write_end)


class ProgramProcess:
    """A program and all its processes, under a guard. Started and ended by one thread, the process's main one.

    `code` is None until all its processes are gone; `error` is why it can't be started; `left` is how many of its
    processes stayed after its own end, and were killed.
    """

    def __init__(self, command: Sequence[str], folder: Path, environment: Mapping[str, str], pipe: ProgramPipe) -> None:
        self.code: int | None = None
        self.error, self.left = "", 0
        self._messages = pipe.read_end
        self._owner, guards = socket.socketpair()
        self._output, output = os.pipe()
        os.set_blocking(self._output, False)
        self._answer = b""
        try:
            self._guard = subprocess.Popen(
                [sys.executable, "-I", "-S", guard.__file__, *command],
                stdin=guards.fileno(),
                stdout=output,
                stderr=output,
                cwd=folder,
                env=dict(environment),
                pass_fds=(pipe.write_end,),
                process_group=0,
            )
        except (OSError, ValueError) as error:
            self.error = getattr(error, "strerror", None) or str(error)
        finally:
            guards.close()
            os.close(output)

    @property
    def ended(self) -> bool:
        """Whether no process of the program is left."""
        return self.code is not None or bool(self.error)

    def wait(self, timeout_s: float) -> None:
        """Wait until there is something to read, or the program has ended, or the time is over."""
        owner = self._owner.fileno()
        readable, _, _ = select.select([owner, self._output, self._messages], [], [], timeout_s)
        if owner in readable:
            self._hear_guard()

    def read(self) -> tuple[bytes, bytes]:
        """Return messages and output that have arrived. The output is at least what came before the messages."""
        messages, output = _read(self._messages), b""
        while len(output) < _MOST_IN_A_TURN and (more := _read(self._output)):
            output += more
        return messages, output

    def terminate(self) -> None:
        """Send SIGTERM to its process group."""
        with contextlib.suppress(OSError):
            self._owner.send(TERM)

    def kill(self) -> None:
        """Let the guard kill all its processes; `ended` once they are gone."""
        with contextlib.suppress(OSError):
            self._owner.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Kill what is left and wait for it, but not for ever: a process that waits for a disk can't end."""
        self.kill()
        give_up = time.monotonic() + _LONGEST_END_S
        while not self.ended and time.monotonic() < give_up:
            if select.select([self._owner], [], [], 1.0)[0]:
                self._hear_guard()
        self._owner.close()
        os.close(self._output)

    def _hear_guard(self) -> None:
        data = self._owner.recv(_READ_SIZE)
        self._answer += data
        if data and not data.endswith(b"\n"):
            return
        self._guard.wait()
        try:
            found = json.loads(self._answer)
        except ValueError:  # somebody has killed the guard: all that came from it has come to us
            found = {"code": -signal.SIGKILL}
            kill_descendants()
        self.error, self.code, self.left = found.get("error", ""), found.get("code"), found.get("left", 0)


def _read(pipe: int) -> bytes:
    try:
        return os.read(pipe, _READ_SIZE)
    except BlockingIOError:
        return b""
