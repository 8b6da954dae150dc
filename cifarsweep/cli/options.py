"""Options that several commands share, and the console that they print to."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from cifarsweep.cli import completion
from cifarsweep.errors import LocationError
from cifarsweep.files import HomeError, user_data_folder

if TYPE_CHECKING:
    from rich.console import Console

DEFAULT_DATABASE = "sqlite:///cifarsweep.db"
#: The largest number of seconds that an option takes.
LONGEST_S = 1e9
_NARROWEST, _WIDE = 20, 160
#: Digits of the number of a GPU.
_LONGEST_NUMBER = 4

Database = Annotated[
    str,
    typer.Option(
        "--db",
        envvar="CIFARSWEEP_DB",
        metavar="URL",
        help="The database, as an SQLAlchemy URL.",
    ),
]
Artifacts = Annotated[
    str | None,
    typer.Option(
        envvar="CIFARSWEEP_ARTIFACTS",
        metavar="URL",
        help="Where checkpoints go: a folder, file:///mnt/share, s3://bucket/prefix.",
    ),
]
Gpu = Annotated[
    str | None,
    typer.Option("--gpu", metavar="N", help="Train on GPU N; on N,M for trials that take several each."),
]
Cpu = Annotated[bool, typer.Option("--cpu", help="Train on the processor.")]
NoGraphs = Annotated[
    bool,
    typer.Option("--no-graphs", help="Train on a GPU operation by operation, without CUDA graphs: slower, same bits."),
]
Code = Annotated[
    list[str] | None,
    typer.Option(
        "--code",
        metavar="FOLDER|PACKAGE",
        help="Train also studies with code of this folder or installed package, where it is what they were created "
        "with; of a folder only what study files there name under [code]. Repeat for more.",
    ),
]
Programs = Annotated[
    list[str] | None,
    typer.Option(
        "--program",
        metavar="FILE",
        help="Train studies of the program of this study file alone, where all its files are what they were at "
        "`create`; repeat for more.",
    ),
]
Notify = Annotated[
    list[str] | None,
    typer.Option(
        "--notify",
        metavar="URL|COMMAND",
        help="Tell when a study is over, a trial is given up or a machine is bad: as JSON by POST, or on a command's "
        "standard input. Repeat for more; $CIFARSWEEP_NOTIFY has one a line, which no other user can read.",
    ),
]
Wait = Annotated[bool, typer.Option("--wait", help="Wait for new studies when nothing is left.")]
WhileQueued = Annotated[
    bool,
    typer.Option("--while-queued", help="End once no trial is queued, though others still train the last ones."),
]
Studies = Annotated[
    list[str] | None,
    typer.Option(
        "--study", metavar="NAME", help="Only this study; repeat for more.", autocompletion=completion.studies
    ),
]
OtherData = Annotated[
    bool,
    typer.Option(
        "--other-data", help="Let a study's trials train on images that differ from those of its earlier trials."
    ),
]
NoReuse = Annotated[
    bool, typer.Option("--no-reuse", help="Train every trial in full, also one whose steps another has trained.")
]
KeepCheckpoints = Annotated[
    Literal["branches", "final", "none"],
    typer.Option(
        "--keep-checkpoints",
        help="What stays of a trial that is done: its last checkpoint and those that others are to begin from; the "
        "last one alone; or nothing.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def device(gpu: str | None, cpu: bool) -> str:
    """The device in a child's words: `cpu`, numbers of GPUs with a comma between them, or `auto` if neither was given.

    Of several GPUs each trial takes as many as its settings or its program say.
    """
    if cpu and gpu is not None:
        raise typer.BadParameter("give --gpu or --cpu, not both")
    if gpu is None:
        return "cpu" if cpu else "auto"
    numbers = [part.strip() for part in gpu.split(",")]
    if not all(part.isascii() and part.isdigit() and len(part) <= _LONGEST_NUMBER for part in numbers):
        raise typer.BadParameter(
            f"{gpu!r} is not the number of a GPU; write 0, or 0,1 for trials of two", param_hint="--gpu"
        )
    if len({int(number) for number in numbers}) < len(numbers):
        raise typer.BadParameter(f"{gpu!r} names a GPU twice", param_hint="--gpu")
    return ",".join(str(int(number)) for number in numbers)


def check_waiting(wait: bool, while_queued: bool) -> None:
    """Raise typer.BadParameter for --wait and --while-queued at once."""
    if wait and while_queued:
        raise typer.BadParameter("give --wait or --while-queued, not both")


def check_graphs(no_graphs: bool, on_processor: bool) -> None:
    """Raise typer.BadParameter for --no-graphs on a processor."""
    if no_graphs and on_processor:
        raise typer.BadParameter("--no-graphs is for GPUs: a processor has no CUDA graphs; leave it out")


def check_seconds(context: typer.Context, param: typer.CallbackParam, value: float | None) -> float | None:
    """Return the value. Raises typer.BadParameter, which names the variable or the option that gave it."""
    # False for NaN.
    if value is None or 0 <= value <= LONGEST_S:
        return value
    source = context.get_parameter_source(str(param.name))
    variable = source is not None and source.name == "ENVIRONMENT"
    hint = f"${param.envvar}" if variable else param.opts[0]
    raise typer.BadParameter(f"{value:g} is not a number of seconds from 0 to {LONGEST_S:.0f}", param_hint=hint)


def key_value(text: str, hint: str, form: str = "KEY=VALUE") -> tuple[str, str]:
    """Both sides of the first `=`; the right one may be empty. Raises typer.BadParameter, which names `hint`."""
    key, sign, value = text.partition("=")
    if not (key and sign):
        raise typer.BadParameter(f"{text!r} is not {form}", param_hint=hint)
    return key, value


def key_values(texts: Iterable[str], hint: str, form: str = "KEY=VALUE") -> dict[str, str]:
    """Both sides of each text. Raises typer.BadParameter, which names `hint`, also for a key that comes twice."""
    values: dict[str, str] = {}
    for text in texts:
        key, value = key_value(text, hint, form)
        if key in values:
            raise typer.BadParameter(f"{key!r} is given twice; give one of them", param_hint=hint)
        values[key] = value
    return values


def console(*, stderr: bool = False) -> Console:
    """A Rich console; wide if it is no terminal, so that a pipe gets whole lines."""
    from cifarsweep.cli.screen import Screen

    width = _columns()
    if width is None:
        # Rich would believe any value.
        os.environ.pop("COLUMNS", None)
    screen = Screen(stderr=stderr)
    return screen if screen.is_terminal else Screen(stderr=stderr, width=width or _WIDE)


def _columns() -> int | None:
    """The value of $COLUMNS, if it can be a width."""
    text = os.environ.get("COLUMNS", "")
    return int(text) if text.isdecimal() and len(text) <= 4 and int(text) >= _NARROWEST else None


def artifacts_folder(database: str) -> Path:
    """The default folder of checkpoints: beside the SQLite file, else in the user's data folder.

    Raises LocationError if the user has none.
    """
    from cifarsweep.store.url import parse_url

    url = parse_url(database)
    if url.get_backend_name() == "sqlite" and url.database:
        return Path(url.database).resolve().with_suffix(".checkpoints")
    try:
        return user_data_folder() / "checkpoints"
    except HomeError as error:
        raise LocationError(f"{error}; name the place of the checkpoints with --artifacts") from None


def end(code: int) -> NoReturn:
    """End with that exit code, which tells of the work even if a full disk took the last lines."""
    discard_output()
    raise typer.Exit(code)


def discard_output() -> None:
    """Drop output that can't be written, or Python's flush at its end would complain about it."""
    with suppress(AttributeError, OSError, ValueError):
        sys.stdout.flush()
        return
    with suppress(AttributeError, OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
