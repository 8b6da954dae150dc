"""Who and where this worker is."""

from __future__ import annotations

import os
import platform
import secrets
import socket
from collections.abc import Mapping

from cifarsweep import __version__
from cifarsweep.spec.types import DATA_VERSION


def worker_id() -> str:
    """A name that no other worker has or had: host, process number and a few random digits."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"


def versions(child: Mapping[str, str], digests: Mapping[str, str]) -> dict[str, str]:
    """What the results depend on: ours, the operating system's, what the child reports, and the images' digests."""
    data = {DATA_VERSION + name: digest for name, digest in sorted(digests.items())}
    return {"cifarsweep": __version__, "system": f"{platform.system()} {platform.machine()}", **child, **data}
