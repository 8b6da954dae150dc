"""`create`: trials of a study in a database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from cifarsweep.cli import completion
from cifarsweep.cli.best_points import best_points_of
from cifarsweep.cli.db import report_upgrade
from cifarsweep.cli.new_trials import NoReuse, few_seeds_notes, planner_for, workload_text
from cifarsweep.cli.options import DEFAULT_DATABASE, Database, OtherData, console
from cifarsweep.cli.studies import shape_text

if TYPE_CHECKING:
    from cifarsweep.analysis.planning import LookChances, Spread
    from cifarsweep.spec.study import Study
    from cifarsweep.stats.multiplicity import Plans
    from cifarsweep.store.records import Created


def create(
    study: Annotated[
        str | None,
        typer.Argument(
            metavar="STUDY|FILE", help="A study that ships, or a .toml file.", autocompletion=completion.shipped
        ),
    ] = None,
    db: Database = DEFAULT_DATABASE,
    search: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="SEARCH",
            help="Take the best points of this search as arms.",
            autocompletion=completion.studies,
        ),
    ] = None,
    best: Annotated[int | None, typer.Option(metavar="N", min=1, help="With --from: how many points; 5.")] = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Use the seeds 0 to N-1 instead of the file's; with --from N others than its."
        ),
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting; repeat for more.")
    ] = None,
    name: Annotated[str | None, typer.Option("--as", metavar="NAME", help="Store it under another name.")] = None,
    extend: Annotated[bool, typer.Option("--extend", help="Add what is new to the stored study.")] = False,
    other_data: OtherData = False,
    toml: Annotated[
        bool, typer.Option("--toml", help="Print the study as a file with every setting, and create nothing.")
    ] = False,
    no_reuse: NoReuse = False,
) -> None:
    """Turn a study into trials in the database. Again is a no-op.

    Steps that trials have in common, with one another or with those of other studies, are trained once. With --from,
    the study has the best points of a search as arms, with seeds that the search did not use.
    """
    from cifarsweep.spec.writer import study_toml

    if (study is None) == (search is None):
        raise typer.BadParameter("give a study, a .toml file or --from SEARCH: one of them")
    if study is not None:
        if best is not None:
            raise typer.BadParameter("--best goes with --from SEARCH")
        spec, notes = _from_file(study, settings or [], seeds, name)
    else:
        if settings:
            raise typer.BadParameter("--set goes with a file: print one with --toml, change it, and create it")
        spec, notes = best_points_of(db, search or "", best, seeds, name, upgrade=not toml)
        _check_data(spec)
    if toml:
        typer.echo(study_toml(spec), nl=False)
    else:
        _create(db, spec, notes, extend=extend, other_data=other_data, no_reuse=no_reuse)


def _create(db: str, spec: Study, notes: list[str], *, extend: bool, other_data: bool, no_reuse: bool) -> None:
    from cifarsweep.analysis.planning import expected_spread, has_chances
    from cifarsweep.formatting import plural
    from cifarsweep.store import Store
    from cifarsweep.worker.known_here import KnownHere

    with Store.open(db, upgrade=True) as store:
        report_upgrade(store)
        here = KnownHere()
        planner = planner_for(here, no_reuse)
        created = store.studies.create(spec, extend=extend, other_data=other_data, planner=planner)
        work = workload_text(store, here, created)
        spread = expected_spread(spec, store) if created.added and has_chances(spec) else None
        plans = store.studies.plans(spec.name)
        notes = [*notes, *few_seeds_notes(store, spec)]
    if created.added:
        typer.echo(f"{spec.name}: {plural(created.added, 'trial')} added ({shape_text(spec)})")
        report_requeued(spec.name, created)
        for line in work:
            typer.echo(line)
    elif created.changed:
        typer.echo(f"{spec.name}: has the contents of the file now, and no new trials")
    else:
        typer.echo(f"{spec.name}: is there already, with the same contents and {spec.planned} trials")
    if spec.program is not None:
        files = f"{len(spec.program.files)} file{'s' * (len(spec.program.files) > 1)}"
        typer.echo(f"{spec.name}: program {spec.program.sha256} of {files}")
    if spread is not None:
        _print_chances(spec, spread, plans)
    for note in notes:
        typer.echo(f"note: {note}")
    for dataset in _absent(spec):
        typer.echo(f"note: {dataset} is not on this machine; a worker needs `cifarsweep data download {dataset}` first")


def _from_file(study: str, settings: list[str], seeds: int | None, name: str | None) -> tuple[Study, list[str]]:
    """Read and check the study of a file, and return it with notes."""
    from cifarsweep.report.notes import one_test_notes
    from cifarsweep.spec.overrides import parse_overrides
    from cifarsweep.spec.program_reader import has_program
    from cifarsweep.spec.reader import find, read_study
    from cifarsweep.worker.precheck import check_trainable, epoch_steps

    path = find(study)
    overrides = parse_overrides(settings, free=has_program(path))
    notes: list[str] = []
    spec = read_study(path, overrides=overrides, seeds=seeds, name=name, note=notes.append, epoch_steps=epoch_steps)
    _check_data(spec)  # before its images are looked at
    notes += [*check_trainable(spec, as_written=not overrides, code=path.parent), *one_test_notes(spec)]
    return spec, notes


def report_requeued(name: str, created: Created) -> None:
    """Tell the user that extending a cancelled study queued its points again."""
    if points := created.reopened:
        come = "1 point that it had not asked for comes" if points == 1 else f"{points} points not asked for come"
        typer.echo(f"{name}: was cancelled; {come} back with the new ones; `cifarsweep cancel {name}` ends them all")


def _print_chances(study: Study, spread: Spread, plans: Plans) -> None:
    """Print the chance to decide each hypothesis, alone or at a planned look, and what another seed costs."""
    from rich.table import Table

    from cifarsweep.analysis.planning import DISTANCES, chances, look_chances
    from cifarsweep.worker.precheck import images_to_train

    guess = "a guess, as networks on CIFAR-10 do" if study.program else "a guess for full training"
    where = "as its file says" if spread.stated else f"{guess}; state yours as expected_sd"
    if spread.studies:
        where = f"as in {', '.join(spread.studies)}"
    now, last = look_chances(study, spread.sd, plans)
    seeds = now.seeds if plans else len(study.seeds)
    table = Table("chance to decide, where the truth is so far from what is claimed", box=None, pad_edge=False)
    for distance in DISTANCES:
        table.add_column(f"{100 * distance:g} point{'s' * (distance != 0.01)}", justify="right")
    for one in now.chances if plans else chances(study, spread.sd):
        table.add_row(escape(one.claim), *(map(_chance_text, one.at) if one.at else ["-"] * len(DISTANCES)))
    counted = f"{seeds} seeds that vary" if seeds > 1 else "1 seed that varies"
    typer.echo(f"With {counted} by {100 * spread.sd:.2g} points (sd), {where}:")
    console().print(table)
    if last.ends and now.ends and last.seeds > now.seeds:
        typer.echo(_looks_text(now, last, planned=bool(plans)))
    images = images_to_train(study)
    cost = "" if images is None else f", {_images_text(images / len(study.seeds))} training images"
    typer.echo(f"Each further seed: {len(study.cells)} trials{cost}.")


def _images_text(images: float) -> str:
    """`1.3 million`, or fewer as they are."""
    return f"{images / 1e6:,.1f} million" if images >= 1e6 else f"{images:,.0f}"


def _looks_text(now: LookChances, last: LookChances, *, planned: bool) -> str:
    """Say in a sentence what one of several looks decides, and what the last one does."""
    lead = f"Looks planned up to {last.seeds} seeds (extend --until-decided --max-seeds {last.seeds}) share the 5 %"
    if planned:
        lead = "The looks that are planned share the 5 %"
    first, end = (f"at {look.seeds} seeds and {100 * look.level:.3g} %" for look in (now, last))
    return (
        f"{lead}: that {first} decides 1 point with {_ends_text(now)} chance, the last {end} with {_ends_text(last)}."
    )


def _ends_text(look: LookChances) -> str:
    low, high = (_chance_text(end) for end in look.ends or ())
    return low if low == high else f"{low.removesuffix(' %')} to {high}"


def _chance_text(chance: float) -> str:
    return "> 99 %" if chance > 0.99 else f"{chance:.0%}".replace("%", " %")


def _datasets(study: Study) -> list[str]:
    from cifarsweep.spec.study import datasets

    return sorted(datasets(study))


def _absent(study: Study) -> list[str]:
    """Return the data sets that workers may download and that are not here."""
    from cifarsweep.data.catalog import EMBEDDED, info, known

    return [name for name in _datasets(study) if known(name) and name != EMBEDDED and info(name) is None]


def _check_data(study: Study) -> None:
    """Refuse data sets that are not here and can't be downloaded; workers may still download the built-in ones."""
    from cifarsweep.data.catalog import known, require

    for dataset in _datasets(study):
        if not known(dataset):
            require(dataset)
