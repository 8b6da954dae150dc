"""A Ray cluster of two nodes on the loopback, in a process of its own: `python ray_cluster.py FOLDER` is one.

Its first line of output is the address. Each line of input asks for one thing: `lose`, that the newest node is killed
with all that runs on it, as by the loss of a machine; `drain`, that it is to go soon, as when a cloud wants it back;
`add`, that another one comes. It ends with its input.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

#: Without these Ray listens on the address of the machine, sends numbers about its use to its makers, and gives the
#: agents of a node half a minute to start.
ENVIRONMENT = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_agent_register_timeout_ms": "300000",
}
_MEMORY = 80_000_000


@dataclass(frozen=True)
class RayCluster:
    """A running cluster, of one processor a node."""

    address: str
    process: subprocess.Popen[str]
    #: Where Ray keeps what it and the actors say.
    folder: Path

    def ask(self, what: str) -> None:
        """Let it `lose` or `drain` its newest node, or `add` another one."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(f"{what}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == f"{what}\n"


@contextmanager
def cluster(log: Path) -> Iterator[RayCluster]:
    """Run a cluster for as long as the block lasts."""
    with (
        # Not in a folder of pytest, whose path is too long for sockets.
        tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder,
        log.open("wb") as errors,
        subprocess.Popen(
            [sys.executable, __file__, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            # Where it writes its address; by default into a folder that is there only where somebody has used Ray.
            env=os.environ | ENVIRONMENT | {"RAY_TMPDIR": folder},
            cwd=log.parent,
        ) as process,
    ):
        assert process.stdout is not None
        try:
            address = process.stdout.readline().strip()
            assert address.startswith("127.0.0.1:"), log.read_text()
            yield RayCluster(address, process, Path(folder))
        finally:
            # Its end is the end of its input, which it waits for.
            assert process.stdin is not None
            process.stdin.close()
            process.wait(200)


def _main() -> None:
    import psutil
    from ray._private import node as of_ray
    from ray.cluster_utils import Cluster

    # Ray gives a node half a minute to start, and no setting says otherwise; a busy machine takes longer.
    of_ray.time = SimpleNamespace(**vars(time) | {"monotonic": lambda: time.monotonic() / 10})
    # What Ray prints is not the answer to anything.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    Path(sys.argv[1], "ray").mkdir()
    node = {"num_cpus": 1, "num_gpus": 0, "object_store_memory": _MEMORY}
    running = Cluster(
        initialize_head=True, head_node_args={**node, "include_dashboard": False, "temp_dir": sys.argv[1]}
    )
    second = running.add_node(**node)
    print(running.address, file=answers, flush=True)
    for line in sys.stdin:
        if line == "add\n":
            second = running.add_node(**node)
        elif line == "drain\n":
            reason = [
                "--reason=DRAIN_NODE_REASON_PREEMPTION",
                "--reason-message=test",
                "--deadline-remaining-seconds=600",
            ]
            command = [f"{sys.exec_prefix}/bin/ray", "drain-node", f"--address={running.address}", *reason]
            subprocess.run([*command, f"--node-id={second.node_id}"], check=True)
        else:
            (raylet,) = second.all_processes["raylet"]
            lost = psutil.Process(raylet.process.pid)
            for process in [lost, *lost.children(recursive=True)]:
                process.kill()
        print(line.strip(), file=answers, flush=True)
    running.shutdown()


if __name__ == "__main__":
    _main()
