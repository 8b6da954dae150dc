"""Workers as a Slurm job array, through submitit: requeued at the time limit until nothing is left to train."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cifarsweep.environment import without_database
from cifarsweep.errors import CifarsweepError, SpecError, install_command
from cifarsweep.worker.launch.local import WorkerCommand, WorkerGroup

#: How long before the time limit Slurm sends its signal; it may be a minute early. Workers need at most 45 s.
_WARNING_S = 90
#: Options of sbatch that are set for every job, and why. Of an option given twice in a script one has no effect.
_OURS = {
    "array": "--workers says how many jobs there are",
    "error": "--logs says where the output goes",
    "job-name": "jobs are called cifarsweep",
    "no-requeue": "jobs are queued again until nothing is left",
    "nodes": "each job has one node; --workers says how many jobs there are",
    "open-mode": "--logs says where the output goes",
    "output": "--logs says where the output goes",
    "requeue": "jobs are queued again until nothing is left",
    "signal": f"jobs are warned {_WARNING_S} s before their time limit",
}


@dataclass(frozen=True, slots=True)
class Job:
    """One element of the array: the workers of its GPUs, kept running until nothing is left or time is up.

    submitit pickles it into the folder of logs, and the node reads it from there.
    """

    members: tuple[WorkerCommand, ...]
    logs: Path

    def __call__(self, number: int) -> None:
        """Run the workers; after the warning of the time limit queue the job again, unless all ended well."""
        group = WorkerGroup(self.members, self.logs / f"workers-{number}", _print)
        code = group.run()
        if group.interrupted and code:
            _print("slurm", "time is up, the trials are given back: queued again")
            command = ["scontrol", "requeue", _name_of_this_job()]
            subprocess.run(command, check=True, timeout=60, env=without_database())
        elif code:
            sys.exit(code)


def _name_of_this_job() -> str:
    # SLURM_JOB_ID alone is ambiguous: one element of an array has the number of the whole array.
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    return f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else os.environ["SLURM_JOB_ID"]


def _print(name: str, line: str) -> None:
    print(f"{name} | {line}", flush=True)


def check_extra(names: Iterable[str]) -> None:
    """Raise SpecError for an option of sbatch that the user can't set."""
    for name in names:
        if reason := _OURS.get(name.replace("_", "-")):
            raise SpecError(f"--extra {name.replace('_', '-')}: can't be set, as {reason}; leave it out")


def submit(job: Job, workers: int, options: Mapping[str, str]) -> str:
    """Submit an array of `workers` jobs with additional options of sbatch; return the job's number.

    Raises SpecError if Slurm refuses the options, CifarsweepError if it is not installed.
    """
    try:
        import submitit
    except ModuleNotFoundError:
        raise CifarsweepError(f"--slurm needs one more package: {install_command('slurm')}") from None
    if not submitit.SlurmExecutor.affinity() > 0:
        raise CifarsweepError("--slurm: there is no Slurm here (no `srun` in $PATH); submit from a login node")
    executor = submitit.SlurmExecutor(folder=job.logs)
    executor.update_parameters(
        job_name="cifarsweep",
        # None: the partition's limit and no accounting key, unless the options name them.
        time=None,
        wckey=None,
        signal_delay_s=_WARNING_S,
        array_parallelism=workers,
        stderr_to_stdout=True,
        additional_parameters={"requeue": True, **options},
    )
    try:
        # submitit prints sbatch's message before it raises it.
        with contextlib.redirect_stderr(io.StringIO()):
            jobs = executor.map_array(job, range(workers))
    except submitit.core.utils.FailedJobError as error:
        raise SpecError(f"Slurm refuses the job: {_reason(str(error))}") from None
    return str(jobs[0].job_id).split("_")[0]


def _reason(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()] or ["no reason given"]
    # An unknown option has no `error:` prefix, and the line after it only names --help.
    reasons = (line for sign in ("sbatch: error:", "sbatch:") for line in lines if line.startswith(sign))
    return next(reasons, lines[-1])
