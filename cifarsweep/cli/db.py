"""`db`: migrations, integrity and backups."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cifarsweep.cli.commands import Application
from cifarsweep.cli.json_output import print_json
from cifarsweep.cli.options import DEFAULT_DATABASE, Database, Json
from cifarsweep.errors import StoreError
from cifarsweep.text import one_line

if TYPE_CHECKING:
    from cifarsweep.store import Store

app = Application(no_args_is_help=True, help="Look after the database.", rich_markup_mode=None)


@app.command()
def upgrade(db: Database = DEFAULT_DATABASE) -> None:
    """Create the tables, or bring those of an older version up to date."""
    from cifarsweep.store import Store

    with Store.open(db, upgrade=True) as store:
        report_upgrade(store)
        typer.echo(f"{store.shown_url}: the tables are up to date")


@app.command()
def check(db: Database = DEFAULT_DATABASE, as_json: Json = False) -> None:
    """Look for damage. Exit code 2 if there is any.

    Integrity, orphans, stale leases, and Optuna's view against ours.
    """
    from cifarsweep.store import Store

    with Store.open(db, read_only=True) as store:
        findings = store.admin.check()
        where = store.shown_url
    if as_json:
        print_json("database", {"database": where, "findings": findings})
    if findings:
        raise StoreError(
            f"{where}: {len(findings)} findings\n" + "\n".join(f"- {one_line(finding)}" for finding in findings)
        )
    if not as_json:
        typer.echo(f"{where}: no findings")


@app.command()
def backup(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The SQLite file to write; it must not exist yet.")],
    db: Database = DEFAULT_DATABASE,
) -> None:
    """Copy a database in use into one SQLite file. Every command opens it as well; it has no checkpoints."""
    from cifarsweep.store import Store
    from cifarsweep.store.url import parse_url, redacted

    with Store.open(db, read_only=True, older=True) as store:
        store.admin.backup(out)
    url = redacted(parse_url(out))
    typer.echo(f"{out}: {out.stat().st_size / 1e6:,.1f} MB; open it with --db {url}, or `db restore` it")


@app.command()
def restore(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="What `db backup` wrote.")],
    db: Database = DEFAULT_DATABASE,
) -> None:
    """Fill an empty database from a backup, all or nothing. It may be of the other kind."""
    from cifarsweep.store import Store

    with Store.open_backup(source) as copy, Store.open(db, upgrade=True) as store:
        report_upgrade(store)
        trials = store.admin.restore(copy.admin)
        typer.echo(f"{store.shown_url}: {trials:,} trials restored from {source}")


def report_upgrade(store: Store) -> None:
    """Tell the user that opening the database has changed its tables: earlier versions of cifarsweep refuse them."""
    if store.upgraded_from is not None:
        typer.echo(f"{store.shown_url}: was of an older version ({store.upgraded_from}) and is upgraded")
