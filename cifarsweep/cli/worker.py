"""`worker`: train trials until none is left."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Annotated

import typer

from cifarsweep.cli.options import (
    DEFAULT_DATABASE,
    Artifacts,
    Code,
    Cpu,
    Database,
    Gpu,
    KeepCheckpoints,
    NoGraphs,
    NoReuse,
    Notify,
    OtherData,
    Programs,
    Studies,
    Wait,
    WhileQueued,
    artifacts_folder,
    check_graphs,
    check_seconds,
    check_waiting,
    console,
    device,
    end,
)

logger = logging.getLogger(__name__)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cifarsweep.store import Store
    from cifarsweep.worker.eligibility import EligibleStudies


#: Digits of a number of slots.
_LONGEST = 4

SaveEvery = Annotated[
    float,
    typer.Option(
        metavar="S",
        callback=check_seconds,
        envvar="CIFARSWEEP_SAVE_EVERY",
        help="Seconds between two checkpoints.",
    ),
]
Slots = Annotated[
    str, typer.Option(metavar="K|auto", help="Trials at once, a process each; auto tries what is fastest.")
]
UntilEof = Annotated[
    bool, typer.Option("--until-eof", help="Stop in good order when standard input ends, for launchers and ssh.")
]


def worker(
    gpu: Gpu = None,
    cpu: Cpu = False,
    slots: Slots = "1",
    study: Studies = None,
    code: Code = None,
    program: Programs = None,
    db: Database = DEFAULT_DATABASE,
    wait: Wait = False,
    while_queued: WhileQueued = False,
    max_trials: Annotated[int | None, typer.Option(metavar="N", min=1, help="Take at most N trials.")] = None,
    save_every: SaveEvery = 60.0,
    artifacts: Artifacts = None,
    other_data: OtherData = False,
    no_graphs: NoGraphs = False,
    no_reuse: NoReuse = False,
    keep_checkpoints: KeepCheckpoints = "branches",
    notify: Notify = None,
    until_eof: UntilEof = False,
) -> None:
    """Train trials until none is left. Without --gpu or --cpu: the first GPU, or the processor if there is none.

    Ctrl-C writes checkpoints and gives the trials back; twice stops at once.
    """
    from cifarsweep.checkpoints.location import check_location, parse_location
    from cifarsweep.store import Store
    from cifarsweep.worker.context import WorkerConfig
    from cifarsweep.worker.display import display_for
    from cifarsweep.worker.launch.local import stop_at_end_of_input
    from cifarsweep.worker.notify_targets import parse_targets
    from cifarsweep.worker.supervisor import Supervisor

    check_waiting(wait, while_queued)
    check_graphs(no_graphs, cpu)
    check_program_options(program, code=bool(code), no_graphs=no_graphs, slots=(number := parse_slots(slots)))
    sources, programs = _own(code, program)
    command = child(where := device(gpu, cpu), sources, programs, graphs=not no_graphs)
    if until_eof:
        stop_at_end_of_input()
    location = parse_location(artifacts) if artifacts else str(artifacts_folder(db))
    # `launch` has checked the database, and starts the worker again while it is away.
    with Store.open(db, known=until_eof) as store:
        check_location(location)
        eligible = _eligible(store, sources, programs, where, other_data=other_data)
        config = WorkerConfig(
            command=command,
            runs_programs=bool(programs),
            artifacts=location,
            slots=number or _fastest(store, command, cpu, eligible(study or ())),
            studies=tuple(study or ()),
            wait=wait,
            while_queued=while_queued,
            max_trials=max_trials,
            reuse=not (no_reuse or programs),
            keep_checkpoints=keep_checkpoints,
            save_every_s=save_every,
            notify=parse_targets(notify),
        )
        exit_code = Supervisor(store, config, display_for(console()), eligible).run()
    end(exit_code)


def _own(code: list[str] | None, program: list[str] | None) -> tuple[list[str], list[Path]]:
    """The folders and packages of users' code, and the files of their programs. Raises SpecError."""
    from cifarsweep.worker.code_here import parse_sources
    from cifarsweep.worker.programs_here import parse_programs

    return list(parse_sources(code or ())), list(parse_programs(program or ()))


def child(where: str, sources: Sequence[str], programs: Sequence[Path], *, graphs: bool = True) -> list[str]:
    """The command of a child: for the programs of these files, or else for trainings in our own loop."""
    from cifarsweep.worker.child.process import child_command, program_child
    from cifarsweep.worker.programs_here import gpus_of

    gpus_of(programs)
    return program_child(programs, where) if programs else child_command(where, graphs=graphs, code=sources)


def _eligible(
    store: Store, sources: Sequence[str], programs: Sequence[Path], where: str, *, other_data: bool
) -> EligibleStudies:
    from cifarsweep.data.catalog import VerifiedData
    from cifarsweep.worker.code_here import CodeHere
    from cifarsweep.worker.eligibility import EligibleStudies
    from cifarsweep.worker.programs_here import ProgramsHere

    code, here = CodeHere(sources), ProgramsHere(programs)
    # With `auto` a child will say what it found.
    gpus = None if where in ("cpu", "auto") else where.count(",") + 1
    return EligibleStudies(store, VerifiedData(), other_data=other_data, code=code, programs=here, gpus=gpus)


def check_program_options(
    programs: list[str] | None, *, code: bool, no_graphs: bool = False, slots: int | None = 1, gpus: bool = False
) -> None:
    """Raise typer.BadParameter for an option that says nothing to a program; `slots` is None for `auto`."""
    options = ("--code", code), ("--no-graphs", no_graphs), ("--slots auto", slots is None), ("--gpus-per-trial", gpus)
    for option, given in options:
        if programs and given:
            raise typer.BadParameter(f"{option} is for trainings in our own loop; leave it out with --program")


def parse_slots(slots: str) -> int | None:
    """The number of slots; None for `auto`. Raises typer.BadParameter for anything else."""
    if slots == "auto":
        return None
    if not slots.isascii() or not slots.isdigit() or len(slots) > _LONGEST or not 1 <= int(slots) <= 64:
        raise typer.BadParameter(f"{slots!r} is neither auto nor a number from 1 to 64", param_hint="--slots")
    return int(slots)


def _fastest(store: Store, command: list[str], cpu: bool, studies: list[str]) -> int:
    """The fastest number of slots for a cell of the first study; 1 if there is nothing to train yet.

    It is the first one of those whose trials take most devices.
    """
    from cifarsweep.worker.code_here import files_of
    from cifarsweep.worker.slot_tuning import find_slots, processor_slots

    if not studies:
        return 1
    spec = store.studies.get(studies[0]).spec
    known = [cell.own_settings for cell in spec.cells if cell.own_settings is not None]
    if not known:  # imported: nothing of it is trained here
        return 1
    settings = max(known, key=lambda its: its.devices)
    slots = processor_slots(settings) if cpu else find_slots(command, settings, files_of(spec))
    logger.info(f"slots: {slots}, chosen for {studies[0]!r}")
    return slots
