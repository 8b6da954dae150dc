"""The command line: parse, build, call, print. Everything heavy is imported inside the command that needs it."""

from cifarsweep.cli.main import main

__all__ = ["main"]
