"""A real sshd on the loopback for the user of the tests, its files in one folder, and an `ssh` that finds it."""

from __future__ import annotations

import getpass
import os
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

_SERVER = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/user_key.pub
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
PermitRootLogin yes
MaxStartups 100
"""
#: Every name is this server, but for that of a machine that is not there.
_CLIENT = """\
Host nowhere
  Port 1
Host *
  HostName 127.0.0.1
  Port {port}
  User {user}
  IdentityFile {folder}/user_key
  IdentitiesOnly yes
  StrictHostKeyChecking no
  UserKnownHostsFile /dev/null
  LogLevel ERROR
"""
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def missing() -> str:
    """Why no server can be started here; empty where one can."""
    absent = [name for name in ("ssh", "ssh-keygen", "sshd") if not shutil.which(name, path=_PATH)]
    return f"needs Debian's openssh-client and openssh-server (not here: {', '.join(absent)})" if absent else ""


@dataclass(frozen=True)
class SshServer:
    """A server that runs."""

    process: subprocess.Popen[bytes]
    #: Has an `ssh` that takes every name of a host for this server.
    programs: Path

    def cut_connections(self) -> None:
        """End every connection, as a broken network would, and nothing that was started through one."""
        with suppress(psutil.NoSuchProcess):
            for process in psutil.Process(self.process.pid).children(recursive=True):
                if process.name().startswith("sshd"):
                    process.kill()


@contextmanager
def server(folder: Path, environment: Mapping[str, str]) -> Iterator[SshServer]:
    """Run a server whose sessions have this environment; it and all connections end with the block."""
    folder.mkdir()
    for name in ("host_key", "user_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    if os.geteuid() == 0:
        # Where a server of root keeps its part that has no rights.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    # Only one line counts.
    variables = " ".join(f'{name}="{value}"' for name, value in environment.items())
    programs = folder / "bin"
    programs.mkdir()
    real = shlex.quote(str(shutil.which("ssh", path=_PATH)))
    (programs / "ssh").write_text(f'#!/bin/sh\nexec {real} -F {shlex.quote(str(folder))}/ssh_config "$@"\n')
    (programs / "ssh").chmod(0o755)
    with _listening(folder, f"SetEnv {variables}\n" if variables else "") as process:
        running = SshServer(process, programs)
        try:
            yield running
        finally:
            running.cut_connections()
            process.terminate()


def _listening(folder: Path, more: str) -> subprocess.Popen[bytes]:
    """A server that listens: it takes no port 0, and one that was free a moment ago may be another program's by now."""
    command = [str(shutil.which("sshd", path=_PATH)), "-D", "-e", "-f", str(folder / "sshd_config")]
    log = folder / "log"
    while True:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
        (folder / "sshd_config").write_text(_SERVER.format(folder=folder, port=port) + more)
        (folder / "ssh_config").write_text(_CLIENT.format(folder=folder, port=port, user=getpass.getuser()))
        with log.open("wb") as errors:
            process = subprocess.Popen(command, stderr=errors)
        while "Server listening on" not in log.read_text() and process.poll() is None:
            time.sleep(0.05)
        if process.poll() is None:
            return process
        assert "Address already in use" in log.read_text(), log.read_text()
