"""Workers on other hosts, through the system's ssh: a launcher on each, which goes on when the connection is lost."""

from __future__ import annotations

import contextlib
import json
import queue
import re
import shlex
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from cifarsweep.environment import without_database
from cifarsweep.errors import CifarsweepError, SpecError, StoreUnavailable
from cifarsweep.text import quoted
from cifarsweep.worker.launch.group import Group

#: No question can be answered here; a connection that is silent for 45 s is lost.
OPTIONS = (
    *("-T", "-x", "-a"),
    *("-o", "BatchMode=yes"),
    *("-o", "ConnectTimeout=15"),
    *("-o", "ServerAliveInterval=15"),
    *("-o", "ServerAliveCountMax=3"),
)
#: A name, or user@name, which ssh can't take for an option and a shell not for anything else.
_HOST = re.compile(r"([A-Za-z0-9_][A-Za-z0-9_.-]*@)?[A-Za-z0-9_][A-Za-z0-9_.:-]*")
_LONGEST_HOST = 200
_STARTED = re.compile(r"(started|joined) launcher \d+; ")
#: What ssh ends with when it, not the command, failed.
_SSH_FAILED = 255
#: How long hosts may take to end their workers. Launchers wait for theirs for 45 s. Seconds.
_GRACE_S = 75.0
_TICK_S, _LONGEST_END_S = 0.2, 5.0


def parse_hosts(text: str) -> tuple[str, ...]:
    """Return the hosts of a list with commas. Raises SpecError for what is none, and for one that comes twice."""
    hosts = tuple(part.strip() for part in text.split(","))
    for host in hosts:
        if len(host) > _LONGEST_HOST or not _HOST.fullmatch(host):
            raise SpecError(f"--hosts {quoted(host)}: is no host; write names as ssh takes them: gpu1,me@gpu2")
    if len(set(hosts)) < len(hosts):
        twice = next(host for host in hosts if hosts.count(host) > 1)
        raise SpecError(f"--hosts: {twice} is given twice; give it once")
    return hosts


def remote_command(path: str | None, arguments: Sequence[str]) -> str:
    """Return a line for the shell of a host: the program of a virtual environment in `path`, or else the one on PATH.

    `path` is a folder from the user's home. Raises SpecError for one that is no line.
    """
    if path is not None and not (path and path.isprintable()):
        raise SpecError(f"--path {quoted(path)}: is no folder; write it as work/cifarsweep")
    folder = "." if path is None else path.removeprefix("~/") or "."
    absent = f"error: {folder} is no folder here that can be worked in; give one as --path, from the home folder there"
    script = (
        f"cd -- {shlex.quote(folder)} || {{ printf '%s\\n' {shlex.quote(absent)}; exit 2; }}; "
        'program=.venv/bin/cifarsweep; [ -x "$program" ] || program=$(command -v cifarsweep) || { echo '
        '"error: no cifarsweep here in .venv/bin or on PATH; install it, or give its folder as --path"; exit 2; }; '
        f'exec "$program" {shlex.join(arguments)}'
    )
    # Whatever the user's own shell is.
    return f"exec sh -c {shlex.quote(script)}"


class _Host:
    """One connection. `code` is what its launcher ended with, once it is known or the connection is over."""

    def __init__(self, name: str, command: str, environment: Mapping[str, str], events: queue.Queue[_Event]) -> None:
        self.name = name
        self.code: int | None = None
        self.started = False
        self.newest = ""
        self._process = subprocess.Popen(
            ["ssh", *OPTIONS, "--", name, command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=without_database(),
            # Ctrl-C in the terminal reaches only us, who ask every host once.
            start_new_session=True,
        )
        self._send(json.dumps(dict(environment)))
        self._reader = threading.Thread(target=self._read, args=(events,), daemon=True)
        self._reader.start()

    def stop(self) -> None:
        """Ask the launcher to end; a second time means at once."""
        self._send("stop")

    def leave(self) -> None:
        """Close the connection."""
        self._process.kill()
        self._process.wait()
        # A process that the user's ssh leaves behind, as a shared connection, may hold the other end.
        self._reader.join(_LONGEST_END_S)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None and not self._reader.is_alive():
                # Who ended before it had read all leaves the rest to be written.
                with contextlib.suppress(OSError):
                    pipe.close()

    def wait(self) -> int:
        """Return what ssh ended with; its output is at its end."""
        return self._process.wait()

    def _send(self, line: str) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()

    def _read(self, events: queue.Queue[_Event]) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            events.put((self, line.decode(errors="replace").rstrip("\r\n")))
        events.put((self, None))


#: A line of a host, or None at the end of its connection.
_Event = tuple[_Host, str | None]


class HostGroup(Group):
    """Launchers on several hosts. `emit` gets a host's name and a line of its launcher, or about it."""

    def __init__(
        self,
        commands: Mapping[str, str],
        environment: Mapping[str, str],
        emit: Callable[[str, str], None],
    ) -> None:
        if shutil.which("ssh") is None:
            raise CifarsweepError("--hosts: there is no `ssh` here; install OpenSSH's client")
        super().__init__()
        self._emit, self._events = emit, queue.Queue[_Event]()
        self._commands, self._environment = commands, environment
        self._hosts: list[_Host] = []

    def _let_go(self) -> None:
        for host in self._hosts:
            host.leave()

    def _codes(self) -> Iterable[int]:
        return (StoreUnavailable.exit_code if host.code is None else host.code for host in self._hosts)

    def _run(self) -> None:
        for name, command in self._commands.items():
            self._hosts.append(_Host(name, command, self._environment, self._events))
        asked, give_up = 0, float("inf")
        open_hosts = set(self._hosts)
        while open_hosts and time.monotonic() < give_up:
            for _ in self._signals.heard[asked:]:
                asked += 1
                give_up = min(give_up, time.monotonic() + _GRACE_S)
                for host in open_hosts:
                    host.stop()
            with contextlib.suppress(queue.Empty):
                host, line = self._events.get(timeout=_TICK_S)
                if line is None:
                    open_hosts.discard(host)
                    self._end(host)
                else:
                    host.started |= bool(_STARTED.match(line))
                    host.newest = line
                    self._say(host, line)
        for host in open_hosts:
            self._say(host, f"does not answer for {_GRACE_S:.0f} s: its workers may go on")

    def _end(self, host: _Host) -> None:
        code = host.wait()
        if code != _SSH_FAILED:
            host.code = code
            # On a terminal, where each host has one line, this one takes the place of the reason.
            why = f": {host.newest}" if host.newest.startswith("error: ") else ""
            self._say(host, f"ended, exit code {code}{why}")
        elif host.started:
            self._say(host, "the connection is lost, the workers go on: the same command joins them again")
        else:
            self._say(host, f"no connection, nothing was started there: {host.newest or 'ssh says no reason'}")

    def _say(self, host: _Host, line: str) -> None:
        # A full screen or a reader that went away must not end the connections.
        with contextlib.suppress(OSError):
            self._emit(host.name, line)
