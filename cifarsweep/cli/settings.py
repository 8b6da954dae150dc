"""`settings`: what a study may set, with values, defaults and sources."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from cifarsweep.cli import completion
from cifarsweep.cli.json_output import print_json
from cifarsweep.cli.options import console


def settings(
    key: Annotated[
        str | None,
        typer.Argument(
            metavar="KEY", help="One setting, or a table such as optimizer.", autocompletion=completion.settings
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """List what a study can set.

    Values, default and what each setting does.
    """
    from cifarsweep.spec.reference import settings_reference

    found = settings_reference(key)
    if as_json:
        print_json("setting", [asdict(one) for one in found])
        return
    from rich.table import Table

    table = Table("setting", "values", "default", "what it does", title="For a study's file and for --set")
    for one in found:
        only = f"[{one.only_for}] " if one.only_for else ""
        table.add_row(one.key, one.values, one.default, only + one.text)
    console().print(table)
