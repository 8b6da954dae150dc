"""`models`: the networks that a study can train, and what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from cifarsweep.cli.options import console

if TYPE_CHECKING:
    from cifarsweep.spec.networks import Row


def models(
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME", help="Only these; timm:NAME too.")] = None,
    classes: Annotated[int, typer.Option(metavar="N", min=2, max=100_000, help="Classes to tell apart.")] = 10,
    timm: Annotated[
        str | None, typer.Option(metavar="PATTERN", help="Models of timm, for example 'vit_*_224'.")
    ] = None,
    img_size: Annotated[
        int | None, typer.Option(metavar="N", min=8, max=1024, help="Pixels a side for models of timm; else their own.")
    ] = None,
) -> None:
    """List networks with their parameters and arithmetic.

    FLOPs are those of one image, forward.
    """
    _print(_rows(names or [], timm, classes, img_size))


def _rows(names: Sequence[str], timm: str | None, classes: int, img_size: int | None) -> list[Row]:
    # Only models of timm must be built to be counted, which imports torch.
    if timm is None and not any(name.startswith("timm:") for name in names):
        from cifarsweep.spec.networks import own_rows

        return own_rows(names, classes)
    from cifarsweep.models.listing import rows

    return rows(names, timm, classes, img_size)


def _print(rows: Sequence[Row]) -> None:
    from rich.table import Table

    table = Table("name", "options", "input", "params", "FLOPs", title="A multiply-add counts as two FLOPs")
    for column in table.columns[2:]:
        column.justify = "right"
    for row in rows:
        cost = (f"{row.size}x{row.size}", f"{row.params / 1e6:,.3f} M", f"{row.flops / 1e9:,.2f} G")
        table.add_row(row.name, row.options, *cost)
    console().print(table)
