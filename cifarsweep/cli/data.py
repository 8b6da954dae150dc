"""`data`: data sets on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cifarsweep.cli.commands import Application
from cifarsweep.cli.json_output import print_json
from cifarsweep.cli.options import Json, console
from cifarsweep.errors import DataError
from cifarsweep.spec.image_shape import CIFAR, LARGEST, SMALLEST, ImageShape
from cifarsweep.text import one_line

if TYPE_CHECKING:
    from cifarsweep.data.catalog import DataSetInfo

app = Application(no_args_is_help=True, help="Get, import and verify data sets.", rich_markup_mode=None)
Name = Annotated[str, typer.Argument(metavar="NAME", help="The data set's name.")]


@app.command("list")
def list_data(as_json: Json = False) -> None:
    """List the data sets that are known, and those that are here."""
    from cifarsweep.data.catalog import BUILT_IN, installed

    here = installed(on_damaged=lambda error: typer.echo(f"damaged: {error}", err=True))
    absent = [name for name in BUILT_IN if name not in {info.name for info in here}]
    if as_json:
        print_json("data-set", [*map(_fields, here), *map(_absent_fields, absent)])
    else:
        _print_list(here, absent)


def _print_list(here: list[DataSetInfo], absent: list[str]) -> None:
    from rich.markup import escape
    from rich.table import Table

    from cifarsweep.data.catalog import BUILT_IN, data_root

    columns = ("name", "images", "classes", "train", "test", "MB", "digest", "from")
    table = Table(*columns, title=f"Data sets in {data_root()}")
    for info in here:
        sizes = (str(len(info.classes)), f"{info.train:,}", f"{info.test:,}", f"{info.bytes / 1e6:.1f}")
        table.add_row(info.name, str(info.shape), *sizes, info.sha256[:12], escape(one_line(info.source)))
    for name in absent:
        command = BUILT_IN[name].command
        table.add_row(name, *[""] * 6, f"not here: {command}" if command else "made on first use")
    console().print(table)


def _fields(info: DataSetInfo) -> dict[str, Any]:
    """A data set that is here, as plain values."""
    return {
        "name": info.name,
        "here": True,
        "side": info.shape.side,
        "channels": info.shape.channels,
        "classes": list(info.classes),
        "train": info.train,
        "test": info.test,
        "bytes": info.bytes,
        "sha256": info.sha256,
        "source": info.source,
        "path": str(info.path),
        "command": None,
    }


def _absent_fields(name: str) -> dict[str, Any]:
    """A built-in data set that is not here: what is known of it, and the command that gets it."""
    from cifarsweep.data.catalog import BUILT_IN

    known = BUILT_IN[name]
    unknown = dict.fromkeys(("side", "channels", "classes", "bytes", "sha256", "source", "path"))
    return {"name": name, "here": False, **unknown, "train": known.train, "test": known.test, "command": known.command}


@app.command()
def show(name: Name, as_json: Json = False) -> None:
    """Show where a data set is from, and count its classes."""
    from rich.markup import escape
    from rich.table import Table

    from cifarsweep.data.catalog import require
    from cifarsweep.data.tensor_file import class_counts

    info = require(name)
    train, test = class_counts(info.path)
    if as_json:
        print_json("data-set", _fields(info) | {"train_of_class": list(train), "test_of_class": list(test)})
        return
    _say(info)
    typer.echo(f"{one_line(info.source)}; sha256 {info.sha256}; {info.bytes / 1e6:,.1f} MB")
    table = Table("class", "train", "test")
    for label, kind in enumerate(info.classes):
        table.add_row(escape(one_line(kind)), f"{train[label]:,}", f"{test[label]:,}")
    console().print(table)


@app.command()
def download(name: Name) -> None:
    """Download a built-in data set and convert it."""
    from cifarsweep.data.cifar import download as fetch

    _say(fetch(name))


@app.command("import")
def import_data(
    name: Name,
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="A folder or archive: <split>/<class>/<file>, or see --test.")
    ],
    replace: Annotated[bool, typer.Option("--replace", help="Replace a data set of that name.")] = False,
    size: Annotated[int, typer.Option(metavar="N", min=SMALLEST, max=LARGEST, help="Pixels a side.")] = CIFAR.side,
    fit: Annotated[
        Literal["stretch", "crop", "pad"], typer.Option(help="What becomes of images that are not square.")
    ] = "stretch",
    grey: Annotated[bool, typer.Option("--grey", help="Keep the brightness alone, as one channel.")] = False,
    test: Annotated[
        float | None,
        typer.Option(metavar="PART", help="Images lie as <class>/<file>; this part of each class becomes test images."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Chooses the images of --test; 0 if left out.")
    ] = None,
    skip_others: Annotated[
        bool, typer.Option("--skip-others", help="Leave out files that are no images, and count them.")
    ] = False,
) -> None:
    """Import a folder or an archive of images.

    They become squares of one size. Archives are .tar, .tar.gz, .tar.xz, .tar.bz2 and .zip.
    """
    from cifarsweep.data.image_import import ImportOptions, import_images

    if seed is not None and test is None:
        raise DataError("--seed: chooses the images of --test, and nothing is split without it; give --test 0.2 too")
    shape = ImageShape(size, 1 if grey else CIFAR.channels)
    options = ImportOptions(shape, fit, test, seed or 0, skip_others)
    notes: list[str] = []
    with console(stderr=True).status("reading images ...") as status:
        info = import_images(
            name,
            source,
            replace=replace,
            options=options,
            progress=lambda count: status.update(f"reading images ... {count:,}"),
            note=notes.append,
        )
    for text in notes:
        typer.echo(f"note: {text}", err=True)
    _say(info)


@app.command()
def verify(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One data set; all if left out.")] = None,
    as_json: Json = False,
) -> None:
    """Hash the contents again and compare. Exit code 2 if any differs."""
    from cifarsweep.data.catalog import installed
    from cifarsweep.data.catalog import verify as check

    damaged: list[DataError] = []
    names = [name] if name else [info.name for info in installed(on_damaged=damaged.append)]
    whole: list[DataSetInfo] = []
    for each in names:
        try:
            whole.append(check(each))
        except DataError as error:
            damaged.append(error)
        else:
            if not as_json:
                _say(whole[-1])
    if as_json:
        print_json("data-set", [_fields(info) for info in whole])
    if damaged:
        raise DataError("\n".join(str(error) for error in damaged))
    if not names and not as_json:
        typer.echo("no data sets are here yet")


def _say(info: DataSetInfo) -> None:
    typer.echo(
        f"{info.name}: {info.train:,} train and {info.test:,} test images, {info.shape}, of {len(info.classes)} "
        f"classes, sha256 {info.sha256[:12]}, {info.path}"
    )
