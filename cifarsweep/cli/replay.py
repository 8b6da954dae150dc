"""`replay`: train a finished trial again and compare."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from cifarsweep.cli import completion
from cifarsweep.cli.options import DEFAULT_DATABASE, Code, Cpu, Database, Gpu, Programs, console, device
from cifarsweep.cli.show import parse_trial
from cifarsweep.cli.worker import check_program_options, child
from cifarsweep.files import scratch
from cifarsweep.spec.provenance import changes_text
from cifarsweep.text import one_line

if TYPE_CHECKING:
    from cifarsweep.store.trial_records import TrialRow
    from cifarsweep.training.events import Progress
    from cifarsweep.worker.replay import ReplayResult

#: Lines of progress in all.
_TENTHS = 10


def replay(
    trial: Annotated[
        str,
        typer.Argument(
            metavar="STUDY/TRIAL", help="A trial that is done, for example demo/3.", autocompletion=completion.trials
        ),
    ],
    gpu: Gpu = None,
    cpu: Cpu = False,
    code: Code = None,
    program: Programs = None,
    db: Database = DEFAULT_DATABASE,
) -> None:
    """Train a finished trial again and compare, bit for bit. Nothing is written to the database.

    Exit code 0: weights and metrics are the same. 1: they are not.
    """
    from cifarsweep.data.catalog import verify
    from cifarsweep.store import Store
    from cifarsweep.worker.code_here import CodeHere, files_of, parse_sources
    from cifarsweep.worker.programs_here import ProgramsHere, parse_programs
    from cifarsweep.worker.replay import compare, read_original, repeat

    check_program_options(program, code=bool(code))
    sources, programs = parse_sources(code or ()), parse_programs(program or ())
    command = child(device(gpu, cpu), sources, programs)
    study, number = parse_trial(trial)
    with Store.open(db, read_only=True) as store:
        original = read_original(store, study, number)
        stored = store.studies.get(study)
    ProgramsHere(programs).check(stored)
    CodeHere(sources).check(stored)
    row, runs = original.trial, stored.spec.program
    data = {} if runs else {row.settings.dataset: verify(row.settings.dataset).sha256}
    typer.echo(f"training {trial} again: {row.cell}, seed {row.seed}, {row.step:,} steps")
    if row.reuse:
        typer.echo(f"  {row.reused_text}; now all of its steps are trained")
    with scratch() as folder:
        again = repeat(
            original, command, folder, _tenths(row.step), data, files_of(stored.spec), runs.sha256 if runs else None
        )
    verdict = compare(original, again)
    _print(trial, verdict, row)
    raise typer.Exit(0 if verdict.reproduced else 1)


def _tenths(steps: int) -> Callable[[Progress], None]:
    """Print the progress at each tenth."""
    said = 0

    def progress(now: Progress) -> None:
        nonlocal said
        tenth = _TENTHS * now.step // max(steps, 1)
        if tenth > said:
            said = tenth
            speed = f", {now.images_per_s:,.0f} images/s" if now.images_per_s else ""
            typer.echo(f"  step {now.step:,} of {steps:,}{speed}", err=True)

    return progress


def _print(trial: str, verdict: ReplayResult, row: TrialRow) -> None:
    own = row.own_settings is not None
    if verdict.reproduced:
        what = f"The weights and all {verdict.rows:,}" if own else f"All {verdict.rows:,}"
        typer.echo(f"{trial}: reproduced. {what} metric rows are the same, bit for bit.")
    else:
        weights = f" The weights are {'the same' if verdict.weights else 'others'}." if own else ""
        typer.echo(f"{trial}: not reproduced.{weights}")
        _print_deviations(verdict)
        if not own:
            typer.echo("The same bits are not promised for a program of one's own: what it does is up to it.")
        elif row.settings.determinism == "fast":
            typer.echo("It ran with determinism = fast, which does not promise the same bits.")
    if row.changed:
        was = f"It was continued with something else than before: {changes_text(row.changed)}"
        typer.echo(f"{was}. For such a trial the same bits are not promised.")
    for line in verdict.environment_differences:
        typer.echo(f"differs: {line}")
    if not (verdict.reproduced or verdict.environment_differences):
        typer.echo("Device and versions are the same as then.")


def _print_deviations(verdict: ReplayResult) -> None:
    from rich.table import Table

    table = Table("metric", "rows that differ", "largest difference")
    for each in verdict.deviations:
        table.add_row(one_line(each.metric), f"{each.rows:,} of {each.of:,}", f"{each.largest:.3g}")
    if table.row_count:
        console().print(table)
