"""Who and where this worker is."""

from __future__ import annotations

import os
import platform
import secrets
import socket

from cifarsweep import __version__


def worker_id() -> str:
    """A name that no other worker has or had: host, process number and a few random digits."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"


def versions(child: dict[str, str]) -> dict[str, str]:
    """What the results depend on: ours, the operating system's and those that the child reports."""
    return {"cifarsweep": __version__, "system": f"{platform.system()} {platform.machine()}", **child}
