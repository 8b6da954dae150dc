"""The result database: studies, the queue of trials, metrics, and Optuna's view of them. Never imports torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cifarsweep.store.store import Store

__all__ = ["Store"]


def __getattr__(name: str) -> Any:
    # SQLAlchemy imports slower than `cifarsweep --help` may take, so it is imported when a database is opened.
    if name == "Store":
        from cifarsweep.store.store import Store

        return Store
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
