"""The child seen from the supervisor: a process and the pipes to and from it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import psutil

from cifarsweep.environment import without_database
from cifarsweep.errors import DeviceError
from cifarsweep.worker.child.protocol import CODE, NO_GRAPHS, Reply, Request, decode_reply, encode

#: How long a child may take to be ready, with imports from a busy network disk and a sleeping driver. Seconds.
LONGEST_START_S = 600.0
#: How long a child that has closed its pipe may take to exit while CUDA releases the GPU. Seconds.
_LONGEST_END_S = 2.0
_READ_SIZE = 1 << 18
_TAIL = 4000


def child_command(device: str, *, graphs: bool = True, code: Sequence[str] = ()) -> list[str]:
    """Return the command of a training child. `device` is cpu, auto or a GPU's number, or those of several: 0,1.

    On several GPUs it trains a trial on as many of the first as the settings name. `graphs` are CUDA graphs.

    `code` are folders and packages whose code trials may run. Then -P keeps Python from importing, unverified, what
    lies in the folder that the worker was started in.
    """
    python = [sys.executable, *(["-P"] if code else []), "-m", "cifarsweep.worker.child.main"]
    return [*python, device, *([] if graphs else [NO_GRAPHS]), *(CODE + source for source in code)]


def program_child(files: Iterable[Path], device: str) -> list[str]:
    """Return the command of a child that runs the programs of these study files. `device` may name several GPUs.

    -P keeps Python from importing what lies in the folder that the worker was started in.
    """
    return [sys.executable, "-P", "-m", "cifarsweep.worker.child.program", device, *map(str, files)]


def child_environment() -> dict[str, str]:
    """Return the environment of a child, without the database's variables.

    GPUs are numbered as `nvidia-smi` numbers them, by PCI bus; CUDA's default is the fastest first.
    """
    return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", **without_database()}


def one_line(story: str) -> str:
    """Shorten a report to its first and last line."""
    first, *more = story.strip().splitlines() or [""]
    return f"{first} ({more[-1].strip()})" if more else first


class ChildProcess:
    """A running child. `read` never blocks; a broken pipe reads as the end of the replies.

    Raises DeviceError if the system can't start another process.
    """

    def __init__(self, command: Sequence[str]) -> None:
        # A file, not a pipe: it needs no reader, and its end can be read after the child is gone.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child
        # A session of its own: Ctrl-C in the terminal reaches only the supervisor, which stops the child in order.
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                bufsize=0,
                start_new_session=True,
                env=child_environment(),
            )
        except OSError as error:
            self._errors.close()
            raise DeviceError(f"the training process can't be started: {error.strerror}") from None
        assert self._process.stdin is not None and self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        os.set_blocking(self._stdout.fileno(), False)
        self._partial = b""
        self._stderr_tail = ""
        self._killed = False

    @property
    def pid(self) -> int:
        return self._process.pid

    def fileno(self) -> int:
        return self._stdout.fileno()

    def send(self, request: Request) -> None:
        """Write one request. If the child has ended, the next `read` returns None."""
        with contextlib.suppress(BrokenPipeError):
            self._stdin.write(encode(request))

    def has_output(self) -> bool:
        return bool(wait([self._stdout.fileno()], 0))

    def read(self) -> Iterator[Reply] | None:
        """Return the replies that have arrived, or None once the child has closed its end.

        The iterator raises ProtocolError at an invalid line, after the valid ones before it.
        """
        chunk = self._stdout.read(_READ_SIZE)
        if chunk is None:
            return iter(())
        if not chunk:
            return None
        *lines, self._partial = (self._partial + chunk).split(b"\n")
        return map(decode_reply, lines)

    def replies(self) -> Iterator[Reply]:
        """Yield the replies as they come, until the child closes its end. Raises ProtocolError as `read` does."""
        while (replies := self.read()) is not None:
            yield from replies
            wait([self.fileno()])

    def kill(self) -> None:
        """Kill the child and every process that came from it, also those that left its process group."""
        if self._killed:
            return  # its process number may have been reused
        self._killed = True
        descendants = _descendants(self._process.pid)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        # The guard of a program kills all that came from it, now that its owner is gone.
        give_up = time.monotonic() + _LONGEST_END_S
        while (descendants := [each for each in descendants if _runs(each)]) and time.monotonic() < give_up:
            time.sleep(0.005)
        for each in descendants:
            with contextlib.suppress(psutil.Error):
                each.kill()
        self._close_pipes()

    def reap(self) -> None:
        """End a child that has closed its pipe. Wait a moment first: its own exit code says more than ours."""
        give_up = time.monotonic() + _LONGEST_END_S
        with contextlib.suppress(ChildProcessError):
            # WNOWAIT leaves it a zombie, so that its process group's number can't be reused before `kill`.
            while os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                if time.monotonic() > give_up:
                    break
                time.sleep(0.005)
        self.kill()

    def close(self, timeout_s: float = 5.0) -> None:
        """Let an idle child exit; kill it after the timeout."""
        with contextlib.suppress(BrokenPipeError):
            self._stdin.close()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
        self._close_pipes()

    def exit_report(self) -> str:
        """Return how the child ended and the end of its stderr."""
        code = self._process.poll()
        how = f"signal {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit code {code}"
        return f"the training process ended by {how}\n{self.stderr_tail()}".rstrip()

    def stderr_tail(self) -> str:
        """Return the end of the child's stderr, at most 4,000 characters."""
        if self._errors.closed:
            return self._stderr_tail
        size = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, size - _TAIL))
        return self._errors.read().decode(errors="replace")

    def _close_pipes(self) -> None:
        self._stderr_tail = self.stderr_tail()
        for pipe in (self._stdin, self._stdout, self._errors):
            with contextlib.suppress(OSError):
                pipe.close()


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []


def _runs(process: psutil.Process) -> bool:
    # In a container nobody may wait for what has lost its parent: it stays as a zombie.
    with contextlib.suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def wait_for_any(children: Collection[ChildProcess], timeout_s: float) -> list[ChildProcess]:
    """Return the children that have something to read, after at most `timeout_s`."""
    ready: list[Any] = wait([child.fileno() for child in children], timeout_s)
    return [child for child in children if child.fileno() in ready]
