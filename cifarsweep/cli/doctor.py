"""`doctor`: whether everything that a worker needs is here, and what is in its way."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from cifarsweep.cli.json_output import print_json
from cifarsweep.cli.options import DEFAULT_DATABASE, Artifacts, Database, Json, artifacts_folder, console
from cifarsweep.errors import LocationError, StoreError
from cifarsweep.text import one_line

if TYPE_CHECKING:
    from cifarsweep.store.admin.doctor import Finding

_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def doctor(db: Database = DEFAULT_DATABASE, artifacts: Artifacts = None, as_json: Json = False) -> None:
    """Look at this machine and at the database.

    Versions, GPUs, data sets, disks, locks, clocks and leases. Changes nothing. Exit code 1 if something fails; every
    line that is not ok says what to do.
    """
    from cifarsweep.store.admin import doctor as database

    findings = [*_machine(db, artifacts), *database.examine(db)]
    if as_json:
        print_json("finding", [dataclasses.asdict(finding) for finding in findings])
    else:
        _print(findings)
    raise typer.Exit(1 if any(finding.level == "fail" for finding in findings) else 0)


def _machine(db: str, artifacts: str | None) -> Iterator[Finding]:
    from cifarsweep.worker import doctor as diagnosis

    try:
        yield from diagnosis.examine(_location(db, artifacts))
    except LocationError as error:
        yield from diagnosis.examine(error)


def _location(db: str, artifacts: str | None) -> str:
    from cifarsweep.checkpoints.location import parse_location

    try:
        return parse_location(artifacts) if artifacts else str(artifacts_folder(db))
    except StoreError:
        # The database's own line reports the bad URL; checkpoints go where those of a server would.
        return str(artifacts_folder("postgresql://"))


def _print(findings: list[Finding]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=False)
    for finding in findings:
        table.add_row(Text(finding.level, style=_STYLES[finding.level]), finding.subject, Text(one_line(finding.text)))
    screen = console()
    if not screen.is_terminal:
        # One line each, however long, for grep.
        screen.width = 10_000
    screen.print(table)
