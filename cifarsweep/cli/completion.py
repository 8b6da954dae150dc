"""What the shell offers after Tab: names of studies and trials of the database, of shipped studies, and of settings.

It is asked while somebody types: it never raises, prints nothing, and offers nothing where the answer takes long.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from threading import Thread

import typer

#: How long a database may take. Seconds.
_PATIENCE_S = 2.0
#: Trials of one study that are offered.
_MOST_TRIALS = 200


def studies(context: typer.Context, incomplete: str) -> list[str]:
    """Offer the studies of the database."""
    return _beginning(_names(context), incomplete)


def targets(context: typer.Context, incomplete: str) -> list[str]:
    """Offer studies, and after a slash the trials of one."""
    return _trials(context, incomplete) if "/" in incomplete else studies(context, incomplete)


def trials(context: typer.Context, incomplete: str) -> list[str]:
    """Offer the trials of the one study that matches, or else the studies that do."""
    if "/" in incomplete:
        return _trials(context, incomplete)
    found = studies(context, incomplete)
    return _trials(context, f"{found[0]}/") if len(found) == 1 else [f"{name}/" for name in found]


def shipped(incomplete: str) -> list[str]:
    """Offer the studies that ship."""

    def names() -> list[str]:
        from cifarsweep.spec.reader import shipped

        return [path.stem for path in shipped()]

    return _beginning(_quietly(names), incomplete)


def settings(incomplete: str) -> list[str]:
    """Offer the settings, and their tables."""

    def keys() -> list[str]:
        from cifarsweep.spec.settings import setting_keys

        found = setting_keys()
        return sorted({*found, *(key.rpartition(".")[0] for key in found if "." in key)})

    return _beginning(_quietly(keys), incomplete)


def _beginning(names: list[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def _names(context: typer.Context) -> list[str]:
    def names() -> list[str]:
        from cifarsweep.store import Store

        with Store.open(_database(context), read_only=True) as store:
            return store.studies.names()

    return _quietly(names)


def _trials(context: typer.Context, incomplete: str) -> list[str]:
    study = incomplete.rpartition("/")[0]

    def numbers() -> list[str]:
        from cifarsweep.store import Store

        with Store.open(_database(context), read_only=True) as store:
            (found,) = store.studies.status(study)
        return [f"{study}/{number}" for number in range(sum(found.trials.values()))]

    return _beginning(_quietly(numbers), incomplete)[:_MOST_TRIALS]


def _database(context: typer.Context) -> str:
    """The one that the line names so far, or else the variable, or the default."""
    return str(context.params["db"])


def _quietly(work: Callable[[], list[str]]) -> list[str]:
    """Return the answer; none where there is an error, or where it takes too long."""
    found: list[str] = []

    def ask() -> None:
        with suppress(Exception):
            found.extend(work())

    # A daemon thread: a database that does not answer must not hold the prompt.
    thread = Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_PATIENCE_S)
    return [] if thread.is_alive() else found
