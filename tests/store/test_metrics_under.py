"""Metrics with many names and one row of each are read by the beginning of their names."""

from scenes import must_claim, rows_at

from cifarsweep.spec.metrics import CONFUSION
from cifarsweep.spec.types import MetricRow
from cifarsweep.store import Store


def test_counts_come_by_trial_and_only_theirs(busy_store: Store) -> None:
    first, second = must_claim(busy_store), must_claim(busy_store)
    busy_store.queue.write(first, [MetricRow(f"{CONFUSION}0/0", 9, 7.0), MetricRow(f"{CONFUSION}10/2", 9, 3.0)])
    # Their names stand right before and right behind the others in the order of texts.
    busy_store.queue.write(second, [*rows_at(9, name="val/confusion"), *rows_at(9, name="val/confusion0")])

    assert busy_store.metrics.read_prefix("s", CONFUSION, [0, 1]) == {
        0: {f"{CONFUSION}0/0": 7.0, f"{CONFUSION}10/2": 3.0}
    }
    assert busy_store.metrics.read_prefix("s", CONFUSION, [1]) == {}
