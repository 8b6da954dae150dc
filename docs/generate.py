"""A hook of MkDocs: it writes the parts of the reference that the code knows, and shows the pages of the top folder.

A mark `<!-- generated: NAME -->` in a page becomes what the function of that name in `PARTS` returns.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from cifarsweep.cli.app import app
from cifarsweep.cli.json_output import SCHEMAS
from cifarsweep.spec.metric_reference import metrics_reference
from cifarsweep.spec.reference import Setting, settings_reference
from cifarsweep.store import schema

ROOT = Path(__file__).parents[1]
#: Pages that stand in the top folder, where people and hosts of code look for them, and their places in the site.
TOP_PAGES = {
    "CONTRIBUTING.md": "contributing.md",
    "ARCHITECTURE.md": "architecture.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changes.md",
}
_TYPES = {
    "BigInteger": "whole number",
    "Integer": "whole number",
    "Double": "number",
    "Boolean": "true or false",
    "Flag": "true or false",
    "LargeBinary": "bytes",
    "String": "text",
    "Text": "text",
    "UtcDateTime": "moment, UTC",
}
#: Pictures of the repository that pages show.
PICTURES = {"reports/lr-quarter-verdicts.png": "assets/verdicts.png"}
_LINK = re.compile(r"\[([^\]]*)\]\((?!https?:)([^)#\s]+)(#[^)]*)?\)")
_CODE = re.compile(r"`[^`]*`")
_MARKER = re.compile(r"<!-- generated: (\w+) -->")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the top folder, and pictures."""
    for name, place in TOP_PAGES.items():
        files.append(File.generated(config, place, content=top_page((ROOT / name).read_text())))
    for name, place in PICTURES.items():
        files.append(File.generated(config, place, content=(ROOT / name).read_bytes()))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put in what is generated. Raises KeyError for a name that `PARTS` lacks."""
    return as_shown(_MARKER.sub(lambda found: PARTS[found[1]](), markdown))


def on_post_page(output: str, **_: Any) -> str:
    """Name the box of the search, which the theme leaves without a name for those who hear a page."""
    search = 'data-md-component="search" role="dialog"'
    return output.replace(search, f'{search} aria-label="Search"')


def as_shown(markdown: str) -> str:
    """Tables for MkDocs: a bar in code has no backslash, unlike elsewhere, and each option is a word of its own."""
    lines = []
    for line in markdown.split("\n"):
        if line.startswith("| "):
            line = _CODE.sub(lambda found: found[0].replace("\\|", "|"), line)
        if line.startswith("| `cifarsweep "):
            line = _CODE.sub(lambda found: re.sub(r" (?=\[|\| )", "` `", found[0]), line, count=1)
        lines.append(line)
    return "\n".join(lines)


def top_page(text: str) -> str:
    """The text of a page of the top folder, whose links lead to pages of the site; other files are only named."""

    def led(found: re.Match[str]) -> str:
        label, target, anchor = found[1], found[2], found[3] or ""
        if target in TOP_PAGES:
            return f"[{label}]({TOP_PAGES[target]}{anchor})"
        if target.startswith("docs/"):
            return f"[{label}]({target.removeprefix('docs/')}{anchor})"
        return f"`{target}`" if label == target else f"{label} (`{target}`)"

    return _LINK.sub(led, text)


# Commands


def commands() -> str:
    """Every command with its help, usage, arguments and options."""
    return "\n".join(_command(f"cifarsweep {name}", command) for name, command in all_commands().items())


def all_commands() -> dict[str, Any]:
    """Every command of the help by its words, `data import` and the like among them, in its order."""
    root: Any = typer.main.get_command(app)
    found = {}
    for name, command in root.commands.items():
        if command.hidden:
            continue
        below = getattr(command, "commands", None)
        found |= {f"{name} {sub}": one for sub, one in below.items()} if below else {name: command}
    return found


def _command(words: str, command: Any) -> str:
    context = command.make_context(words, [], resilient_parsing=True)
    usage = context.get_usage().removeprefix("Usage: ")
    lines = [f"### `{words}`", "", _escaped(inspect.cleandoc(command.help or "")), "", "```text", usage, "```", ""]
    records = [record for each in command.params if (record := each.get_help_record(context))]
    if records:
        lines += ["| argument or option | meaning |", "|---|---|"]
        lines += [f"| {_code(name)} | {_cell(text)} |" for name, text in records]
    return "\n".join([*lines, ""])


# Settings


def settings() -> str:
    """Every setting, table by table, with its values, default and meaning."""
    blocks: list[str] = []
    tables: dict[str, list[Setting]] = {}
    for one in settings_reference():
        tables.setdefault(_table_of(one), []).append(one)
    for table, found in tables.items():
        blocks.append(f"### {f'`{table}`' if table else 'Without a table'}\n")
        for only_for, rows in groupby(found, key=lambda one: one.only_for):
            blocks += [f"#### {_families(only_for)}\n"] if only_for else []
            blocks += [*_setting_rows(rows), ""]
    return "\n".join(blocks)


def _table_of(one: Setting) -> str:
    return one.key.rpartition(".")[0]


def _families(only_for: str) -> str:
    return ", ".join(f"`{name}`" for name in only_for.split(", "))


def _setting_rows(rows: Iterator[Setting]) -> list[str]:
    head = ["| setting | values | default | what it does |", "|---|---|---|---|"]
    return head + [
        f"| {_code(one.key)} | {_cell(one.values)} | {_code(one.default)} | {_cell(one.text)} |" for one in rows
    ]


# Metrics


def metrics() -> str:
    """Every metric of the built-in trainings, with its range and whether it comes again bit for bit."""
    head = ["| metric | values | same bits | what it is |", "|---|---|---|---|"]
    rows = [
        f"| {_code(one.name)} | {one.values} | {'yes' if one.repeats else 'no'} | {_cell(one.text)} |"
        for one in metrics_reference()
    ]
    return "\n".join([*head, *rows])


# JSON


def schemas() -> str:
    """The kinds of JSON objects with their versions."""
    return ", ".join(f"`{kind}/{version}`" for kind, version in sorted(SCHEMAS.items()))


# Tables of the database


def tables() -> str:
    """Every table with its columns, and what the comments in `store/schema.py` say of them."""
    said = _comments(inspect.getsource(schema))
    blocks = []
    for table in schema.metadata.sorted_tables:
        head = [f"### `{table.name}`", "", _cell(said.get((table.name, ""), "")), "", "| column | type | what it is |"]
        rows = [
            f"| {_code(column.name)} | {_type(column.type)} | {_cell(said.get((table.name, column.name), ''))} |"
            for column in table.columns
        ]
        blocks.append("\n".join([*head, "|---|---|---|", *rows, ""]))
    return "\n".join(blocks)


def _comments(source: str) -> dict[tuple[str, str], str]:
    """What `#:` comments say of each table, by its name and "", and of each column."""
    said: dict[tuple[str, str], str] = {}
    comment: list[str] = []
    table, of_table = "", ""
    for line in map(str.strip, source.splitlines()):
        if line.startswith("#: "):
            comment.append(line.removeprefix("#: "))
        elif line.endswith("= Table("):
            of_table, comment = " ".join(comment), []
        elif found := re.match(r'"(cs_\w+)",', line):
            table = found[1]
            said[table, ""] = of_table
        elif found := re.match(r'(?:Column|_moment)\("(\w+)"', line):
            said[table, found[1]] = " ".join(comment)
            comment = []
        else:
            comment = []
    return said


def _type(column: Any) -> str:
    return _TYPES.get(type(column).__name__, type(column).__name__)


# Text


def _code(text: str) -> str:
    return f"`{text}`".replace("|", "\\|")


def _cell(text: str) -> str:
    return _escaped(" ".join(text.split())).replace("|", "\\|")


def _escaped(text: str) -> str:
    """Text as Markdown that shows it: `<`, `*` and `_` outside of code would be taken for marks, `[ ]` for a link."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([<*_\[\]])", r"\\\1", part) for part in parts)


PARTS: dict[str, Callable[[], str]] = {
    "commands": commands,
    "metrics": metrics,
    "schemas": schemas,
    "settings": settings,
    "tables": tables,
}
