"""Every number comes back, bit for bit, on every database."""

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scenes import make_study, must_claim, rows_at

from cifarsweep.spec.words import MetricRow
from cifarsweep.store import Store
from cifarsweep.store.series import Series

AWKWARD = [math.nan, math.inf, -math.inf, -0.0, 0.0, 5e-324, 1e308, 0.1, 1 / 3, 2.0**53 + 2, -1.0]


def bits(values: object) -> list[str]:
    return ["nan" if math.isnan(value) else float(value).hex() for value in values]  # type: ignore[attr-defined]


def written_and_read(store: Store, values: list[float]) -> Series:
    lease = store.rewind(must_claim_first(store), 0)
    store.release(lease, [MetricRow("m", step, value) for step, value in enumerate(values, start=1)], None)
    return store.metrics("s", ["m"])[0, "m"]


def must_claim_first(store: Store) -> object:
    lease = must_claim(store)
    assert lease.number == 0
    return lease


def test_awkward_numbers_survive(busy_store: Store) -> None:
    steps, values = written_and_read(busy_store, AWKWARD)

    assert bits(values) == bits(AWKWARD)
    assert steps.tolist() == list(range(1, len(AWKWARD) + 1))
    assert (steps.dtype, values.dtype) == (np.int64, np.float64)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=50))
def test_any_number_survives(busy_store: Store, values: list[float]) -> None:
    assert bits(written_and_read(busy_store, values)[1]) == bits(values)


def test_series_come_by_trial_and_name_in_order_of_steps(busy_store: Store) -> None:
    first, second = must_claim(busy_store), must_claim(busy_store)
    busy_store.write(first, [*rows_at(3, 1, 2), *rows_at(5, name="val/loss")])
    busy_store.write(second, rows_at(7, name="val/loss"))

    found = busy_store.metrics("s", ["train/loss", "val/loss", "never"])

    assert {key: steps.tolist() for key, (steps, _) in found.items()} == {
        (0, "train/loss"): [1, 2, 3],
        (0, "val/loss"): [5],
        (1, "val/loss"): [7],
    }


def test_other_studies_stay_out(busy_store: Store) -> None:
    busy_store.create_study(make_study(1, 1, name="other"))
    lease = busy_store.claim("w", studies=["other"])
    assert lease is not None
    busy_store.write(lease, rows_at(1))

    assert busy_store.metrics("s", ["train/loss"]) == {}
    assert list(busy_store.metrics("other", ["train/loss"])) == [(0, "train/loss")]


def test_awkward_numbers_survive_among_many(busy_store: Store) -> None:
    values = AWKWARD * 60

    assert bits(written_and_read(busy_store, values)[1]) == bits(values)


def test_many_rows_that_are_sent_again_are_there_once(busy_store: Store) -> None:
    lease = must_claim(busy_store)
    rows = [
        MetricRow(f"\N{GREEK SMALL LETTER LAMDA}{place % 3}", place, value) for place, value in enumerate(AWKWARD * 60)
    ]
    busy_store.write(lease, rows)  # committed, but suppose that the worker never learnt

    busy_store.write(lease, [*rows, MetricRow("more", 1, 0.5)])

    found = busy_store.metrics("s", [*{row.name for row in rows}, "more"])
    assert sum(len(steps) for steps, _ in found.values()) == len(rows) + 1


def test_many_rows_in_one_write(busy_store: Store) -> None:
    rows = [MetricRow(f"m{place % 7}", place // 7, place / 7) for place in range(20_000)]

    busy_store.write(must_claim(busy_store), rows)

    found = busy_store.metrics("s", [f"m{place}" for place in range(7)])
    assert sum(len(steps) for steps, _ in found.values()) == 20_000
    assert found[0, "m3"][1][10] == pytest.approx(73 / 7)
