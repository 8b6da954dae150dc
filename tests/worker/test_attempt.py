"""What a worker does for a trial whose last workers vanished."""

from unittest.mock import MagicMock

import pytest

from cifarsweep.spec.settings import Settings
from cifarsweep.store.records import Lease
from cifarsweep.worker.attempt import Attempt


@pytest.fixture
def attempt():
    """Makes an attempt at a trial with which so many workers vanished."""

    def make(takeovers):
        settings = Settings(dataset="digits", epochs=1)
        lease = Lease(1, "s", "s-1", 3, "c", 0, settings, takeovers + 1, 0, (), 60.0, takeovers)
        context = MagicMock()
        context.config.save_every_s = 60.0
        return Attempt(0, lease, context)

    return make


@pytest.mark.parametrize(("takeovers", "first_save_s"), [(0, None), (1, 2.0), (9, 2.0)])
def test_the_first_checkpoint_after_a_takeover_comes_within_seconds(attempt, takeovers, first_save_s):
    request = attempt(takeovers).request()

    assert (request.first_save_s, request.save_every_s) == (first_save_s, 60.0)


@pytest.mark.parametrize(("takeovers", "warned"), [(0, False), (4, False), (5, True)])
def test_who_takes_a_trial_that_many_workers_vanished_with_says_so(attempt, caplog, takeovers, warned):
    attempt(takeovers).announce()

    notes = caplog.messages
    assert bool(notes) is warned
    assert not warned or ("5 workers in a row vanished" in notes[0] and "`cifarsweep cancel s/3`" in notes[0])
