"""`launch --kubernetes`: prints a Job, and says what it still needs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import typer

from cifarsweep.cli.launch_work import check_groups
from cifarsweep.errors import SpecError

if TYPE_CHECKING:
    from cifarsweep.cli.launch_work import Work
    from cifarsweep.worker.launch.kubernetes import WorkerJob


def place_of_checkpoints(artifacts: str | None, claim: str | None) -> str:
    """Return where all pods keep checkpoints. Raises SpecError where no two pods would find the same."""
    from cifarsweep.checkpoints.location import parse_location
    from cifarsweep.worker.launch.kubernetes import SHARED_FOLDER

    if artifacts is None and claim is None:
        raise SpecError(
            "--kubernetes: pods need one place for checkpoints: give --artifacts s3://bucket/prefix, or --claim NAME, "
            "a volume that all of them can write"
        )
    if artifacts is None:
        return str(SHARED_FOLDER / "checkpoints")
    location = parse_location(artifacts)
    if "://" not in location:
        raise SpecError(
            f"--artifacts {location}: a pod has no such folder; give s3://bucket/prefix, or leave it out and give "
            "--claim NAME, a volume that all pods can write"
        )
    return location


def check_notify(notify: Sequence[str] | None, secret: str) -> None:
    """Raise typer.BadParameter for a target, which may hold a password: a Job can be read by more people than it."""
    if notify:
        raise typer.BadParameter(f"--notify: pods read it from the Secret {secret}; put CIFARSWEEP_NOTIFY into it")


def print_job(
    work: Work, workers: int, gpus: int, cpus: int | None, memory: str | None, names: Mapping[str, str | None]
) -> None:
    """Print a Job on standard output, and on standard error what to do with it; `names` are fields of WorkerJob.

    Raises SpecError for what no cluster takes. Asks nobody: the cluster may have another database.
    """
    from cifarsweep.worker.launch.kubernetes import WorkerJob, job_name, own_arguments

    check_groups(gpus, work.gpus_per_trial or 1)
    if names["image"] is None:
        raise SpecError("--kubernetes: give --image IMAGE, which has the program `cifarsweep`")
    place = place_of_checkpoints(work.artifacts, names["claim"])
    job = WorkerJob(
        **{key: value for key, value in names.items() if value is not None}
        | {"name": names["name"] or job_name(work.study)},
        arguments=(*work.arguments(), f"--artifacts={place}", *own_arguments(work.code, work.program)),
        workers=workers,
        gpus=gpus,
        gpus_per_trial=work.gpus_per_trial or 1,
        cpus=cpus,
        memory=memory,
    )
    typer.echo(json.dumps(job.manifest(), indent=2))
    for line in _advice(job):
        typer.echo(line, err=True)


def _advice(job: WorkerJob) -> list[str]:
    kubectl = f"kubectl --namespace {job.namespace}" if job.namespace else "kubectl"
    pods = f"{job.workers} pod{'s' * (job.workers > 1)}"
    return [
        f"Job {job.name}: {pods} of {job.image}; give it to `kubectl apply -f -`",
        f"  database: from the Secret {job.secret}, made once of a file with CIFARSWEEP_DB=postgresql://...:",
        f"            {kubectl} create secret generic {job.secret} --from-env-file=FILE",
        f"  watch:    {kubectl} get job {job.name}",
        f"  end:      {kubectl} delete job {job.name}",
    ]
