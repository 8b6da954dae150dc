"""`launch`: workers on all GPUs of this machine, or on a Slurm cluster."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import typer

from cifarsweep.cli.launch_options import (
    Account,
    Cpus,
    CpusPerWorker,
    Extra,
    Gpus,
    GpusPerWorker,
    Logs,
    Mem,
    Partition,
    Qos,
    SaveEvery,
    Slots,
    Slurm,
    Time,
    Workers,
)
from cifarsweep.cli.options import (
    DEFAULT_DATABASE,
    Artifacts,
    Code,
    Database,
    KeepCheckpoints,
    NoGraphs,
    NoReuse,
    OtherData,
    Programs,
    Studies,
    Wait,
    check_graphs,
    console,
    discard_output,
    key_values,
)
from cifarsweep.cli.worker import check_program_options, parse_slots
from cifarsweep.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from cifarsweep.worker.launch.local import WorkerCommand


#: Parameters of Slurm alone.
_SLURM = ("workers", "gpus_per_worker", "cpus_per_worker", "mem", "time", "partition", "account", "qos", "extra")
_LONGEST_NUMBER = 4


def launch(
    context: typer.Context,
    gpus: Gpus = None,
    cpus: Cpus = None,
    slots: Slots = "1",
    study: Studies = None,
    code: Code = None,
    program: Programs = None,
    db: Database = DEFAULT_DATABASE,
    wait: Wait = False,
    save_every: SaveEvery = None,
    artifacts: Artifacts = None,
    other_data: OtherData = False,
    no_graphs: NoGraphs = False,
    no_reuse: NoReuse = False,
    keep_checkpoints: KeepCheckpoints = "branches",
    logs: Logs = Path("logs"),
    slurm: Slurm = False,
    workers: Workers = 1,
    gpus_per_worker: GpusPerWorker = 1,
    cpus_per_worker: CpusPerWorker = None,
    mem: Mem = None,
    time: Time = None,
    partition: Partition = None,
    account: Account = None,
    qos: Qos = None,
    extra: Extra = None,
) -> None:
    """Start workers on all GPUs here, or on Slurm.

    A worker that crashes is started again, unless it has nothing left to do or its machine is bad. Ctrl-C writes
    checkpoints and gives the trials back; twice stops at once.
    """
    _check(gpus, cpus, slurm, [name for name in _SLURM if _given(context, name)])
    check_graphs(no_graphs, bool(cpus) or (slurm and not gpus_per_worker))
    arguments = _arguments(slots, study or [], wait, save_every, artifacts, other_data, no_graphs, no_reuse)
    arguments += [] if keep_checkpoints == "branches" else [f"--keep-checkpoints={keep_checkpoints}"]
    check_program_options(program, code=bool(code), no_graphs=no_graphs, slots=parse_slots(slots))
    arguments, each = _with_own(arguments, code, program)
    members = _job_members(gpus_per_worker, arguments, each) if slurm else _local_members(gpus, cpus, arguments, each)
    named = {"mem": mem, "time": time, "partition": partition, "account": account, "qos": qos}
    options = _sbatch_options(gpus_per_worker, cpus_per_worker, named, extra or [])
    _check_work(slots, artifacts, db, study or [])
    # Not among the arguments, where every user of the machine could read a password in it.
    os.environ["CIFARSWEEP_DB"] = db
    _submit(members, workers, options, logs) if slurm else _run(members, logs)


def _given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _check(gpus: str | None, cpus: int | None, slurm: bool, for_slurm: list[str]) -> None:
    """Refuse options that would have no effect."""
    if slurm and (gpus is not None or cpus is not None):
        raise typer.BadParameter("with --slurm, give --gpus-per-worker and --cpus-per-worker")
    if for_slurm and not slurm:
        raise typer.BadParameter(f"--{for_slurm[0].replace('_', '-')} is for jobs of Slurm; add --slurm too")
    if gpus is not None and cpus is not None:
        raise typer.BadParameter("give --gpus or --cpus, not both")
    if gpus is not None and gpus != "all":
        _check_numbers(gpus)


def _sbatch_options(gpus: int, cpus: int | None, named: Mapping[str, str | None], extra: list[str]) -> dict[str, str]:
    from cifarsweep.worker.launch.slurm import check_extra

    given = {"gpus-per-node": gpus or None, "cpus-per-task": cpus, **named}
    others = key_values((text.lstrip("-") for text in extra), "--extra", "KEY=VALUE, as in constraint=a100")
    check_extra(others)
    return {key: str(value) for key, value in given.items() if value is not None} | others


def _check_numbers(gpus: str) -> None:
    for part in gpus.split(","):
        number = part.strip()
        if not (number.isascii() and number.isdigit() and len(number) <= _LONGEST_NUMBER):
            raise typer.BadParameter(f"{number!r} is not the number of a GPU; write all, or 0,1", param_hint="--gpus")


def _check_work(slots: str, artifacts: str | None, db: str, studies: list[str]) -> None:
    """Refuse here what every worker would refuse later, such as jobs that start tomorrow."""
    from cifarsweep.checkpoints.location import check_protocol, parse_location
    from cifarsweep.store import Store

    parse_slots(slots)
    if artifacts:
        check_protocol(parse_location(artifacts))
    with Store.open(db) as store:
        for name in studies:
            store.studies.get(name)


def _arguments(
    slots: str,
    studies: list[str],
    wait: bool,
    save_every: float | None,
    artifacts: str | None,
    other_data: bool,
    no_graphs: bool,
    no_reuse: bool,
) -> list[str]:
    """The arguments of every worker."""
    arguments = [f"--slots={slots}", *(f"--study={name}" for name in studies)]
    arguments += ["--wait"] if wait else []
    arguments += ["--other-data"] if other_data else []
    arguments += [] if save_every is None else [f"--save-every={save_every}"]
    arguments += [f"--artifacts={artifacts}"] if artifacts else []
    return arguments + (["--no-graphs"] if no_graphs else []) + (["--no-reuse"] if no_reuse else [])


def _with_own(arguments: list[str], code: list[str] | None, programs: list[str] | None) -> tuple[list[str], int]:
    """The arguments with those for code and programs of users, and the GPUs that a trial takes."""
    from cifarsweep.worker.code_here import parse_sources
    from cifarsweep.worker.programs_here import gpus_of, parse_programs

    files = parse_programs(programs or ())
    own = [f"--code={source}" for source in parse_sources(code or ())] + [f"--program={file}" for file in files]
    return arguments + own, gpus_of(files)


def _local_members(gpus: str | None, cpus: int | None, arguments: list[str], each: int) -> tuple[WorkerCommand, ...]:
    from cifarsweep.worker.gpus import parse_gpus

    if cpus:
        return _members((), cpus, arguments)
    return _members(parse_gpus("all" if gpus is None else gpus), 0, arguments, each)


def _job_members(gpus: int, arguments: list[str], each: int) -> tuple[WorkerCommand, ...]:
    return _members(range(gpus), 0 if gpus else 1, arguments, each)


def _members(gpus: Sequence[int], cpus: int, arguments: list[str], each: int = 1) -> tuple[WorkerCommand, ...]:
    """A worker for each so many GPUs, or on the processor."""
    from cifarsweep.worker.launch.local import WorkerCommand, worker_command

    if len(gpus) % each:
        raise typer.BadParameter(
            f"a trial of this program takes {each} GPUs, so that {len(gpus)} can't be shared out: name {each} "
            "or a multiple of it"
        )
    groups = [[str(number) for number in gpus[start : start + each]] for start in range(0, len(gpus), each)]
    devices = [(f"gpu{'-'.join(group)}", f"--gpu={','.join(group)}") for group in groups]
    devices += [(f"cpu{number}", "--cpu") for number in range(cpus)]
    return tuple(WorkerCommand(name, worker_command([device, *arguments])) for name, device in devices)


def _run(members: tuple[WorkerCommand, ...], logs: Path) -> NoReturn:
    from cifarsweep.worker.launch.local import WorkerGroup

    with _screen([member.name for member in members], logs) as say:
        code = WorkerGroup(members, logs, say).run()
    # The exit code tells of the workers, even if a full disk took their last lines.
    discard_output()
    raise typer.Exit(code)


@contextmanager
def _screen(names: list[str], logs: Path) -> Iterator[Callable[[str, str], None]]:
    """Show each worker's newest line on a terminal, and every line elsewhere."""
    screen = console()
    if not screen.is_terminal:
        yield lambda name, line: typer.echo(f"{name} | {line}")
        return
    from rich.live import Live
    from rich.table import Table

    newest = dict.fromkeys(names, "starts")

    def table() -> Table:
        grid = Table.grid(padding=(0, 2))
        for name, line in newest.items():
            grid.add_row(name, one_line(line)[: screen.width - 10])
        return grid

    typer.echo(f"{len(names)} workers; their full output is in {logs}")
    with Live(table(), console=screen, auto_refresh=False) as live:

        def say(name: str, line: str) -> None:
            newest[name] = line
            live.update(table(), refresh=True)

        yield say


def _submit(members: tuple[WorkerCommand, ...], workers: int, options: dict[str, str], logs: Path) -> None:
    from cifarsweep.worker.launch.slurm import Job, submit

    logs = logs.resolve()
    job = submit(Job(members, logs), workers, options)
    typer.echo(f"job {job}: {workers} workers, queued again at their time limit until nothing is left")
    typer.echo(f"  logs:   {logs}")
    typer.echo(f"  watch:  squeue --job={job}; cifarsweep status --watch")
    typer.echo(f"  cancel: scancel {job}")
