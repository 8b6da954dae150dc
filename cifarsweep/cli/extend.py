"""`extend`: more seeds, for all cells or where a hypothesis is undecided."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from cifarsweep.cli import completion
from cifarsweep.cli.create import report_requeued
from cifarsweep.cli.new_trials import NoReuse, few_seeds_notes, planner_for, workload_text
from cifarsweep.cli.options import DEFAULT_DATABASE, Database

if TYPE_CHECKING:
    from cifarsweep.analysis.extension import Extension
    from cifarsweep.spec.study import Study
    from cifarsweep.stats.multiplicity import Plans
    from cifarsweep.store import Store


def extend(
    study: Annotated[
        str, typer.Argument(metavar="STUDY", help="A study of the database.", autocompletion=completion.studies)
    ],
    db: Database = DEFAULT_DATABASE,
    until_decided: Annotated[
        bool, typer.Option("--until-decided", help="Look, and add seeds if a hypothesis is undecided.")
    ] = False,
    max_seeds: Annotated[
        int | None, typer.Option(metavar="N", min=3, max=1000, help="With --until-decided: at most N seeds a cell.")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=1000, help="Let every cell have N seeds.")
    ] = None,
    look: Annotated[bool, typer.Option("--look", help="Only say what would be added.")] = False,
    no_reuse: NoReuse = False,
) -> None:
    """Add seeds to a study. Every further look at its results lowers the level at which it is decided.

    With --until-decided, run it before the first trials are done, which plans the looks, and again whenever they are
    done, until it says that there is nothing to add.
    """
    from cifarsweep.store import Store

    if (seeds is None) != until_decided:
        raise typer.BadParameter("give --seeds N for every cell, or --until-decided")
    if max_seeds is not None and not until_decided:
        raise typer.BadParameter("--max-seeds goes with --until-decided")
    with Store.open(db, read_only=look) as store:
        if seeds is not None:
            _all_cells(store, study, seeds, look, no_reuse)
        else:
            _until_decided(store, study, max_seeds, look, no_reuse)


def _all_cells(store: Store, name: str, seeds: int, look: bool, no_reuse: bool) -> None:
    from cifarsweep.analysis.samples import seed_order
    from cifarsweep.formatting import plural
    from cifarsweep.spec.study import check_trial_count
    from cifarsweep.worker.known_here import KnownHere

    spec = store.studies.get(name).spec
    check_trial_count(spec.planned // len(spec.seeds) * seeds, f"{name}: --seeds {seeds}")
    plans = store.studies.plans(name, seeds)
    more = spec.model_copy(update={"seeds": seed_order(spec, seeds)})
    if look or more.seeds == spec.seeds:
        new = len(more.seeds) - len(spec.seeds)
        typer.echo(f"{name}: has {len(spec.seeds)} seeds a cell, {new} would be added")
        return
    _say_unplanned(spec, plans)
    here = KnownHere()
    created = store.studies.create(more, extend=True, planner=planner_for(here, no_reuse))
    typer.echo(f"{name}: {plural(created.added, 'trial')} added")
    report_requeued(name, created)
    for line in workload_text(store, here, created):
        typer.echo(line)
    for note in few_seeds_notes(store, more):
        typer.echo(f"note: {note}")


def _say_unplanned(study: Study, plans: Plans) -> None:
    from cifarsweep.report.notes import error_rate_warning

    if warning := error_rate_warning(study, plans):
        typer.echo(f"{study.name}: {warning}")


def _until_decided(store: Store, name: str, max_seeds: int | None, look: bool, no_reuse: bool) -> None:
    from cifarsweep.analysis.collect import collect
    from cifarsweep.analysis.extension import next_seeds
    from cifarsweep.formatting import labels_of
    from cifarsweep.spec.study import check_trial_count
    from cifarsweep.worker.known_here import KnownHere

    report = collect(store, name)
    if not report.study.hypotheses:
        raise typer.BadParameter(f"{name} has no hypotheses to decide; give --seeds N instead")
    most = max_seeds or max(report.looks, default=0)
    if not most:
        raise typer.BadParameter("give --max-seeds N: how many seeds a cell may have, before the first look")
    check_trial_count(len(report.study.cells) * most, f"{name}: --max-seeds {most}")
    extension = next_seeds(report, most)
    # A plan that is made while trials are open is kept too: only that makes it a plan.
    is_plan = bool(extension.added or (extension.unfinished and not extension.unplanned))
    planned = is_plan and extension.plans != report.plans
    if extension.added:
        _say_unplanned(report.study, extension.plans)
    work: list[str] = []
    if (planned or extension.added) and not look:
        here = KnownHere()
        created = store.studies.add_seeds(name, extension.added, extension.plans, planner_for(here, no_reuse))
        work = [*workload_text(store, here, created), *(f"note: {one}" for one in few_seeds_notes(store, report.study))]
    with labels_of(report.study):
        lines = [*_lines(name, extension, most, look, planned), *work]
    for line in lines:
        typer.echo(line)


def _lines(name: str, extension: Extension, most: int, look: bool, planned: bool) -> list[str]:
    """The look and what it added, in lines. Results are not told before all trials of the look are finished."""
    from cifarsweep.formatting import plural
    from cifarsweep.report.notes import plan_text
    from cifarsweep.report.verdict_text import sentence_and_warning

    plan = f"{name}: looks at {plan_text(extension.plans)}"
    if extension.unfinished:
        waiting = f"{name}: {plural(extension.unfinished, 'trial')} not finished; look again when all are"
        return [plan, waiting] if planned else [waiting]
    lines = [f"- {sentence_and_warning(verdict)}" for verdict in extension.verdicts]
    lines.append(plan)
    would = "would be added" if look else "added"
    counts = Counter(cell for cell, _ in extension.added)
    lines += [f"{plural(count, 'seed')} {would}: {cell}" for cell, count in counts.items()]
    if extension.added:
        trials = plural(len(extension.added), "trial")
        lines.append(f"{name}: {trials} {would}, of up to {most} seeds a cell; a worker can take them")
    elif extension.stuck:
        lines.append(f"{name}: {len(extension.stuck)} stay undecided; within {most} seeds no look is left that helps")
    else:
        lines.append(f"{name}: every hypothesis is decided")
    return lines
