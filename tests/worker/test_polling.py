"""Pauses of idle workers, in virtual time: whoever polls checks the leases where nobody has for a second."""

import heapq
import random

import pytest

from cifarsweep.worker.polling import LONGEST_PAUSE_S, PollPauses

#: From a poll to its answer, and how long after another a check of all leases is made.
ANSWER_S, CHECK_EVERY_S = 0.01, 1.0


def polls(workers: int, until: float, leaves_at: float = float("inf"), beat_s: float = 10.0) -> list[float]:
    """The moments at which so many idle workers poll; the one who checks first after `leaves_at` is gone then."""
    due = [(random.random(), PollPauses(beat_s)) for _ in range(workers)]  # noqa: S311
    queue = [(at, place) for place, (at, _) in enumerate(due)]
    heapq.heapify(queue)
    checked, found = float("-inf"), []
    while queue and queue[0][0] < until:
        now, place = heapq.heappop(queue)
        found.append(now)
        alone = now - checked > CHECK_EVERY_S
        checked = now if alone else checked
        if alone and now > leaves_at:
            leaves_at = float("inf")
            continue
        heapq.heappush(queue, (now + ANSWER_S + due[place][1].next(alone=alone), place))
    return found


def longest_gap(moments: list[float]) -> float:
    return max(after - before for before, after in zip(moments, moments[1:], strict=False))


@pytest.fixture(autouse=True, params=range(5))
def seeded(request: pytest.FixtureRequest) -> None:
    random.seed(request.param)


@pytest.mark.parametrize("workers", [1, 2, 3, 10, 100])
def test_somebody_polls_each_second_or_two_however_many_wait(workers: int) -> None:
    assert longest_gap(polls(workers, 600.0)) <= 2.5


@pytest.mark.parametrize("workers", [1, 10, 1000])
def test_the_others_poll_rarely(workers: int) -> None:
    last_minutes = [moment for moment in polls(workers, 300.0) if moment > 60.0]

    # One polls each second; the others every ten, a few of them after a second as nobody was before them then.
    assert len(last_minutes) / 240.0 <= 1.0 + 1.2 * workers / LONGEST_PAUSE_S


def test_after_the_one_that_polled_each_second_another_comes_within_a_longest_pause() -> None:
    moments = polls(2, 200.0, leaves_at=100.0)

    assert longest_gap(moments) <= 1.25 * LONGEST_PAUSE_S + ANSWER_S
    assert longest_gap([moment for moment in moments if moment > 100.0 + 2 * LONGEST_PAUSE_S]) <= 1.1


def test_short_beats_keep_pauses_short() -> None:
    assert longest_gap([0.0, *polls(5, 60.0, beat_s=0.2)]) <= 1.3
    pauses = PollPauses(0.2)
    assert max(pauses.next(alone=False) for _ in range(50)) <= 1.25


def test_a_trial_makes_pauses_short_again() -> None:
    pauses = PollPauses(10.0)
    grown = [pauses.next(alone=False) for _ in range(20)][-1]

    pauses.reset()

    assert pauses.next(alone=False) < 2.0 < 7.0 < grown
    assert pauses.next(alone=True) == 1.0
