"""cifarsweep answers questions about training image classifiers with evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cifarsweep.trial import trial
from cifarsweep.version import __version__

if TYPE_CHECKING:
    from cifarsweep.notebook import open

__all__ = ["__version__", "open", "trial"]


def __getattr__(name: str) -> Any:
    # The command line imports this module as well, and must not wait for a database's libraries.
    if name == "open":
        from cifarsweep.notebook import open

        return open
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
