"""`launch`: workers on all GPUs of this machine, or on other hosts, or on a cluster of Slurm, Kubernetes or Ray."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from cifarsweep.cli.launch_hosts import run_on_hosts
from cifarsweep.cli.launch_kubernetes import check_notify, print_job
from cifarsweep.cli.launch_options import (
    Account,
    Claim,
    Cpus,
    CpusPerWorker,
    Extra,
    Gpus,
    GpusPerTrial,
    GpusPerWorker,
    Hosts,
    Image,
    Kubernetes,
    Logs,
    MaxWorkers,
    Mem,
    Name,
    Namespace,
    Partition,
    Qos,
    Ray,
    RemotePath,
    RuntimeEnv,
    SaveEvery,
    Secret,
    Slots,
    Slurm,
    Time,
    Workers,
    check_place,
    parse_workers,
)
from cifarsweep.cli.launch_ray import run_on_ray
from cifarsweep.cli.launch_screen import screen_of
from cifarsweep.cli.launch_work import Work, check_devices, check_work, pass_on, workers_here, workers_of_job
from cifarsweep.cli.options import (
    DEFAULT_DATABASE,
    Artifacts,
    Code,
    Database,
    KeepCheckpoints,
    NoGraphs,
    NoReuse,
    Notify,
    OtherData,
    Programs,
    Studies,
    Wait,
    WhileQueued,
    end,
    key_values,
)
from cifarsweep.cli.worker import UntilEof

if TYPE_CHECKING:
    from cifarsweep.worker.launch.local import WorkerCommand


def launch(
    context: typer.Context,
    gpus: Gpus = None,
    cpus: Cpus = None,
    gpus_per_trial: GpusPerTrial = None,
    slots: Slots = "1",
    study: Studies = None,
    code: Code = None,
    program: Programs = None,
    db: Database = DEFAULT_DATABASE,
    wait: Wait = False,
    while_queued: WhileQueued = False,
    save_every: SaveEvery = None,
    artifacts: Artifacts = None,
    other_data: OtherData = False,
    no_graphs: NoGraphs = False,
    no_reuse: NoReuse = False,
    keep_checkpoints: KeepCheckpoints = "branches",
    notify: Notify = None,
    logs: Logs = Path("logs"),
    slurm: Slurm = False,
    workers: Workers = "1",
    gpus_per_worker: GpusPerWorker = 1,
    cpus_per_worker: CpusPerWorker = None,
    mem: Mem = None,
    time: Time = None,
    partition: Partition = None,
    account: Account = None,
    qos: Qos = None,
    extra: Extra = None,
    kubernetes: Kubernetes = False,
    image: Image = None,
    name: Name = None,
    namespace: Namespace = None,
    secret: Secret = "cifarsweep",
    claim: Claim = None,
    hosts: Hosts = None,
    path: RemotePath = None,
    ray: Ray = None,
    max_workers: MaxWorkers = 1024,
    runtime_env: RuntimeEnv = None,
    until_eof: UntilEof = False,
) -> None:
    """Start workers here, on other hosts or on a cluster.

    A worker that crashes is started again, unless it has nothing left to do or its machine is bad. Ctrl-C writes
    checkpoints and gives the trials back; twice stops at once.
    """
    place = check_place(context)
    check_devices(gpus, cpus)
    work = Work.of(context.params)
    work.check_options(on_processor=bool(cpus) if place in (None, "hosts") else not gpus_per_worker)
    _start(place, work, context.params)


def _start(place: str | None, work: Work, given: Mapping[str, Any]) -> None:
    """Start workers there; `given` has all parameters of `launch`."""
    number = parse_workers(given["workers"], place)
    if place == "kubernetes":
        check_notify(given["notify"], given["secret"])
        names = {name: given[name] for name in ("image", "name", "namespace", "secret", "claim")}
        print_job(work, number or 1, given["gpus_per_worker"], given["cpus_per_worker"], given["mem"], names)
        return
    pass_on(given["db"], given["notify"])
    if place == "hosts":
        run_on_hosts(work, given["gpus"], given["cpus"], given["hosts"], given["path"], str(given["logs"]))
    if place == "ray":
        run_on_ray(work, given["ray"], number, given)
    if given["until_eof"]:
        from cifarsweep.worker.launch.local import stop_at_end_of_input

        stop_at_end_of_input()
    if place:
        members, options = workers_of_job(work, given["gpus_per_worker"]), _sbatch_options(given)
    else:
        members, options = workers_here(work, given["gpus"], given["cpus"]), {}
    check_work(work, given["db"])
    _submit(members, number or 1, options, given["logs"]) if place else _run(members, given["logs"])


def _sbatch_options(given: Mapping[str, Any]) -> dict[str, str]:
    """Options of sbatch by their names, from the parameters of `launch`."""
    from cifarsweep.worker.launch.slurm import check_extra

    options = {"gpus-per-node": given["gpus_per_worker"] or None, "cpus-per-task": given["cpus_per_worker"]}
    options |= {name: given[name] for name in ("mem", "time", "partition", "account", "qos")}
    extra = (text.lstrip("-") for text in given["extra"] or ())
    others = key_values(extra, "--extra", "KEY=VALUE, as in constraint=a100")
    check_extra(others)
    return {name: str(value) for name, value in options.items() if value is not None} | others


def _run(members: tuple[WorkerCommand, ...], logs: Path) -> NoReturn:
    from cifarsweep.worker.launch.local import WorkerGroup

    title = f"{len(members)} workers; their full output is in {logs}"
    with screen_of([member.name for member in members], title) as say:
        code = WorkerGroup(members, logs, say).run()
    end(code)


def _submit(members: tuple[WorkerCommand, ...], workers: int, options: dict[str, str], logs: Path) -> None:
    from cifarsweep.worker.launch.slurm import Job, submit

    logs = logs.resolve()
    job = submit(Job(members, logs), workers, options)
    typer.echo(f"job {job}: {workers} workers, queued again at their time limit until nothing is left")
    typer.echo(f"  logs:   {logs}")
    typer.echo(f"  watch:  squeue --job={job}; cifarsweep status --watch")
    typer.echo(f"  cancel: scancel {job}")
