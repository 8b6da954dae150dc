"""What workers say, as `launch` shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import typer

from cifarsweep.cli.options import console
from cifarsweep.text import one_line


@contextmanager
def screen_of(names: Sequence[str], title: str) -> Iterator[Callable[[str, str], None]]:
    """Show each worker's newest line on a terminal, and every line elsewhere."""
    screen = console()
    if not screen.is_terminal:
        yield lambda name, line: typer.echo(f"{name} | {line}")
        return
    from rich.live import Live
    from rich.table import Table

    newest = dict.fromkeys(names, "starts")

    def table() -> Table:
        grid = Table.grid(padding=(0, 2))
        for name, line in newest.items():
            grid.add_row(name, one_line(line)[: screen.width - 10])
        return grid

    typer.echo(title)
    with Live(table(), console=screen, auto_refresh=False) as live:

        def say(name: str, line: str) -> None:
            newest[name] = line
            live.update(table(), refresh=True)

        yield say
