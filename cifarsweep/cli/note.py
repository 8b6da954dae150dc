"""`note`: write down what there is to say about a study or a trial; list and delete what was written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cifarsweep.cli.control import Target, parse_target
from cifarsweep.cli.json_output import print_json
from cifarsweep.cli.options import DEFAULT_DATABASE, Database, Json, console
from cifarsweep.cli.show import note_fields
from cifarsweep.text import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cifarsweep.store.records import Note


def note(
    target: Target,
    text: Annotated[str | None, typer.Argument(metavar="TEXT", help="What to note; without it, list notes.")] = None,
    delete: Annotated[int | None, typer.Option("--delete", metavar="N", min=1, help="Delete note N.")] = None,
    db: Database = DEFAULT_DATABASE,
    as_json: Json = False,
) -> None:
    """Note something about a study or a trial.

    Without TEXT, list notes. Pages, `show`, `report --json` and `export --notes` have them.
    """
    from cifarsweep.store import Store

    if sum((text is not None, delete is not None, as_json)) > 1:
        raise typer.BadParameter("TEXT writes a note, --delete removes one, --json lists them: give one of them")
    study, number = parse_target(target)
    if text is None and delete is None:
        with Store.open(db, read_only=True) as store:
            if number is not None:
                store.trials.get(study, number)
            found = [one for one in store.notes.of(study) if number is None or one.trial == number]
        print_json("note", [note_fields(one) for one in found]) if as_json else _print(target, found)
        return
    with Store.open(db) as store:
        if text is not None:
            typer.echo(f"note {store.notes.add(study, number, text)} of {one_line(target)}")
        elif delete is not None:
            store.notes.delete(study, delete)
            typer.echo(f"note {delete} of {one_line(study)} deleted")


def _print(target: str, notes: Sequence[Note]) -> None:
    from rich.table import Column, Table

    if not notes:
        typer.echo(f'{one_line(target)} has no note; `cifarsweep note {one_line(target)} "TEXT"` writes one')
        return
    table = Table("note", "trial", "written, UTC", Column("text", overflow="fold"))  # a long address is not cut
    for one in notes:
        trial = "" if one.trial is None else str(one.trial)
        table.add_row(str(one.note), trial, f"{one.written_at:%Y-%m-%d %H:%M}", one.text)
    console().print(table)
