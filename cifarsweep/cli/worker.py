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
    OtherData,
    Studies,
    Wait,
    artifacts_folder,
    check_graphs,
    check_seconds,
    console,
    device,
    discard_output,
)

logger = logging.getLogger(__name__)

if TYPE_CHECKING:
    from cifarsweep.store import Store


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
    db: Database = DEFAULT_DATABASE,
    wait: Wait = False,
    max_trials: Annotated[int | None, typer.Option(metavar="N", min=1, help="Take at most N trials.")] = None,
    save_every: SaveEvery = 60.0,
    artifacts: Artifacts = None,
    other_data: OtherData = False,
    no_graphs: NoGraphs = False,
    no_reuse: NoReuse = False,
    keep_checkpoints: KeepCheckpoints = "branches",
    until_eof: UntilEof = False,
) -> None:
    """Train trials until none is left. Without --gpu or --cpu: the first GPU, or the processor if there is none.

    Ctrl-C writes checkpoints and gives the trials back; twice stops at once.
    """
    from cifarsweep.checkpoints.location import check_location, parse_location
    from cifarsweep.data.catalog import VerifiedData
    from cifarsweep.store import Store
    from cifarsweep.worker.child.process import child_command
    from cifarsweep.worker.code_here import CodeHere, parse_sources
    from cifarsweep.worker.context import WorkerConfig
    from cifarsweep.worker.display import display_for
    from cifarsweep.worker.eligibility import EligibleStudies
    from cifarsweep.worker.launch.local import stop_at_end_of_input
    from cifarsweep.worker.supervisor import Supervisor

    check_graphs(no_graphs, cpu)
    sources = parse_sources(code or ())
    command = child_command(device(gpu, cpu), graphs=not no_graphs, code=sources)
    number = parse_slots(slots)
    if until_eof:
        stop_at_end_of_input()
    location = parse_location(artifacts) if artifacts else str(artifacts_folder(db))
    display = display_for(console())
    # `launch` has checked the database, and starts the worker again while it is away.
    with Store.open(db, known=until_eof) as store:
        check_location(location)
        eligible = EligibleStudies(store, VerifiedData(), other_data=other_data, code=CodeHere(sources))
        config = WorkerConfig(
            command=command,
            artifacts=location,
            slots=number or _fastest(store, command, cpu, eligible(study or ())),
            studies=tuple(study or ()),
            wait=wait,
            max_trials=max_trials,
            reuse=not no_reuse,
            keep_checkpoints=keep_checkpoints,
            save_every_s=save_every,
        )
        exit_code = Supervisor(store, config, display, eligible).run()
    # The exit code tells of the work, even if a full disk took the last lines.
    discard_output()
    raise typer.Exit(exit_code)


def parse_slots(slots: str) -> int | None:
    """The number of slots; None for `auto`. Raises typer.BadParameter for anything else."""
    if slots == "auto":
        return None
    if not slots.isascii() or not slots.isdigit() or len(slots) > _LONGEST or not 1 <= int(slots) <= 64:
        raise typer.BadParameter(f"{slots!r} is neither auto nor a number from 1 to 64", param_hint="--slots")
    return int(slots)


def _fastest(store: Store, command: list[str], cpu: bool, studies: list[str]) -> int:
    """The fastest number of slots for the first cell of the first study; 1 if there is nothing to train yet."""
    from cifarsweep.worker.code_here import files_of
    from cifarsweep.worker.slot_tuning import find_slots, processor_slots

    if not studies:
        return 1
    spec = store.studies.get(studies[0]).spec
    settings = spec.cells[0].own_settings
    if settings is None:  # imported: nothing of it is trained here
        return 1
    slots = processor_slots(settings.threads) if cpu else find_slots(command, settings, files_of(spec))
    logger.info(f"slots: {slots}, chosen for {studies[0]!r}")
    return slots
