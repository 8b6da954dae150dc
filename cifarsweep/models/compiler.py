"""Uses torch without its compiler, whose import takes 1 to 3 seconds."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any


def skip_compiler_import(*functions: Callable[..., Any]) -> None:
    """Mark functions of torch as excluded from compiled code, which torch does through the compiler at a first call."""
    for function in functions:
        plain = inspect.unwrap(function)
        vars(plain).setdefault("__dynamo_disable", plain)
