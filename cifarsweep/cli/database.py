"""`db`: migrations and integrity."""

from __future__ import annotations

import typer

from cifarsweep.cli.options import DEFAULT_DATABASE, Database
from cifarsweep.errors import StoreError

app = typer.Typer(no_args_is_help=True, help="Look after the database.", rich_markup_mode=None)


@app.command()
def upgrade(db: Database = DEFAULT_DATABASE) -> None:
    """Create the tables, or bring those of an older version up to date."""
    from cifarsweep.store import Store

    with Store.open(db, upgrade=True) as store:
        typer.echo(f"{store.shown_url}: the tables are up to date")


@app.command()
def check(db: Database = DEFAULT_DATABASE) -> None:
    """Look for damage: integrity, orphans, stale leases, Optuna's view against ours. Exit code 2 where there is any."""
    from cifarsweep.store import Store

    with Store.open(db) as store:
        findings = store.check()
        where = store.shown_url
    if findings:
        raise StoreError(f"{where}: {len(findings)} findings\n" + "\n".join(f"  - {finding}" for finding in findings))
    typer.echo(f"{where}: no findings")
