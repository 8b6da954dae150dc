"""Commands that refuse an option whose value is empty."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand

_Function = TypeVar("_Function", bound=Callable[..., Any])


class Command(TyperCommand):
    """One command. A variable that is not set makes `--hosts "$HOSTS"` empty, which is not to mean "here"."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the command line. Raises BadParameter for an option that is given without a text."""
        if not ctx.resilient_parsing:
            given, _, _ = self.make_parser(ctx).parse_args(args=list(args))
            for option in self.params:
                if option.param_type_name == "option" and _has_empty(given.get(option.name)):
                    name = max(option.opts, key=len)
                    raise typer.BadParameter(f"{name} is empty; give it a value, or leave it out")
        return super().parse_args(ctx, args)


class Application(typer.Typer):
    """A Typer application whose commands are of that class."""

    def command(self, name: str | None = None, **more: Any) -> Callable[[_Function], _Function]:
        """Register a command, as Typer does."""
        return super().command(name, cls=Command, **more)


def _has_empty(value: object) -> bool:
    return any(map(_has_empty, value)) if isinstance(value, list | tuple) else value == ""
