"""`models`: the networks that a study can train, and what they cost."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from cifarsweep.cli.json_output import print_json
from cifarsweep.cli.options import Json, console
from cifarsweep.errors import SpecError
from cifarsweep.spec.image_shape import CIFAR, ImageShape

if TYPE_CHECKING:
    from cifarsweep.spec.networks import Row


def models(
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME", help="Only these; timm:NAME too.")] = None,
    classes: Annotated[
        int | None, typer.Option(metavar="N", min=2, max=100_000, help="Classes to tell apart; 10 if left out.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(metavar="NAME", help="Count for the images and classes of this data set.")
    ] = None,
    timm: Annotated[
        str | None, typer.Option(metavar="PATTERN", help="Models of timm, for example 'vit_*_224'.")
    ] = None,
    img_size: Annotated[
        int | None, typer.Option(metavar="N", min=8, max=1024, help="Pixels a side for models of timm; else their own.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List networks with their parameters and arithmetic.

    FLOPs are those of one image, forward.
    """
    if data and classes is not None:
        raise SpecError("--classes: those of --data count; give one of the two")
    shape, count = _images(data) if data else (CIFAR, classes or 10)
    rows = _rows(names or [], timm, count, img_size, shape)
    if as_json:
        print_json("network", [dataclasses.asdict(row) for row in rows])
    else:
        _print(rows)


def _images(name: str) -> tuple[ImageShape, int]:
    """Return the shape of a data set's images and its number of classes."""
    from cifarsweep.data.catalog import BUILT_IN, info, require

    if name in BUILT_IN and info(name) is None:
        return CIFAR, BUILT_IN[name].classes
    found = require(name)
    return found.shape, len(found.classes)


def _rows(names: Sequence[str], timm: str | None, classes: int, img_size: int | None, shape: ImageShape) -> list[Row]:
    # Only models of timm must be built to be counted, which imports torch.
    if timm is None and not any(name.startswith("timm:") for name in names):
        from cifarsweep.spec.networks import own_rows

        return own_rows(names, classes, shape)
    from cifarsweep.models.listing import rows

    return rows(names, timm, classes, img_size, shape)


def _print(rows: Sequence[Row]) -> None:
    from rich.table import Table

    table = Table("name", "options", "input", "params", "FLOPs", title="A multiply-add counts as two FLOPs")
    for column in table.columns[2:]:
        column.justify = "right"
    for row in rows:
        cost = (f"{row.size}x{row.size}", f"{row.params / 1e6:,.3f} M", f"{row.flops / 1e9:,.2f} G")
        table.add_row(row.name, row.options, *cost)
    console().print(table)
