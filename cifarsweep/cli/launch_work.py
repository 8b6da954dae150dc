"""What workers of a launch are to do, and their commands."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import typer

from cifarsweep.cli.options import check_graphs, check_waiting
from cifarsweep.cli.worker import check_program_options, parse_slots

if TYPE_CHECKING:
    from cifarsweep.worker.launch.local import WorkerCommand

_LONGEST_NUMBER = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What every worker gets, wherever it runs. The fields are parameters of `launch`, and options of `worker`.

    `gpus_per_trial` is no option of a worker, whose `--gpu` names so many.
    """

    slots: str = "1"
    gpus_per_trial: int | None = None
    study: Sequence[str] = ()
    code: Sequence[str] = ()
    program: Sequence[str] = ()
    artifacts: str | None = None
    wait: bool = False
    while_queued: bool = False
    save_every: float | None = None
    other_data: bool = False
    no_graphs: bool = False
    no_reuse: bool = False
    keep_checkpoints: str = "branches"

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Work:
        """Return those of all parameters that are for every worker."""
        return cls(
            **{field.name: parameters[field.name] for field in fields(cls) if parameters[field.name] is not None}
        )

    def check_options(self, *, on_processor: bool) -> None:
        """Raise typer.BadParameter for options that no worker takes together."""
        check_waiting(self.wait, self.while_queued)
        check_graphs(self.no_graphs, on_processor)
        if self.gpus_per_trial is not None and on_processor:
            raise typer.BadParameter(
                "--gpus-per-trial is for GPUs: on a processor a worker trains any trial; leave it out"
            )
        check_program_options(
            list(self.program),
            code=bool(self.code),
            no_graphs=self.no_graphs,
            slots=parse_slots(self.slots),
            gpus=self.gpus_per_trial is not None,
        )

    def arguments(self) -> list[str]:
        """Return the arguments of every worker, but for what depends on the files of a machine."""
        arguments = [f"--slots={self.slots}", *(f"--study={name}" for name in self.study)]
        arguments += [] if self.save_every is None else [f"--save-every={self.save_every}"]
        flags = ("wait", "while_queued", "other_data", "no_graphs", "no_reuse")
        arguments += [f"--{name.replace('_', '-')}" for name in flags if getattr(self, name)]
        return arguments + (
            [] if self.keep_checkpoints == "branches" else [f"--keep-checkpoints={self.keep_checkpoints}"]
        )

    def arguments_here(self) -> tuple[list[str], int]:
        """Return the arguments of workers that see the files of this machine, and the GPUs that a trial takes."""
        from cifarsweep.worker.code_here import parse_sources
        from cifarsweep.worker.programs_here import gpus_of, parse_programs

        files = parse_programs(self.program)
        own = [f"--code={source}" for source in parse_sources(self.code)] + [f"--program={file}" for file in files]
        place = [f"--artifacts={self.artifacts}"] if self.artifacts else []
        return self.arguments() + place + own, self.gpus_per_trial or gpus_of(files)


def check_work(work: Work, db: str) -> None:
    """Refuse here what every worker would refuse later, such as jobs that start tomorrow."""
    from cifarsweep.checkpoints.location import check_protocol, parse_location
    from cifarsweep.store import Store

    if work.artifacts:
        check_protocol(parse_location(work.artifacts))
    with Store.open(db) as store:
        for name in work.study:
            store.studies.get(name)


def pass_on(db: str, notify: Sequence[str] | None) -> None:
    """Let the workers use the launcher's database, and tell those whom it was given. Raises SpecError for no target."""
    from cifarsweep.worker.notify_targets import VARIABLE, parse_targets

    # Not among the arguments, where every user of the machine could read a password in them.
    os.environ["CIFARSWEEP_DB"] = db
    parse_targets(notify)
    if notify:
        os.environ[VARIABLE] = "\n".join(notify)


def workers_here(work: Work, gpus: str | None, cpus: int | None) -> tuple[WorkerCommand, ...]:
    """Return a worker for each GPU of this machine that is wanted, or so many on the processor."""
    from cifarsweep.worker.gpus import parse_gpus

    arguments, each = work.arguments_here()
    if cpus:
        return _commands((), cpus, arguments)
    return _commands(parse_gpus("all" if gpus is None else gpus), 0, arguments, each)


def workers_of_job(work: Work, gpus: int) -> tuple[WorkerCommand, ...]:
    """Return a worker for each GPU of a job, or one on its processor."""
    arguments, each = work.arguments_here()
    return _commands(range(gpus), 0 if gpus else 1, arguments, each)


def _commands(gpus: Sequence[int], cpus: int, arguments: list[str], each: int = 1) -> tuple[WorkerCommand, ...]:
    """A worker for each so many GPUs, or on the processor."""
    from cifarsweep.worker.launch.local import WorkerCommand, worker_command

    check_groups(len(gpus), each)
    groups = [[str(number) for number in gpus[start : start + each]] for start in range(0, len(gpus), each)]
    devices = [(f"gpu{'-'.join(group)}", f"--gpu={','.join(group)}") for group in groups]
    devices += [(f"cpu{number}", "--cpu") for number in range(cpus)]
    return tuple(WorkerCommand(name, worker_command([device, *arguments])) for name, device in devices)


def check_groups(gpus: int, each: int) -> None:
    """Raise typer.BadParameter for GPUs that can't be shared out to trials that take so many each."""
    if gpus % each:
        raise typer.BadParameter(
            f"a trial takes {each} GPUs, so that {gpus} can't be shared out: name {each} or a multiple of it"
        )


def check_devices(gpus: str | None, cpus: int | None) -> None:
    """Raise typer.BadParameter for GPUs and processors at once, and for what is no number of a GPU."""
    if gpus is not None and cpus is not None:
        raise typer.BadParameter("give --gpus or --cpus, not both")
    for part in [] if gpus in (None, "all") else gpus.split(","):
        number = part.strip()
        if not (number.isascii() and number.isdigit() and len(number) <= _LONGEST_NUMBER):
            raise typer.BadParameter(f"{number!r} is not the number of a GPU; write all, or 0,1", param_hint="--gpus")
