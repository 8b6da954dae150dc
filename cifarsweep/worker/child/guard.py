"""Runs a command and outlives it: when the command or its owner ends, every process that came from it is killed.

Run as a file, with Python's isolated mode, since the folder of a user's program may have modules of any name. The
standard input is a socket to the owner. The owner writes `TERM` to send that signal, and closes its end, as the kernel
does where the owner is killed, to have all processes killed. The guard writes one JSON line at the end: `{"code": 0}`
as `Popen.returncode` has it, or `{"error": "..."}` where the command can't be started.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress

#: Asks for SIGTERM to the command's process group.
TERM = b"t"
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
#: How long helpers of a library, which end once the command is gone, are waited for. Seconds.
_HELPERS_END_S = 3.0


def become_subreaper() -> None:
    """Become the parent of every descendant whose own parent ends (prctl(2)). Does nothing but on Linux."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def kill_descendants(own: int = 0) -> None:
    """Kill every process that came from this one, and wait until they are gone.

    `own` is the process group that is killed where the system does not list processes in `/proc`. What a process starts
    before it is killed comes to us, who are its subreaper, and is killed in the next round.
    """
    while True:
        for pid in _descendants() or ([-own] if own else []):
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _descendants() -> list[int]:
    """Return the processes that came from this one, those that were started later last; none without `/proc`."""
    parents: dict[int, int] = {}
    with suppress(OSError):
        for name in filter(str.isdigit, os.listdir("/proc")):
            with suppress(OSError, ValueError, IndexError), open(f"/proc/{name}/stat", "rb") as file:
                # The command's name, in brackets, may hold anything.
                parents[int(name)] = int(file.read().rpartition(b")")[2].split()[1])
    found = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return sorted(found - {os.getpid()})


def _in_the_command() -> None:
    # Batch systems send SIGUSR1 and SIGUSR2 to all processes as a warning, which must not end the command.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> None:
    """Run the command of the command line."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    become_subreaper()
    owner = socket.socket(fileno=os.dup(0))
    ended, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    try:
        # Descriptors stay open: one of them is the pipe that the command writes its messages to. `preexec_fn` is safe
        # in a process of one thread.
        process = subprocess.Popen(
            sys.argv[1:],
            stdin=subprocess.DEVNULL,
            close_fds=False,
            process_group=0,
            preexec_fn=_in_the_command,
        )
    except (OSError, ValueError) as error:
        _tell(owner, error=getattr(error, "strerror", None) or str(error))
        return
    code = _wait(process, owner, ended)
    left = _left(owner)
    kill_descendants(process.pid)
    _tell(owner, code=code, left=left)


def _wait(process: subprocess.Popen[bytes], owner: socket.socket, ended: int) -> int:
    """Return the code with which the command ended, by itself or since the owner is gone."""
    while (code := process.poll()) is None:
        readable, _, _ = select.select([owner.fileno(), ended], [], [])
        if owner.fileno() in readable:
            if not owner.recv(16):
                process.kill()
                return process.wait()
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        if ended in readable:
            os.read(ended, 512)
            _reap_adopted(process.pid)
    return code


def _left(owner: socket.socket) -> int:
    """Return how many processes of the command stay after its end; fewer once the owner wants them all killed."""
    give_up = time.monotonic() + _HELPERS_END_S
    while (left := _alive()) and time.monotonic() < give_up:
        if select.select([owner], [], [], 0.02)[0] and not owner.recv(16):
            break
    return left


def _alive() -> int:
    """Return how many processes came from this one, those that have ended and wait for their parent left out."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    return len(_descendants())


def _reap_adopted(own: int) -> None:
    """Take note of the end of processes that came to us, but not of the command's, whose code is waited for."""
    while (found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) and found.si_pid != own:
        with suppress(ChildProcessError):
            os.waitpid(found.si_pid, 0)


def _tell(owner: socket.socket, **what: object) -> None:
    with suppress(OSError):
        owner.sendall(json.dumps(what).encode() + b"\n")


if __name__ == "__main__":
    main()
