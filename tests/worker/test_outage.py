"""Riding out a database that is away."""

import logging

from cifarsweep.errors import StoreUnavailable
from cifarsweep.worker.outage import GIVE_UP_S, OutageBackoff

AWAY = StoreUnavailable("postgresql://box/results: can't be reached")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_pauses_grow_up_to_a_limit():
    clock = Clock()
    backoff = OutageBackoff(clock, longest_s=8.0)
    pauses = []

    for _ in range(12):
        backoff.record_failure(AWAY)
        start = clock.now
        while not backoff.ready():
            clock.now += 0.05
        pauses.append(clock.now - start)

    assert pauses[0] < 1.0 < pauses[6]
    assert 4.0 <= max(pauses) <= 1.5 * 8.0 + 0.1


def test_who_is_about_to_end_tries_at_once_and_every_second():
    clock = Clock()
    backoff = OutageBackoff(clock)
    for _ in range(9):
        backoff.record_failure(AWAY)

    backoff.shorten()

    assert backoff.ready()
    backoff.record_failure(AWAY)
    clock.now += 1.5
    assert backoff.ready()


def test_one_success_ends_the_outage():
    backoff = OutageBackoff(Clock())
    backoff.record_failure(AWAY)

    backoff.record_success()

    assert not backoff.gave_up and backoff.ready()


def test_patience_ends_after_half_an_hour_of_outage_and_not_of_work():
    clock = Clock()
    backoff = OutageBackoff(clock)
    clock.now = 10 * GIVE_UP_S
    backoff.record_failure(AWAY)
    assert not backoff.gave_up

    clock.now += GIVE_UP_S + 1

    assert backoff.gave_up


def test_an_outage_is_two_lines_however_many_tries(caplog):
    caplog.set_level(logging.INFO, logger="cifarsweep")
    clock = Clock()
    backoff = OutageBackoff(clock)
    backoff.record_success()

    for _ in range(5):
        backoff.record_failure(AWAY)
        clock.now += 18
    backoff.record_success()
    backoff.record_success()

    assert caplog.messages == [
        "the database is away, training goes on without it: postgresql://box/results: can't be reached",
        "the database is back after 90 s",
    ]
