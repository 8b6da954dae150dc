"""The far end of `launch --ray`: an actor that keeps a launcher of workers on its node, and passes on its lines.

Ray kills the children of an actor's process when that ends. The launcher is such a child, its workers are not: they
give their trials back when their standard input ends, which is when the launcher does.
"""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

#: How long an actor waits for a line before it answers without any. Seconds.
_LONGEST_SILENCE_S = 10.0
_MOST_LINES = 1000
LOGS = "{logs}"
_STOPPED = 128 + signal.SIGTERM


@dataclass(frozen=True, slots=True)
class Order:
    """What an actor is to do: Python's arguments for the launcher on its node, and the environment of that.

    `LOGS` in an argument becomes a new folder there. The environment has the database's URL, and is never shown.
    """

    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class News:
    """What happened in an actor since it was asked before. `code` is what its launcher ended with."""

    host: str
    lines: tuple[str, ...]
    code: int | None = None


class RayWorker:
    """Keeps a launcher. Ray runs `listen` and `stop` in threads of their own.

    `listen` starts the launcher where there is none, so that an actor that Ray has placed again goes on by itself.
    """

    def __init__(self) -> None:
        self._launcher: subprocess.Popen[bytes] | None = None
        self._lines = queue.SimpleQueue[str | None]()
        self._logs = ""
        self._stopped = False
        #: Held while a launcher is started, so that none starts after the actor was asked to end.
        self._starting = threading.Lock()
        self._leaving = threading.Event()
        self._hear_sigterm()

    def listen(self, order: Order) -> News:
        """Return the launcher's next lines, after some seconds at the latest, and how it ended if it has.

        An actor that has just started it answers at once, so that it is known to have a node, and can be asked to end.
        """
        with self._starting:
            if self._launcher is None:
                if not self._stopped:
                    self._start(order)
                return News(socket.gethostname(), (), _STOPPED if self._stopped else None)
        if not self._leaving.is_set() and _is_drained():
            threading.Thread(target=self._leave, daemon=True).start()
        lines, ended = self._next_lines()
        code = self._end() if ended else None
        if self._leaving.is_set() and ended:
            # The process ends now: Ray asks again where it places the actor next.
            threading.Event().wait()
        return News(socket.gethostname(), lines, code)

    def stop(self) -> None:
        """Ask the launcher to end; a second time means at once."""
        with self._starting:
            self._stopped = True
            launcher = self._launcher
        if launcher is not None:
            with contextlib.suppress(ProcessLookupError):
                launcher.terminate()

    def _start(self, order: Order) -> None:
        self._logs = tempfile.mkdtemp(prefix="cifarsweep-")
        self._launcher = subprocess.Popen(
            [sys.executable, *(argument.replace(LOGS, self._logs) for argument in order.arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=os.environ | order.environment,
            # What Ray sends to the actor's process group is not for the launcher.
            start_new_session=True,
        )
        threading.Thread(target=self._read, args=(self._launcher,), daemon=True).start()

    def _read(self, launcher: subprocess.Popen[bytes]) -> None:
        assert launcher.stdout is not None
        for line in launcher.stdout:
            text = line.decode(errors="replace").rstrip("\r\n")
            # Ray keeps what an actor prints in its own logs.
            print(text, flush=True)
            self._lines.put(text)
        self._lines.put(None)

    def _next_lines(self) -> tuple[tuple[str, ...], bool]:
        lines: list[str] = []
        with contextlib.suppress(queue.Empty):
            while len(lines) < _MOST_LINES:
                line = self._lines.get(timeout=0.05 if lines else _LONGEST_SILENCE_S)
                if line is None:
                    return tuple(lines), True
                lines.append(line)
        return tuple(lines), False

    def _end(self) -> int:
        launcher, self._launcher = self._launcher, None
        assert launcher is not None and launcher.stdin is not None and launcher.stdout is not None
        ended = launcher.wait()
        launcher.stdin.close()
        launcher.stdout.close()
        code = ended if ended >= 0 else 128 - ended
        if code in (0, _STOPPED):
            shutil.rmtree(self._logs, ignore_errors=True)
        return code

    def _hear_sigterm(self) -> None:
        """Give the trials back on SIGTERM, which Ray sends before it takes a node away, then end this process.

        Ray's main thread runs no Python while methods run in threads, so no handler of Python's would be called there.
        """
        if threading.current_thread() is not threading.main_thread():
            return
        read, write = os.pipe()
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)

        def watch() -> None:
            while signal.SIGTERM not in os.read(read, 512):
                pass
            self._leave()

        threading.Thread(target=watch, daemon=True).start()

    def _leave(self) -> None:
        """Give the trials back and end this process, which Ray starts again where there is room."""
        self._leaving.set()
        launcher = self._launcher
        self.stop()
        if launcher is not None:
            launcher.wait()
        os._exit(_STOPPED)


def _is_drained() -> bool:
    """Whether Ray takes this node away soon, as when a cloud wants it back."""
    try:
        import ray
        from ray._private.state import state

        return ray.get_runtime_context().get_node_id() in state.get_draining_nodes()
    except Exception:  # Ray says it to its own libraries alone: another version may not
        return False
