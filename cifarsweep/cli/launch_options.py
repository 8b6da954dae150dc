"""Options of `launch` alone, and which of them are for workers elsewhere than on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from cifarsweep.cli.options import check_seconds

#: Processes that one machine keeps, and jobs that Slurm takes at once; more is a typing error.
_MOST_WORKERS, _MOST_JOBS = 1024, 100_000

Gpus = Annotated[str | None, typer.Option(metavar="all|N,N", help="A worker on each of these GPUs; all if left out.")]
Cpus = Annotated[
    int | None, typer.Option(metavar="N", min=1, max=_MOST_WORKERS, help="N workers on the processor instead.")
]
GpusPerTrial = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        max=64,
        help="GPUs of each worker, for trials whose `devices` are N at most; a program's own file says it.",
    ),
]
Slots = Annotated[str, typer.Option(metavar="K|auto", help="Trials at once in each worker.")]
SaveEvery = Annotated[
    float | None, typer.Option(metavar="S", callback=check_seconds, help="Seconds between two checkpoints.")
]
Logs = Annotated[Path, typer.Option(metavar="DIR", help="Where the workers' output goes.")]
Slurm = Annotated[bool, typer.Option("--slurm", help="Submit a job array of workers to Slurm.")]
Kubernetes = Annotated[
    bool,
    typer.Option(
        "--kubernetes", help="Print a Job of workers for `kubectl apply -f -`. Its Secret has the database's URL."
    ),
]
Ray = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS|auto", help="Start workers as actors of a Ray cluster; auto is the one of this machine."
    ),
]
Workers = Annotated[
    str,
    typer.Option(
        metavar="N|auto",
        help="Slurm, Kubernetes, Ray: how many jobs, pods or actors. On Ray, auto is one for each trial that is left.",
    ),
]
MaxWorkers = Annotated[
    int, typer.Option(metavar="N", min=1, max=_MOST_WORKERS, help="Ray: at most so many with --workers auto.")
]
RuntimeEnv = Annotated[
    Path | None,
    typer.Option("--runtime-env", metavar="FILE", help="Ray: the workers' runtime environment, as YAML or JSON."),
]
GpusPerWorker = Annotated[
    int,
    typer.Option(
        metavar="N", min=0, max=64, help="Slurm, Kubernetes, Ray: GPUs of each; with 0 it trains on the processor."
    ),
]
CpusPerWorker = Annotated[
    int | None, typer.Option(metavar="N", min=1, max=4096, help="Slurm, Kubernetes, Ray: processors of each.")
]
Mem = Annotated[
    str | None, typer.Option(metavar="SIZE", help="Slurm, Kubernetes, Ray: memory of each, for example 32G.")
]
Time = Annotated[str | None, typer.Option(metavar="LIMIT", help="Slurm: limit of a job, [days-]hours:minutes:seconds.")]
Partition = Annotated[str | None, typer.Option(metavar="NAME", help="Slurm: the partition.")]
Account = Annotated[str | None, typer.Option(metavar="NAME", help="Slurm: the account to charge.")]
Qos = Annotated[str | None, typer.Option(metavar="NAME", help="Slurm: quality of service.")]
Extra = Annotated[
    list[str] | None, typer.Option(metavar="KEY=VALUE", help="Slurm: any other option of sbatch; repeat for more.")
]
Image = Annotated[
    str | None, typer.Option(metavar="IMAGE", help="Kubernetes: an image that has the program `cifarsweep`.")
]
Name = Annotated[
    str | None, typer.Option(metavar="NAME", help="Kubernetes: name of the Job; cifarsweep-STUDY if left out.")
]
Namespace = Annotated[
    str | None, typer.Option(metavar="NAME", help="Kubernetes: namespace of the Job; that of kubectl if left out.")
]
Secret = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Kubernetes: the Secret whose key CIFARSWEEP_DB is the database's URL. Pods get all its keys.",
    ),
]
Claim = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Kubernetes: a PersistentVolumeClaim that all pods can write; it holds data sets and checkpoints.",
    ),
]

Hosts = Annotated[
    str | None,
    typer.Option(
        metavar="HOST,HOST", help="Start workers on these machines through ssh; they go on if the connection is lost."
    ),
]
RemotePath = Annotated[
    str | None,
    typer.Option(
        "--path",
        metavar="DIR",
        help="Hosts: the folder there to work in, from the home folder. Its .venv has the program, or else PATH.",
    ),
]

#: Where workers are started with each of these options, in words.
PLACES = {
    "slurm": "jobs of Slurm",
    "kubernetes": "pods of Kubernetes",
    "hosts": "other hosts",
    "ray": "a Ray cluster",
}
#: The places that an option is for; one that is not here is for every place.
_FOR: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("gpus", "cpus"), ("hosts",)),
    "logs": ("slurm", "hosts"),
    "db": ("slurm", "hosts", "ray"),
    "path": ("hosts",),
    "until_eof": (),
    **dict.fromkeys(("workers", "gpus_per_worker", "cpus_per_worker", "mem"), ("slurm", "kubernetes", "ray")),
    **dict.fromkeys(("max_workers", "runtime_env"), ("ray",)),
    **dict.fromkeys(("time", "partition", "account", "qos", "extra"), ("slurm",)),
    **dict.fromkeys(("image", "name", "namespace", "secret", "claim"), ("kubernetes",)),
}
#: Options that mean something on this machine too.
_HERE = ("gpus", "cpus", "logs", "db", "until_eof")


def check_place(context: typer.Context) -> str | None:
    """Return where workers are to be started, None for here.

    Raises typer.BadParameter for two places, and for an option that would have no effect there.
    """
    given = [str(name) for name in context.params if _given(context, str(name))]
    chosen = [place for place in PLACES if context.params[place]]
    if len(chosen) > 1:
        raise typer.BadParameter(f"give {_options(chosen)}, not both")
    place = chosen[0] if chosen else None
    for name in given:
        _check_option(name, place)
    if "max_workers" in given and context.params["workers"] != "auto":
        raise typer.BadParameter("--max-workers is for --workers auto; leave it out, or give that")
    return place


def parse_workers(text: str, place: str | None) -> int | None:
    """Return the number of workers; None for auto, which is for Ray. Raises typer.BadParameter for anything else."""
    if text == "auto" and place == "ray":
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(_MOST_JOBS)) and 1 <= int(text) <= _MOST_JOBS):
        auto = " or auto" if place in ("ray", None) else ""
        raise typer.BadParameter(f"{text!r} is not a number from 1 to {_MOST_JOBS}{auto}", param_hint="--workers")
    return int(text)


def _check_option(name: str, place: str | None) -> None:
    places = _FOR.get(name)
    if places is None or place in places or (place is None and name in _HERE):
        return
    option = _options([name])
    if place is None:
        words = " or ".join(PLACES[each] for each in places)
        raise typer.BadParameter(f"{option} is for {words}; add {_options(places)} too")
    if name in ("gpus", "cpus"):
        raise typer.BadParameter(f"with --{place}, give --gpus-per-worker and --cpus-per-worker")
    raise typer.BadParameter(f"{option} is not for {PLACES[place]}; leave it out")


def _options(names: Sequence[str]) -> str:
    return " or ".join("--" + name.replace("_", "-") for name in names)


def _given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
