"""The simulation of shared steps, in small: it trains each step once, in an order that could be."""

import importlib
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
BOTH = ("resnet18-baseline", "resnet18-phases-study")


@pytest.fixture(scope="module")
def bench():
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(FOLDER)
        return importlib.import_module("reuse")


@pytest.fixture(scope="module")
def queues(bench):
    return bench.created(BOTH, reuse=False), bench.created(BOTH)


def left(queue):
    return sum(trial.work(trial.first, trial.steps) for trial in queue.trials.values())


def test_two_studies_share_what_they_have_in_common(queues):
    """The arms of the phases begin with 50 epochs of the baseline, and one of them is the baseline."""
    plain, shared = queues

    assert left(plain) == pytest.approx(500e15, rel=1e-3)
    assert left(shared) / left(plain) == pytest.approx(0.65, rel=1e-2)
    assert {trial.steps - trial.first for trial in shared.trials.values()} == {39_200, 29_400, 0}


@pytest.mark.parametrize("workers", [1, 4, 16])
def test_a_makespan_is_not_below_its_bound_and_not_above_that_without_reuse(bench, queues, workers):
    plain, shared = queues
    longest = max(trial.work(0, trial.steps) for trial in plain.trials.values())

    span = bench.makespan(shared.trials, shared.waiting_steps, workers)

    assert (
        max(left(shared) / workers, longest) * (1 - 1e-9)
        <= span
        <= bench.makespan(plain.trials, {}, workers) * (1 + 1e-9)
    )


def test_one_worker_trains_all_that_is_left(bench, queues):
    for queue in queues:
        assert bench.makespan(queue.trials, queue.waiting_steps, 1) == pytest.approx(left(queue))


def test_the_table_has_a_row_a_study_and_one_for_all(bench):
    rows = list(bench.table(["demo", "resnet18-baseline", "lr-search"]))
    assert [row.split(" | ")[0] for row in rows[2:]] == ["| demo", "| resnet18-baseline", "| all together"]
    assert rows[2].startswith("| demo | 12 | 6,660, 6,660 | 0.0, 0.0 (+0.0%) | +0% (+0%) |")
