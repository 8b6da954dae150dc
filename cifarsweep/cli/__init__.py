"""The command line: parse, build, call, print. Commands import heavy modules themselves, so that others start fast."""

from cifarsweep.cli.main import main

__all__ = ["main"]
