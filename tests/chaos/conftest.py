"""One PostgreSQL server for all campaigns, and a place for each."""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from places import Place, Postgres, postgres_place, sqlite_place


@pytest.fixture(scope="session")
def server() -> Iterator[Postgres]:
    started = Postgres(Path(tempfile.mkdtemp(prefix="cs-chaos-pg-")))
    yield started
    started.close()


@pytest.fixture
def place_on(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Place]:
    """Makes a place on the backend of that name."""

    def make(backend: str, **more: object) -> Place:
        seed = zlib.crc32(request.node.name.encode()) % 10_000
        print(f"seed {seed}")
        if backend == "sqlite":
            return sqlite_place(tmp_path, seed, **more)
        return postgres_place(tmp_path, seed, request.getfixturevalue("server"), **more)

    return make


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, place_on: Callable[..., Place]) -> Place:
    """A database with tables, on either backend."""
    return place_on(request.param)
