"""What a command line lacks or has too much of, as our own sentences: what, where, and what to do."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable

#: All mistakes that Typer finds on a command line.
UsageError: Any = typer.BadParameter.__bases__[0]
_VALUE, _COMMAND, _MISSING = "Invalid value", "No such command ", "Missing "
_EXTRA = re.compile(r"Got unexpected extra argument\S* \((.*)\)", re.DOTALL)
_VARIABLE = re.compile(r" \(env var: (\w+)\)")


def usage_sentence(error: Any) -> str:
    """Return a mistake of the command line as a sentence: what, where, and what to do.

    Typer tells its mistakes apart by their words alone. Words that are not known here are passed on.
    """
    text, ctx = str(error.format_message()), error.ctx
    command = ctx.command_path if ctx is not None else "cifarsweep"
    if hasattr(error, "possibilities"):
        near = _nearest(error.option_name, _options(ctx))
        return f"{command} has no option {error.option_name}.{near} `{command} --help` lists them all"
    if text.startswith(_COMMAND):
        name = text.removeprefix(_COMMAND).partition(". ")[0].strip("'.")
        near = _nearest(name, ctx.command.commands)
        return f"{command} has no command {name!r}.{near} `{command} --help` lists them all"
    if extra := _EXTRA.fullmatch(text):
        return f"{command}: {extra[1]!r} is too much; `{command} --help` says what it takes"
    if text.startswith(_MISSING):
        return f"{command}: {_quoted(text)} is missing; `{command} --help` says what it is"
    if hasattr(error, "option_name"):
        return f"{error.option_name} {'needs a value' if 'requires' in text else 'takes no value'}"
    return _of_value(error, text) if text.startswith(_VALUE) else text


def _quoted(text: str) -> str:
    return text.partition("'")[2].rpartition("'")[0]


def _options(ctx: Any) -> list[str]:
    return [name for param in ctx.command.params for name in (*param.opts, *param.secondary_opts) if name[0] == "-"]


def _nearest(word: str, known: Iterable[str]) -> str:
    from cifarsweep.spec.validation import nearest

    return nearest(word, known)


def _of_value(error: Any, text: str) -> str:
    """A value that is none for its option or argument: by pydantic, which Typer asks, or by us."""
    hint = text.removesuffix(error.message).removeprefix(_VALUE).removeprefix(" for ").replace("'", "")
    where = _VARIABLE.sub(r" or $\1", hint).removeprefix(": ")
    if not hasattr(error.__cause__, "errors"):
        return f"{where}{error.message}"
    from cifarsweep.spec.validation import value_sentence

    return f"{where}{value_sentence(error.__cause__.errors(include_url=False)[0])}"
