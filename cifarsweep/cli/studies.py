"""`studies`: those that ship, and their files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cifarsweep.cli import completion
from cifarsweep.cli.json_output import print_json
from cifarsweep.cli.options import Json, console

if TYPE_CHECKING:
    from cifarsweep.spec.study import Study


def studies(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="Print the file of this one.", autocompletion=completion.shipped),
    ] = None,
    copy: Annotated[
        Path | None, typer.Option("--copy", metavar="FILE", help="Write its file here, to change it and `create` it.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the studies that ship, or print the file of one.

    The list has name, question, trials and training images.
    """
    from cifarsweep.spec.reader import find, shipped

    if copy is not None and (name is None or as_json):
        raise typer.BadParameter("--copy takes the name of one study, and goes without --json")
    paths = shipped() if name is None else [find(name)]
    if as_json:
        found = [_fields(path) for path in paths]
        print_json("shipped-study", found if name is None else found[0])
    elif name is None:
        _print_list(paths)
    elif copy is None:
        typer.echo(paths[0].read_text(), nl=False)
    else:
        _copy(paths[0], copy)


def shape_text(study: Study) -> str:
    """Return `4 cells x 3 seeds`, or of a search `search for 20 points x 1 seed`."""
    cells, seeds = len(study.cells), len(study.seeds)
    if study.search:
        points = study.search.points
        return f"search for {points} point{'s' * (points > 1)} x {seeds} seed{'s' * (seeds > 1)}"
    return f"{cells} cell{'s' * (cells > 1)} x {seeds} seed{'s' * (seeds > 1)}"


def _print_list(paths: list[Path]) -> None:
    from rich.table import Table

    table = Table("name", "question", "trials", "images", title="Studies that ship with cifarsweep", show_lines=True)
    table.caption = "Images are training images, repetitions included, in millions; of a search, at most."
    table.columns[-1].justify = "right"
    for path in paths:
        study, images = _read(path)
        counted = "unknown" if images is None else f"{images / 1e6:,.1f} M"
        table.add_row(study.name, study.question, f"{shape_text(study)} = {study.planned}", counted)
    console().print(table)


def _fields(path: Path) -> dict[str, Any]:
    study, images = _read(path)
    return {
        "name": study.name,
        "question": study.question,
        "source": study.source,
        "cost": study.cost,
        "cells": [] if study.search else [cell.name for cell in study.cells],
        "seeds": list(study.seeds),
        "trials": study.planned,
        "images": images,
    }


def _read(path: Path) -> tuple[Study, int | None]:
    """Return a study and how many images its trials see in all; None if that is not known here."""
    from cifarsweep.spec.reader import read_study
    from cifarsweep.worker.precheck import images_to_train

    study = read_study(path)
    return study, images_to_train(study)


def _copy(source: Path, target: Path) -> None:
    try:
        with target.open("xb") as file:
            file.write(source.read_bytes())
    except FileExistsError:
        raise typer.BadParameter(f"{target} is there already; choose another file", param_hint="--copy") from None
    except OSError as error:
        raise typer.BadParameter(f"{target} can't be written: {error.strerror}", param_hint="--copy") from None
    typer.echo(f"{target}: change its name and what you like, then cifarsweep create {target}")
