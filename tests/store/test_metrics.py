"""Every number comes back, bit for bit, on every database."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import make_study, must_claim, rows_at
from sqlalchemy import text

from cifarsweep.errors import StoreError
from cifarsweep.spec.metrics import CONFUSION
from cifarsweep.spec.types import MetricRow
from cifarsweep.store import Store, metrics, sqlite
from cifarsweep.store.records import Series

AWKWARD = [math.nan, math.inf, -math.inf, -0.0, 0.0, 5e-324, 1e308, 0.1, 1 / 3, 2.0**53 + 2, -1.0]


def bits(values: object) -> list[str]:
    return ["nan" if math.isnan(value) else float(value).hex() for value in values]  # type: ignore[attr-defined]


def written_and_read(store: Store, values: list[float]) -> Series:
    lease = store.queue.rewind(must_claim_first(store), 0)
    store.queue.release(lease, [MetricRow("m", step, value) for step, value in enumerate(values, start=1)], None)
    return store.metrics.read("s", ["m"])[0, "m"]


def must_claim_first(store: Store) -> object:
    lease = must_claim(store)
    assert lease.number == 0
    return lease


def test_awkward_numbers_survive(busy_store: Store) -> None:
    steps, values = written_and_read(busy_store, AWKWARD)

    assert bits(values) == bits(AWKWARD)
    assert steps.tolist() == list(range(1, len(AWKWARD) + 1))
    assert (steps.dtype, values.dtype) == (np.int64, np.float64)


@settings(max_examples=30)
@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=50))
def test_any_number_survives(busy_store: Store, values: list[float]) -> None:
    assert bits(written_and_read(busy_store, values)[1]) == bits(values)


def test_series_come_by_trial_and_name_in_order_of_steps(busy_store: Store) -> None:
    first, second = must_claim(busy_store), must_claim(busy_store)
    busy_store.queue.write(first, [*rows_at(3, 1, 2), *rows_at(5, name="val/loss")])
    busy_store.queue.write(second, rows_at(7, name="val/loss"))

    found = busy_store.metrics.read("s", ["train/loss", "val/loss", "never"])

    assert {key: steps.tolist() for key, (steps, _) in found.items()} == {
        (0, "train/loss"): [1, 2, 3],
        (0, "val/loss"): [5],
        (1, "val/loss"): [7],
    }


def test_other_studies_stay_out(busy_store: Store) -> None:
    busy_store.studies.create(make_study(1, 1, name="other"))
    lease = busy_store.queue.claim("w", studies=["other"])
    assert lease is not None
    busy_store.queue.write(lease, rows_at(1))

    assert busy_store.metrics.read("s", ["train/loss"]) == {}
    assert list(busy_store.metrics.read("other", ["train/loss"])) == [(0, "train/loss")]


def test_awkward_numbers_survive_among_many(busy_store: Store) -> None:
    values = AWKWARD * 60

    assert bits(written_and_read(busy_store, values)[1]) == bits(values)


def test_many_rows_that_are_sent_again_are_there_once(busy_store: Store) -> None:
    lease = must_claim(busy_store)
    rows = [
        MetricRow(f"\N{GREEK SMALL LETTER LAMDA}{place % 3}", place, value) for place, value in enumerate(AWKWARD * 60)
    ]
    busy_store.queue.write(lease, rows)  # committed, but suppose that the worker never learnt

    busy_store.queue.write(lease, [*rows, MetricRow("more", 1, 0.5)])

    found = busy_store.metrics.read("s", [*{row.name for row in rows}, "more"])
    assert sum(len(steps) for steps, _ in found.values()) == len(rows) + 1


def test_many_rows_in_one_write(busy_store: Store) -> None:
    rows = [MetricRow(f"m{place % 7}", place // 7, place / 7) for place in range(20_000)]

    busy_store.queue.write(must_claim(busy_store), rows)

    found = busy_store.metrics.read("s", [f"m{place}" for place in range(7)])
    assert sum(len(steps) for steps, _ in found.values()) == 20_000
    assert found[0, "m3"][1][10] == pytest.approx(73 / 7)


def test_series_are_the_same_however_many_are_read_at_once(busy_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    written = {}
    for number, lengths in enumerate([{"a": 3, "b": 40, "c": 1}, {"b": 2}, {"a": 11, "c": 5}, {"a": 1}]):
        lease = must_claim(busy_store)
        for name, length in lengths.items():
            written[number, name] = (AWKWARD * 4)[:length]
            lease = busy_store.queue.write(lease, [MetricRow(name, *row) for row in enumerate(written[number, name])])
    for trials, rows in ((100, 100_000), (1, 1), (2, 12), (3, 20)):
        monkeypatch.setattr(metrics, "_PAGE", trials)
        monkeypatch.setattr(sqlite, "_ROWS", rows)

        found = busy_store.metrics.read("s", ["a", "b", "c"])

        assert {key: bits(values) for key, (_, values) in found.items()} == {
            key: bits(values) for key, values in written.items()
        }
        assert all(steps.tolist() == list(range(len(values))) for steps, values in found.values())


def test_rows_are_counted_by_trial(busy_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_FEW", 1)
    busy_store.queue.write(must_claim(busy_store), [*rows_at(3, 1, 2), *rows_at(5, name="val/loss")])
    busy_store.queue.write(must_claim(busy_store), rows_at(7, name="val/loss"))

    assert busy_store.metrics.row_counts("s", ["train/loss", "val/loss"], [0, 1, 2]) == {0: 4, 1: 1, 2: 0}
    assert busy_store.metrics.row_counts("s", ["train/loss"], [1]) == {1: 0}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("kind = 'huge'", "kind is 'huge', which must be one of nan, inf, -inf, -0"),
        ("value = 'much'", "step is 2 and value 'much', where both must be numbers"),
        ("step = 'two'", "step is 'two' and value 0.5, where both must be numbers"),
    ],
)
def test_a_row_that_is_no_number_is_one_sentence(busy_store: Store, change: str, says: str) -> None:
    if busy_store.shown_url.startswith("postgresql") and "kind" not in change:
        pytest.skip("a column of numbers holds nothing else there")
    must_claim(busy_store)
    busy_store.queue.write(must_claim(busy_store), [MetricRow("m", step, 0.5) for step in range(5)])
    busy_store._db.write(lambda conn: conn.execute(text(f"UPDATE cs_metric SET {change} WHERE step = 2")))  # noqa: S608

    with pytest.raises(StoreError) as caught:
        busy_store.metrics.read("s", ["m"])

    assert str(caught.value).startswith(f"study 's', trial 1: cs_metric has a row of 'm' whose {says}")


def test_counts_come_by_trial_and_only_theirs(busy_store: Store) -> None:
    first, second = must_claim(busy_store), must_claim(busy_store)
    busy_store.queue.write(first, [MetricRow(f"{CONFUSION}0/0", 9, 7.0), MetricRow(f"{CONFUSION}10/2", 9, 3.0)])
    # Their names stand right before and right behind the others in the order of texts.
    busy_store.queue.write(second, [*rows_at(9, name="val/confusion"), *rows_at(9, name="val/confusion0")])

    assert busy_store.metrics.read_prefix("s", CONFUSION, [0, 1]) == {
        0: {f"{CONFUSION}0/0": 7.0, f"{CONFUSION}10/2": 3.0}
    }
    assert busy_store.metrics.read_prefix("s", CONFUSION, [1]) == {}
