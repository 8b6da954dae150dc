"""Names and errors of others reach a terminal: they must neither steer it nor look like words of ours."""

import io
import json
import logging
import sqlite3
import sys
import unicodedata
from contextlib import closing

import pytest
from rich.console import Group
from rich.live import Live
from rich.progress import Progress, TextColumn
from rich.table import Table
from rich.text import Text

from cifarsweep.cli.screen import Screen
from cifarsweep.spec.settings import Settings
from cifarsweep.spec.study import Cell, Study
from cifarsweep.spec.types import AttemptEnd
from cifarsweep.store import Store
from cifarsweep.store.records import Lease, WorkerInfo
from cifarsweep.worker.display import Bars, Lines, log_to

HOSTILE = "A\x1b[2J\x1b]0;x\x07\x9b31m\u202eB\r\u200b[bold]c[/bold][/nope]:smile:\nerror: forged"
SHOWN = "A␛[2J␛]0;x␇⟨U+009B⟩31m⟨U+202E⟩B␍⟨U+200B⟩[bold]c[/bold][/nope]:smile:"


def tricky(text: str) -> set[str]:
    return {hex(ord(each)) for each in text if unicodedata.category(each) in ("Cc", "Cf", "Cs") and each not in "\n\t"}


@pytest.fixture
def hostile(tmp_path) -> str:
    """A database in which cells, workers, errors and a data set have such names, and a trial is left to train."""
    url = f"sqlite:///{tmp_path}/cifarsweep.db"
    cell = Cell(name="c", levels={}, settings=Settings(dataset="digits", epochs=1))
    with Store.open(url, upgrade=True) as store:
        store.studies.create(Study(name="demo", question="Which?", cells=(cell,), seeds=(0, 1, 2)))
        versions = {f"v{HOSTILE}": HOSTILE}
        store.queue.register_worker(WorkerInfo(f"w{HOSTILE}", f"h{HOSTILE}", 1, f"d{HOSTILE}", 1, versions))
        for _ in range(2):
            lease = store.queue.claim(f"w{HOSTILE}")
        store.queue.fail(
            lease, AttemptEnd.EXCEPTION, f"ValueError: {HOSTILE}", f"Traceback: {HOSTILE}".replace("\n", " ")
        )
    with closing(sqlite3.connect(tmp_path / "cifarsweep.db")) as database, database:
        database.execute("UPDATE cs_cell SET name = ? || position", (HOSTILE,))
    database.close()
    return url


@pytest.mark.parametrize(
    "command",
    [
        ("status",),
        ("show", "demo/0"),
        ("show", "demo/1"),
        ("db", "check"),
        ("cancel", "demo/\x1b[2J\u202e"),
        ("create", "\x1b[2J\u202e.toml"),
        ("--\x1b[2J\u202e",),
    ],
)
def test_no_command_prints_what_steers(call, hostile, command):
    done = call(*command)

    assert tricky(done.stdout + done.stderr) == set()
    assert "Traceback (most" not in done.stderr
    assert not any(line.startswith("error: forged") for line in (done.stdout + done.stderr).splitlines())
    if command[0] == "show":
        assert SHOWN in done.stdout


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_whatever_the_terminal_speaks(cli, hostile, encoding):
    done = cli("cancel", "demo/\x1b[2J", PYTHONIOENCODING=encoding)

    assert tricky(done.stdout + done.stderr) == set() and "[2J" in done.stderr


def test_json_and_exports_hold_the_names_as_they_are(call, hostile):
    shown = json.loads(call("show", "demo/1", "--json").stdout)

    assert shown["cell"].startswith(HOSTILE) and shown["attempts"][0]["worker_id"] == f"w{HOSTILE}"


@pytest.fixture
def screen(monkeypatch):
    """A terminal, and what it was sent."""
    sent = io.StringIO()
    monkeypatch.setattr(sent, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdout", sent)
    monkeypatch.setenv("TERM", "xterm-256color")
    return Screen(width=200), sent


def one_row(text) -> Table:
    table = Table("name", title=text)
    table.add_row(text)
    return table


@pytest.mark.parametrize(
    "form", [str, Text, one_row, lambda text: Group(text, Text(text)), lambda text: one_row(Text(text))]
)
def test_rich_prints_names_and_no_markup(screen, form):
    terminal, sent = screen

    terminal.print(form(HOSTILE))

    said = sent.getvalue().replace("\x1b[3m", "").replace("\x1b[1m", "").replace("\x1b[0m", "")
    assert tricky(said) == set() and "A␛[2J␛]0;x" in said and "[bold]c[/bold][/nope]:smile:" in said


def test_bars_and_live_tables_still_move_the_cursor(screen):
    terminal, sent = screen

    with Live(one_row(HOSTILE), console=terminal, auto_refresh=False) as live:
        live.update(one_row(HOSTILE), refresh=True)
        print("beside it \x1b[2J")
    with Progress(TextColumn("{task.description}", markup=False), console=terminal) as bars:
        bars.add_task(HOSTILE)

    assert "\x1b[1A" in sent.getvalue() and "\x1b[2J" not in sent.getvalue() and SHOWN in sent.getvalue()


@pytest.mark.parametrize("kind", [Lines, Bars])
def test_a_worker_shows_names_and_errors_within_its_lines(screen, kind):
    terminal, sent = screen
    lease = Lease(1, f"s{HOSTILE}", "s", 0, HOSTILE, 0, Settings(dataset="digits", epochs=1), 1, 0, (), 60.0)

    log_to(terminal, times=kind is Lines)
    with Lines() if kind is Lines else Bars(terminal) as display:
        display.begin(0, lease)
        display.end(0, lease, f"failed: {HOSTILE}")
        logging.getLogger("cifarsweep.worker").warning(f"note: {HOSTILE}")

    said = sent.getvalue()
    assert "\x1b[2J" not in said and "\x9b" not in said and "\u202e" not in said and "[bold]c[/bold]" in said
    assert not any(line.startswith("error: forged") for line in said.splitlines())
