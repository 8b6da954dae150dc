"""What is counted, what is in a mean, and how cells are told apart."""

from typing import Any

import pytest
from support.studies import WAITING

from cifarsweep.analysis.outcomes import FallenOut
from cifarsweep.analysis.results import best, cell_results, state_counts


def test_a_mean_is_of_the_runs_that_trained(mixed: Any) -> None:
    plain, skip = cell_results(mixed)

    assert plain.accuracy is not None and plain.accuracy.mean == pytest.approx(0.8)
    assert (plain.done, plain.fell_out, plain.failed) == (2, FallenOut(1, 2), 1)
    assert skip.accuracy is not None and skip.accuracy.interval is None
    assert (skip.done, skip.seconds) == (1, 20.0)
    assert best([plain, skip]) is plain


def test_every_state_is_counted(mixed: Any) -> None:
    assert state_counts(mixed) == {
        "queued": 2,
        "leased": 0,
        "done": 3,
        "failed": 1,
        "poisoned": 0,
        "paused": 0,
        "cancelled": 0,
    }


def test_nothing_is_best_before_a_trial_is_done(make: Any) -> None:
    study = make.study({})

    assert best(cell_results(make.report(study, [make.trial(0, "base", 0, **WAITING)]))) is None
