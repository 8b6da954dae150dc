"""A campaign against twins: two studies of the same trials, and workers killed where one takes over from the other."""

from __future__ import annotations

from against_workers import Counts, was_killed
from fleet import Fleet, Worker, wait_for
from oracle import Broken, undisturbed
from places import Place, study_of
from siege import judge, takeovers

from cifarsweep.spec.study import Study

#: A worker passes these when it takes a trial over: the end and the copy of rows are of one transaction.
_COPIES = ("before copy", "after copy", "before commit copy", "after commit copy")
#: It passes these with a trial that another worker may wait for.
_ENDS = ("before claim", "after commit claim", "before commit point", "before commit finish", "after commit finish")
POINTS = (*_COPIES, *_ENDS)
_TRIALS = 2


def kills_at_points(place: Place, *, points: int | None = None) -> Counts:
    """A worker killed at every point of the way of a trial and its twin, each in studies of its own.

    Where it is killed before the copy, another worker stands by, which waits for what the victim trains. `points` of
    them by chance, or all. Raises Broken where a trial was trained twice though nobody was killed with it.
    """
    wanted = POINTS if points is None else tuple(place.chance.sample(POINTS, points))
    counts: Counts = {"points": len(wanted), "points reached": 0, "taken over": 0, "reused": 0}
    with place.open() as store:
        for point in wanted:
            twins = _twins(point)
            with Fleet(place) as fleet:
                for spec in twins:
                    store.studies.create(spec)
                victim = _victim(fleet, point, twins)
                if point in _ENDS:
                    _stand_by(fleet, twins)
                wait_for(lambda dying=victim: not dying.alive, fleet, f"the end at {point}")
                counts["points reached"] += was_killed(victim)
                _stand_by(fleet, twins)
                fleet.finish()
            for spec in twins:
                judge(place, store, spec.name, undisturbed(spec))
                counts["taken over"] += takeovers(store, spec.name)
            reused = sum(row.reused_steps > 0 for spec in twins for row in store.trials.all(spec.name))
            if reused != _TRIALS:
                raise Broken(f"{point}: {reused} of {_TRIALS} pairs were trained once")
            counts["reused"] += reused
    return counts


def _twins(point: str) -> tuple[Study, Study]:
    one = study_of(_TRIALS, point.replace(" ", "-"))
    return one, one.model_copy(update={"name": f"{one.name}-again"})


def _of(twins: tuple[Study, Study]) -> list[str]:
    return [word for spec in twins for word in ("--study", spec.name)]


def _victim(fleet: Fleet, point: str, twins: tuple[Study, Study]) -> Worker:
    nth = 1 if point in _ENDS else fleet.place.chance.randint(1, _TRIALS)
    return fleet.start(*_of(twins), env={"CHAOS_STEP_S": "0.02"}, sabotage=fleet.sabotage(point, "kill", nth))


def _stand_by(fleet: Fleet, twins: tuple[Study, Study]) -> Worker:
    return fleet.start(*_of(twins), env={"CHAOS_STEP_S": "0.02"})
