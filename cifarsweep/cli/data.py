"""`data`: data sets on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cifarsweep.cli.options import console
from cifarsweep.errors import DataError
from cifarsweep.text import one_line

app = typer.Typer(no_args_is_help=True, help="Get, import and verify data sets.", rich_markup_mode=None)
Name = Annotated[str, typer.Argument(metavar="NAME", help="The data set's name.")]


@app.command("list")
def list_data() -> None:
    """List the data sets that are known, and those that are here."""
    from rich.table import Table

    from cifarsweep.data.catalog import BUILT_IN, data_root, installed

    table = Table("name", "classes", "train", "test", "MB", "digest", "from", title=f"Data sets in {data_root()}")
    here = {info.name: info for info in installed(on_damaged=lambda error: typer.echo(f"damaged: {error}", err=True))}
    for info in here.values():
        sizes = (str(len(info.classes)), f"{info.train:,}", f"{info.test:,}", f"{info.bytes / 1e6:.1f}")
        table.add_row(info.name, *sizes, info.sha256[:12], one_line(info.source))
    for name in BUILT_IN:
        if name not in here:
            how = "made on first use" if name == "digits" else f"not here: cifarsweep data download {name}"
            table.add_row(name, *[""] * 5, how)
    console().print(table)


@app.command()
def download(name: Name) -> None:
    """Download a built-in data set and convert it."""
    from cifarsweep.data.cifar import download as fetch

    _say(fetch(name))


@app.command("import")
def import_data(
    name: Name,
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="A folder or archive: <split>/<class>/<file>.")],
    replace: Annotated[bool, typer.Option("--replace", help="Replace a data set of that name.")] = False,
) -> None:
    """Import images from a folder or an archive (.tar, .tar.gz, .tar.xz, .zip), resized to 32x32."""
    from cifarsweep.data.image_import import import_images

    notes: list[str] = []
    with console(stderr=True).status("reading images ...") as status:
        info = import_images(
            name,
            source,
            replace=replace,
            progress=lambda count: status.update(f"reading images ... {count:,}"),
            note=notes.append,
        )
    for text in notes:
        typer.echo(f"note: {text}", err=True)
    _say(info)


@app.command()
def verify(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One data set; all if left out.")] = None,
) -> None:
    """Hash the contents again and compare. Exit code 2 if any differs."""
    from cifarsweep.data.catalog import installed
    from cifarsweep.data.catalog import verify as check

    damaged: list[DataError] = []
    names = [name] if name else [info.name for info in installed(on_damaged=damaged.append)]
    for each in names:
        try:
            _say(check(each))
        except DataError as error:
            damaged.append(error)
    if damaged:
        raise DataError("\n".join(str(error) for error in damaged))
    if not names:
        typer.echo("no data sets are here yet")


def _say(info: object) -> None:
    from cifarsweep.data.catalog import DataSetInfo

    assert isinstance(info, DataSetInfo)
    typer.echo(
        f"{info.name}: {info.train:,} train and {info.test:,} test images of {len(info.classes)} classes, "
        f"sha256 {info.sha256[:12]}, {info.path}"
    )
