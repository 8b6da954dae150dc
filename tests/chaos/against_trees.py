"""Campaigns against trees: trials that begin with the steps of another one, killed at every point around that."""

from __future__ import annotations

from collections.abc import Sequence

import chain_child
import sabotage
from against_workers import Counts, Killer, was_killed
from fleet import Fleet, Worker, wait_for
from oracle import Broken, Run, Runs, as_hex
from places import Place
from siege import besiege, judge, plain, takeovers
from sqlalchemy import func, select
from support.child import undisturbed_in_tree

from cifarsweep.spec.links import Candidate, Plan
from cifarsweep.spec.settings import Schedule, Settings
from cifarsweep.spec.study import Cell, Study
from cifarsweep.store import Store
from cifarsweep.store.schema import branch
from cifarsweep.training.sharing import TrainingImages, plan

#: The phases of each arm and its epochs, of 6 steps each: two trunks, branches of both at both ends of an epoch, and
#: one that is no more than the beginning of another one.
_ARMS = {
    "trunk": ((), 3),
    "half": (("1-2 x0.5",), 3),
    "late": (("2-3 x0.5",), 3),
    "later still": (("2-3 x2",), 3),
    "high": (("1-3 x2",), 3),
    "high, then low": (("1-2 x2",), 3),
    "short": ((), 2),
}
#: A worker passes these with the first trials of a tree: it records a checkpoint for others, takes rows over, records a
#: checkpoint of its own, and removes that of the other trial.
_EVENTS = ("keep", "copy", "own", "free")
POINTS = (
    *(f"{when} {event}" for event in _EVENTS for when in ("before", "after")),
    *(f"{when} commit {event}" for event in _EVENTS for when in ("before", "after")),
    *sabotage.BRANCH_POINTS,
)


def tree_of(seeds: Sequence[int], name: str) -> Study:
    """One tree for each seed."""
    cells = tuple(Cell(name=arm, levels={}, settings=_settings(*how)) for arm, how in _ARMS.items())
    return Study(name=name, question="Is anything lost?", cells=cells, seeds=tuple(seeds))


def _settings(phases: tuple[str, ...], epochs: int) -> Settings:
    return Settings(dataset="digits", epochs=epochs, batch_size=256, log_every=1, schedule=Schedule(phases=phases))


def planner(candidates: Sequence[Candidate]) -> Plan:
    """What `create` plans with."""
    return plan(candidates, lambda settings: TrainingImages(chain_child.IMAGES))


def undisturbed(spec: Study) -> Runs:
    """What each trial gives that trains alone and to its end."""
    found = {}
    for number, planned in enumerate(spec.trials()):
        states = undisturbed_in_tree(planned.cell.settings, planned.seed, chain_child.IMAGES)
        found[number] = Run(states[-1][1], as_hex([row for state in states for row in chain_child.rows(state)]))
    return found


def random_kills(place: Place, *, kills: int, seeds: int, workers: int = 3) -> Counts:
    """SIGKILL of workers and children at random moments while they train trees."""
    place.variables["CHAOS_TREE"] = "1"
    killer = Killer(place, kills, 0.3, 2.0)
    rounds: list[str] = []

    def spec_of(trees: int, name: str) -> Study:
        # Other seeds each time: who has trained the same before would be taken over whole.
        rounds.append(name)
        return tree_of(range(trees * len(rounds), trees * (len(rounds) + 1)), name)

    besiege(
        place,
        seeds,
        workers,
        killer,
        killer.enough,
        recruit=plain(0.06),
        spec_of=spec_of,
        expect=undisturbed,
        planner=planner,
        finish=plain(0.0),
        forgive_starts=True,  # many start at once, before anybody has made the digits
    )
    with place.open() as store:
        counts = _counts(store, rounds)
    return {**killer.counts, **counts, "trials": len(rounds) * seeds * len(_ARMS)}


def kills_at_points(place: Place, *, points: int | None = None, at_once: int = 2) -> Counts:
    """A worker, or its child, killed at every point around a branch, each in a tree of its own; then one finishes all.

    `points` of them by chance, or all.
    """
    place.variables["CHAOS_TREE"] = "1"
    wanted = POINTS if points is None else tuple(place.chance.sample(POINTS, points))
    specs = {point: tree_of([seed], point.replace(" ", "-")) for seed, point in enumerate(wanted)}
    counts: Counts = {"points": len(wanted), "points reached": 0, "taken over": 0}
    with place.open() as store, Fleet(place) as fleet:
        for at in range(0, len(wanted), at_once):
            group = wanted[at : at + at_once]
            for point in group:
                store.studies.create(specs[point], planner=planner)
            victims = [_victim(fleet, point) for point in group]
            wait_for(lambda dying=victims: not any(each.alive for each in dying), fleet, f"the end of {group}")
            counts["points reached"] += sum(was_killed(victim) for victim in victims)
        fleet.start()
        fleet.finish()
        for spec in specs.values():
            judge(place, store, spec.name, undisturbed(spec))
            counts["taken over"] += takeovers(store, spec.name)
        return {**counts, **_counts(store, [spec.name for spec in specs.values()])}


def _victim(fleet: Fleet, point: str) -> Worker:
    act = "kill-both" if point in sabotage.BRANCH_POINTS else "kill"
    nth = 1 if point.endswith(("own", "free")) else fleet.place.chance.randint(1, 2)
    return fleet.start("--study", point.replace(" ", "-"), sabotage=fleet.sabotage(point, act, nth))


def _counts(store: Store, names: Sequence[str]) -> Counts:
    """How many trials took steps from others. Raises Broken if none did, or a checkpoint is kept for nobody."""
    rows = [row for name in names for row in store.trials.all(name)]
    kept = store._db.read(lambda conn: conn.execute(select(func.count()).select_from(branch)).scalar_one())
    taken = sum(row.reused_steps > 0 for row in rows)
    if kept or not taken:
        raise Broken(
            f"{kept} checkpoints are kept for nobody, and {taken} of {len(rows)} trials began with others' steps"
        )
    return {"began with others' steps": taken, "steps taken": sum(row.reused_steps for row in rows)}
