"""`launch --hosts`: a launcher on each of several machines, through ssh."""

from __future__ import annotations

import os
from pathlib import PurePosixPath
from typing import NoReturn

from cifarsweep.cli.launch_screen import screen_of
from cifarsweep.cli.launch_work import Work
from cifarsweep.cli.options import end
from cifarsweep.errors import SpecError

#: What launchers on other machines are to have as this one does. A password of `--db` is in the first.
_PASSED_ON = (
    *("CIFARSWEEP_DB", "CIFARSWEEP_LEASE", "CIFARSWEEP_BEAT", "CIFARSWEEP_SAVE_EVERY", "CIFARSWEEP_NOTIFY"),
    "PGPASSWORD",
)


def arguments_of_launcher(work: Work, devices: str) -> list[str]:
    """Return the arguments of a `launch` on another machine; its paths are those of that machine."""
    own = [f"--code={text}" for text in work.code] + [f"--program={text}" for text in work.program]
    place = [f"--artifacts={work.artifacts}"] if work.artifacts else []
    groups = [f"--gpus-per-trial={work.gpus_per_trial}"] if work.gpus_per_trial else []
    return [devices, *groups, *work.arguments(), *place, *own]


def environment_of_launcher() -> dict[str, str]:
    """Return the variables that a launcher on another machine is to have as this one."""
    return {name: os.environ[name] for name in _PASSED_ON if name in os.environ}


def run_on_hosts(work: Work, gpus: str | None, cpus: int | None, hosts: str, path: str | None, logs: str) -> NoReturn:
    """Start workers on these hosts, show what they say, and exit with the highest of their codes.

    The database is that of $CIFARSWEEP_DB. Raises SpecError for one that only this machine has.
    """
    from cifarsweep.store.url import parse_url
    from cifarsweep.worker.launch.ssh import HostGroup, parse_hosts, remote_command

    if parse_url(os.environ["CIFARSWEEP_DB"]).get_backend_name() == "sqlite":
        raise SpecError("--hosts: several machines can't share an SQLite file; give a --db on PostgreSQL")
    arguments = arguments_of_launcher(work, f"--cpus={cpus}" if cpus else f"--gpus={gpus or 'all'}")
    commands = {
        # A folder for each, where several have one home on the network.
        host: remote_command(path, ["attend", str(PurePosixPath(logs) / host), "--", *arguments])
        for host in parse_hosts(hosts)
    }
    with screen_of(list(commands), f"{len(commands)} hosts; their full output is there in {logs}/HOST") as say:
        code = HostGroup(commands, environment_of_launcher(), say).run()
    end(code)
