"""A fork server: processes that begin with all modules of a worker, as processes of their own."""

from __future__ import annotations

import multiprocessing
import os
import sys
from functools import cache
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from unittest import mock

#: What a worker imports on its way, and what the tests around it do; what is not on the path of a test run is left out.
_MODULES = [
    "alembic.command",
    "alembic.migration",
    "optuna.storages._rdb.models",
    "optuna.storages._rdb.storage",
    "psycopg",
    "rich.progress",
    "sqlalchemy.orm",
    "cifarsweep.cli.app",
    "cifarsweep.cli.screen",
    "cifarsweep.store.admin.check",
    "cifarsweep.store.optuna_view.projection",
    "cifarsweep.worker.claims",
    "cifarsweep.worker.launch.local",
    "cifarsweep.worker.precheck",
    "cifarsweep.worker.supervisor",
    "scenes",
    "victim",
]


@cache
def forks() -> ForkServerContext:
    """Start the server: it imports once what every process that is spawned would import for itself, in 2 s."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_MODULES)
    # It imports them before it is told our path, and says nothing of those that it does not find.
    with mock.patch.dict(os.environ, {"PYTHONPATH": os.pathsep.join(sys.path)}):
        forkserver.ensure_running()
    return context
