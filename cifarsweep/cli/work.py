"""`worker`: put the store, the children and the display together and let them work."""

from __future__ import annotations

from typing import Annotated

import typer

from cifarsweep.cli.options import DEFAULT_DATABASE, Database, artifacts_folder, console


def worker(
    gpu: Annotated[int | None, typer.Option(metavar="N", min=0, help="Train on GPU N.")] = None,
    cpu: Annotated[bool, typer.Option("--cpu", help="Train on the processor.")] = False,
    slots: Annotated[int, typer.Option(metavar="K", min=1, max=64, help="Trials at once, a process each.")] = 1,
    study: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only this study; repeat for more.")] = None,
    db: Database = DEFAULT_DATABASE,
    wait: Annotated[bool, typer.Option("--wait", help="Stay when nothing is left, for studies to come.")] = False,
    max_trials: Annotated[int | None, typer.Option(metavar="N", min=1, help="Take at most N trials.")] = None,
) -> None:
    """Train trials until none is left. Without --gpu or --cpu: the first GPU, else the processor.

    Ctrl-C writes checkpoints and gives the trials back; twice stops at once.
    """
    from cifarsweep.data.catalog import require
    from cifarsweep.store import Store
    from cifarsweep.worker.display import display_for
    from cifarsweep.worker.process import child_command
    from cifarsweep.worker.supervisor import Plan, Supervisor
    from cifarsweep.worker.trainable import Trainable

    if cpu and gpu is not None:
        raise typer.BadParameter("give --gpu or --cpu, not both")
    device = "cpu" if cpu else "auto" if gpu is None else str(gpu)
    plan = Plan(
        command=child_command(device),
        artifacts=artifacts_folder(db),
        slots=slots,
        studies=tuple(study or ()),
        wait=wait,
        max_trials=max_trials,
    )
    display = display_for(console())
    with Store.open(db) as store:
        code = Supervisor(store, plan, display, Trainable(store, display.note, require)).run()
    raise typer.Exit(code)
