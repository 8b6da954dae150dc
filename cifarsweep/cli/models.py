"""`models`: the networks that a study can train, and what they cost."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from cifarsweep.cli.options import console


def models(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Only these; timm:NAME too.")] = None,
    classes: Annotated[int, typer.Option(metavar="N", min=2, max=100_000, help="Classes to tell apart.")] = 10,
    timm: Annotated[
        str | None, typer.Option(metavar="PATTERN", help="Models of timm, for example 'vit_*_224'.")
    ] = None,
    img_size: Annotated[
        int | None, typer.Option(metavar="N", min=8, max=1024, help="Pixels a side for models of timm; else their own.")
    ] = None,
) -> None:
    """List models with parameters and arithmetic of one image, forward."""
    from cifarsweep.worker.errand import run_module

    arguments = [f"--classes={classes}"]
    arguments += [f"--timm={timm}"] if timm else []
    arguments += [f"--img-size={img_size}"] if img_size else []
    lines = run_module("cifarsweep.models", [*arguments, "--", *(names or [])]).splitlines()
    _print([json.loads(line) for line in lines])


def _print(rows: list[dict[str, str | int]]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table("name", "options", "input", "params", "FLOPs", title="A multiply-add counts as two FLOPs")
    for column in table.columns[2:]:
        column.justify = "right"
    for row in rows:
        size, params, flops = int(row["size"]), int(row["params"]), int(row["flops"])
        cost = (f"{size}x{size}", f"{params / 1e6:,.3f} M", f"{flops / 1e9:,.2f} G")
        table.add_row(escape(str(row["name"])), escape(str(row["options"])), *cost)
    console().print(table)
