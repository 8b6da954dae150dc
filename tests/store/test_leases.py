"""Leases, clocks, and what an import costs."""

import subprocess
import sys
import time

import pytest

from cifarsweep.errors import StoreError
from cifarsweep.store import leases
from cifarsweep.store.leases import Timing


def test_a_lease_lasts_a_minute_and_is_renewed_every_ten_seconds() -> None:
    assert Timing.from_env({}) == Timing(lease_s=60, beat_s=10)


def test_the_environment_sets_both() -> None:
    assert Timing.from_env({"CIFARSWEEP_LEASE": "30", "CIFARSWEEP_BEAT": "2.5"}) == Timing(30, 2.5)


def test_the_beat_follows_a_short_lease() -> None:
    assert Timing.from_env({"CIFARSWEEP_LEASE": "1.2"}) == Timing(1.2, pytest.approx(0.2))


@pytest.mark.parametrize("text", ["soon", "0", "-1", "nan", "inf", "1e9"])
@pytest.mark.parametrize("name", ["CIFARSWEEP_LEASE", "CIFARSWEEP_BEAT"])
def test_what_is_no_time_is_refused_by_name(name: str, text: str) -> None:
    with pytest.raises(StoreError, match=rf"\${name}: '{text}' is not a number of seconds"):
        Timing.from_env({name: text})


def test_a_beat_longer_than_half_the_lease_is_refused() -> None:
    with pytest.raises(StoreError, match="two beats or more"):
        Timing.from_env({"CIFARSWEEP_LEASE": "10", "CIFARSWEEP_BEAT": "6"})


def test_the_machine_clock_goes_on_and_names_its_boot() -> None:
    outside = time.monotonic()
    before = leases.machine_now()
    time.sleep(0.01)
    passed_s = leases.machine_now() - before

    assert 0.01 <= passed_s <= time.monotonic() - outside + 0.01
    assert leases.machine_clock() == leases.machine_clock() != ""


def test_without_a_boot_id_the_wall_clock_serves(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setattr(leases, "_BOOT_ID", tmp_path / "none")  # type: ignore[operator]
    leases.machine_clock.cache_clear()
    try:
        assert leases.machine_clock() == "wall"
        before = time.time()
        assert before <= leases.machine_now() <= time.time()
    finally:
        leases.machine_clock.cache_clear()


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("cifarsweep.store", {"sqlalchemy", "optuna", "alembic", "torch"}),
        ("cifarsweep.store.records", {"sqlalchemy", "optuna", "alembic", "torch"}),
        ("cifarsweep.store.store", {"optuna", "alembic", "torch", "psycopg"}),
    ],
)
def test_imports_stay_cheap(module: str, absent: set[str]) -> None:
    command = [sys.executable, "-c", f"import {module}, sys; print(*sys.modules)"]

    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    assert not absent & set(loaded)
