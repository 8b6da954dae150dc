"""Riding out a database that is away."""

from cifarsweep.errors import StoreUnavailable
from cifarsweep.worker.outage import GIVE_UP_S, OutageBackoff

AWAY = StoreUnavailable("postgresql://box/results: can't be reached")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_pauses_grow_up_to_a_limit():
    clock = Clock()
    patience = OutageBackoff(clock, [].append, longest_s=8.0)
    pauses = []

    for _ in range(12):
        patience.failed(AWAY)
        start = clock.now
        while not patience.may_try():
            clock.now += 0.05
        pauses.append(clock.now - start)

    assert pauses[0] < 1.0 < pauses[6]
    assert 4.0 <= max(pauses) <= 1.5 * 8.0 + 0.1


def test_who_is_about_to_end_tries_at_once_and_every_second():
    clock = Clock()
    patience = OutageBackoff(clock, [].append)
    for _ in range(9):
        patience.failed(AWAY)

    patience.hurry()

    assert patience.may_try()
    patience.failed(AWAY)
    clock.now += 1.5
    assert patience.may_try()


def test_one_success_ends_the_outage():
    patience = OutageBackoff(Clock(), [].append)
    patience.failed(AWAY)

    patience.succeeded()

    assert not patience.exhausted and patience.may_try()


def test_patience_ends_after_half_an_hour_of_outage_and_not_of_work():
    clock = Clock()
    patience = OutageBackoff(clock, [].append)
    clock.now = 10 * GIVE_UP_S
    patience.failed(AWAY)
    assert not patience.exhausted

    clock.now += GIVE_UP_S + 1

    assert patience.exhausted


def test_an_outage_is_two_lines_however_many_tries():
    clock, notes = Clock(), []
    patience = OutageBackoff(clock, notes.append)
    patience.succeeded()

    for _ in range(5):
        patience.failed(AWAY)
        clock.now += 18
    patience.succeeded()
    patience.succeeded()

    assert notes == [
        "the database is away, training goes on without it: postgresql://box/results: can't be reached",
        "the database is back after 90 s",
    ]
