"""Options of `launch` alone, and which of them are for workers elsewhere than on this machine."""

from __future__ import annotations

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
Slots = Annotated[str, typer.Option(metavar="K|auto", help="Trials at once in each worker.")]
SaveEvery = Annotated[
    float | None, typer.Option(metavar="S", callback=check_seconds, help="Seconds between two checkpoints.")
]
Logs = Annotated[Path, typer.Option(metavar="DIR", help="Where the workers' output goes.")]
Slurm = Annotated[bool, typer.Option("--slurm", help="Submit a job array of workers to Slurm.")]
Workers = Annotated[int, typer.Option(metavar="N", min=1, max=_MOST_JOBS, help="Slurm: jobs of the array.")]
GpusPerWorker = Annotated[
    int, typer.Option(metavar="N", min=0, max=64, help="Slurm: GPUs of a job; with 0 it trains on the processor.")
]
CpusPerWorker = Annotated[int | None, typer.Option(metavar="N", min=1, max=4096, help="Slurm: processors of a job.")]
Mem = Annotated[str | None, typer.Option(metavar="SIZE", help="Slurm: memory of a job, for example 32G.")]
Time = Annotated[str | None, typer.Option(metavar="LIMIT", help="Slurm: limit of a job, [days-]hours:minutes:seconds.")]
Partition = Annotated[str | None, typer.Option(metavar="NAME", help="Slurm: the partition.")]
Account = Annotated[str | None, typer.Option(metavar="NAME", help="Slurm: the account to charge.")]
Qos = Annotated[str | None, typer.Option(metavar="NAME", help="Slurm: quality of service.")]
Extra = Annotated[
    list[str] | None, typer.Option(metavar="KEY=VALUE", help="Slurm: any other option of sbatch; repeat for more.")
]
