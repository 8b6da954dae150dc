"""A Slurm of one node without systemd: its daemons are children of the test, and all files lie in one folder."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CONFIGURATION = """\
ClusterName=cifarsweep
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
# A requeued job waits for as long as credentials live, two minutes by default.
AuthInfo=socket={folder}/munge/socket,cred_expire=5
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
SlurmctldPort={controller}
SlurmdPort={node}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
# How long a job that is asked to end may take; a slow machine takes longer than the half minute of a cluster.
KillWait=200
SchedulerParameters=batch_sched_delay=0,sched_interval=1
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """Why no cluster can be started here; empty where one can."""
    programs = ("munged", "slurmctld", "slurmd", "sbatch", "srun")
    absent = [name for name in programs if not shutil.which(name, path=_path())]
    if absent:
        return f"needs Debian's slurm-wlm and munge (not here: {', '.join(absent)})"
    return "" if os.geteuid() == 0 else "only root may start slurmd"


@contextmanager
def cluster(folder: Path) -> Iterator[dict[str, str]]:
    """Run a cluster; yields what its commands need in their environment. Every daemon ends with the block."""
    for name in ("munge", "state", "spool"):
        (folder / name).mkdir(mode=0o700)
    (folder / "munge" / "key").write_bytes(secrets.token_bytes(1024))
    (folder / "munge" / "key").chmod(0o600)
    host = socket.gethostname().split(".")[0]
    configuration = folder / "slurm.conf"
    configuration.write_text(CONFIGURATION.format(host=host, folder=folder, **_free_ports()))
    environment = {"SLURM_CONF": str(configuration), "PATH": _path()}
    munge = [f"--{name}-file={folder}/munge/{name}" for name in ("key", "pid", "log", "seed")]
    daemons = []
    try:
        for command in (
            ["munged", "--foreground", "--force", f"--socket={folder}/munge/socket", *munge],
            ["slurmctld", "-D", "-c"],
            ["slurmd", "-D", "-c", "-N", host],
        ):
            daemons.append(_started(command, folder, environment))
        _until_idle(environment, daemons)
        yield environment
    finally:
        subprocess.run(["scancel", "--full", "--signal=KILL", "--state=RUNNING"], env=os.environ | environment)
        for daemon in reversed(daemons):
            daemon.terminate()
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


def _started(command: list[str], folder: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    with (folder / f"{command[0]}.out").open("wb") as out:
        return subprocess.Popen(command, env=os.environ | environment, stdout=out, stderr=out)


def _until_idle(environment: dict[str, str], daemons: list[subprocess.Popen[bytes]]) -> None:
    for _ in range(800):
        assert all(daemon.poll() is None for daemon in daemons), "a daemon of the cluster ended at once"
        look = subprocess.run(["sinfo", "-h", "-o", "%T"], env=os.environ | environment, capture_output=True, text=True)
        if look.stdout.strip() == "idle":
            return
        time.sleep(0.25)
    raise AssertionError("the cluster's node never became idle")


def _free_ports() -> dict[str, int]:
    """Two that are free now, and not the same."""
    with socket.socket() as one, socket.socket() as other:
        for probe in (one, other):
            probe.bind(("127.0.0.1", 0))
        return {"controller": one.getsockname()[1], "node": other.getsockname()[1]}


def _path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
