"""Campaigns against workers: killed at any moment and at every named point, frozen, with wrong clocks, unfenced."""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable

import sabotage
from fleet import Fleet, Worker, wait_for
from oracle import Broken, Run, Runs, complaints, recorded, undisturbed
from places import Place, sqlite_place, study_of
from siege import besiege, judge, plain, takeovers, unfinished

from cifarsweep.spec.settings import ConvNet, Optimizer, Settings, Validation
from cifarsweep.spec.study import Cell, Study
from cifarsweep.spec.types import AttemptEnd, TrialState

Counts = dict[str, int]


class Killer:
    """Gives every worker that trains a while to live, and then kills it, its child, or both."""

    def __init__(self, place: Place, kills: int, least_s: float, most_s: float) -> None:
        self.kills, self.counts = kills, Counter[str]()
        self._draw: Callable[[], float] = lambda: time.monotonic() + place.chance.uniform(least_s, most_s)
        self._who = lambda: place.chance.choices(("worker", "child", "both"), (6, 3, 1))[0]
        self._ends: dict[int, float] = {}

    def enough(self) -> bool:
        return self.counts["kills"] >= self.kills

    def __call__(self, fleet: Fleet) -> None:
        for worker in fleet.workers:
            if not worker.alive or self.enough() or not worker.began:
                continue
            if time.monotonic() > self._ends.setdefault(id(worker), self._draw()):
                who = self._who()
                if worker.send(signal.SIGKILL, who):
                    self.counts["kills"] += 1
                    self.counts[f"kills of {who}"] += 1
                del self._ends[id(worker)]


def random_kills(place: Place, *, kills: int, trials: int, workers: int = 6) -> Counts:
    """SIGKILL at random moments."""
    killer = Killer(place, kills, 0.5, 3.0)
    fleets = besiege(place, trials, workers, killer, killer.enough, recruit=plain(0.06))
    return {**killer.counts, "trials": trials * len(fleets)}


#: Where a storm ends a worker and its child: from the claim to just before the first checkpoint is pointed to.
_EARLY = (
    "after commit claim",
    "before guard",
    "after commit guard",
    "torn fsync",
    "before replace",
    "after replace",
    "before point",
    "before commit point",
)


def kill_storms(place: Place, *, kills: int, trials: int, workers: int = 3, storms: int = 1) -> Counts:
    """Worker after worker is ended before its first checkpoint: machines that vanish are no fault of a trial."""
    counts = Counter[str]()
    for storm in range(storms):
        spec = study_of(trials, f"storm-{storm}")
        with place.open() as store, Fleet(place) as fleet:
            store.studies.create(spec)
            while len(fleet.workers) < kills:
                victims = [_early_victim(fleet, spec.name) for _ in range(min(workers, kills - len(fleet.workers)))]
                wait_for(lambda dying=victims: not any(each.alive for each in dying), fleet, "the end of victims")
                counts["kills"] += sum(was_killed(victim) for victim in victims)
            plain(0.0)(fleet, spec.name)
            fleet.finish()
            judge(place, store, spec.name, undisturbed(spec))
            rows = store.trials.all(spec.name)
        lost = [sum(one.end is AttemptEnd.TAKEN_OVER for one in row.attempts) for row in rows]
        counts["taken over"] += sum(lost)
        counts["trials done"] += sum(row.state is TrialState.DONE for row in rows)
        counts["trials poisoned"] += sum(row.state is TrialState.POISONED for row in rows)
        counts["most takeovers of a trial"] = max(counts["most takeovers of a trial"], *lost)
    return counts


def _early_victim(fleet: Fleet, name: str) -> Worker:
    point = fleet.place.chance.choice(_EARLY)
    act = "kill-both" if point in sabotage.CHILD_POINTS else "kill"
    # It waits for leases that others left, where all trials are held.
    return fleet.start("--study", name, "--wait", sabotage=fleet.sabotage(point, act))


def real_kills(place: Place, *, kills: int, trials: int, workers: int = 2) -> Counts:
    """SIGKILL at random moments while torch trains on digits."""
    calm = place.folder / "calm"
    calm.mkdir()
    expected = trained_in_peace(sqlite_place(calm, place.seed), real_study(trials, "calm"))
    killer = Killer(place, kills, 0.2, 1.5)

    def recruit(fleet: Fleet, name: str) -> Worker:
        # Each round trains the same.
        return fleet.start("--study", name, "--save-every", "0.1", "--no-reuse", real=True)

    fleets = besiege(
        place, trials, workers, killer, killer.enough, recruit=recruit, spec_of=real_study, expect=lambda _: expected
    )
    return {**killer.counts, "trials": trials * len(fleets)}


def real_study(trials: int, name: str) -> Study:
    """Some seconds of real training: checkpoints of several tensors, evaluations, augmentation's generators."""
    settings = Settings(
        dataset="digits",
        validation=Validation(split="holdout", fraction=0.2),
        steps=250,
        batch_size=32,
        log_every=10,
        eval_every=50,
        model=ConvNet(widths=(8, 16), convs_per_stage=1),
        optimizer=Optimizer(lr=1e-3),
    )
    cell = Cell(name="only", levels={}, settings=settings)
    return Study(name=name, question="Is anything lost?", cells=(cell,), seeds=tuple(range(trials)))


def trained_in_peace(place: Place, spec: Study) -> Runs:
    """What a worker that nobody disturbs records."""
    with place.open() as store, Fleet(place) as fleet:
        store.studies.create(spec)
        fleet.start("--study", spec.name, real=True)
        fleet.finish()
        found: dict[int, Run] = recorded(store, spec.name)
        if any(run.digest is None for run in found.values()):
            raise Broken(f"the undisturbed run did not finish; logs in {place.folder}")
        return found


def kills_at_points(place: Place, *, points: int | None = None, at_once: int = 2) -> Counts:
    """A worker killed at every named point of its way, each with a study of its own; then another one finishes all.

    `points` of them by chance, or all.
    """
    every = (*sabotage.TRIAL_POINTS, *sabotage.CHILD_POINTS, *sabotage.TELL_POINTS)
    wanted = every if points is None else tuple(place.chance.sample(every, points))
    together = [point for point in wanted if point not in sabotage.TELL_POINTS]
    # Whoever tells tells everything, so the victims of these points come one by one.
    alone = [point for point in wanted if point in sabotage.TELL_POINTS]
    groups = [together[at : at + at_once] for at in range(0, len(together), at_once)] + [[point] for point in alone]
    counts: Counts = {"points": len(wanted), "points reached": 0, "taken over": 0}
    with place.open() as store, Fleet(place) as fleet:
        for group in groups:
            for point in group:
                store.studies.create(study_of(2, point.replace(" ", "-")))
            victims = [_victim(fleet, point) for point in group]
            wait_for(lambda dying=victims: not any(each.alive for each in dying), fleet, f"the end of {group}")
            for victim in victims:
                counts["points reached"] += was_killed(victim)
        fleet.start()
        fleet.finish()
        for point in wanted:
            name = point.replace(" ", "-")
            judge(place, store, name, undisturbed(study_of(2, name)))
            counts["taken over"] += takeovers(store, name)
    return counts


def _victim(fleet: Fleet, point: str) -> Worker:
    act = "kill-both" if point in sabotage.CHILD_POINTS else "kill"
    nth = 1 if point in sabotage.TELL_POINTS else fleet.place.chance.randint(1, 2)
    return fleet.start("--study", point.replace(" ", "-"), sabotage=fleet.sabotage(point, act, nth))


def was_killed(victim: Worker) -> bool:
    if victim.exit_code == -signal.SIGKILL:
        return True
    raise Broken(f"nothing passed {victim.order.sabotage}: exit code {victim.exit_code}, see {victim.log}")


#: Where a worker is frozen with a transaction open, or just committed.
_INSIDE = ("after guard", "after insert", "before commit guard", "before commit claim", "after commit guard")


class Freezer:
    """Stops workers for 0.3 to 2.2 leases, some of them from within a transaction, and lets them go on."""

    def __init__(self, place: Place, freezes: int, share_inside: float = 0.4) -> None:
        self.place, self.freezes, self.counts = place, freezes, Counter[str]()
        self._share_inside = share_inside
        self._until: dict[int, float] = {}

    def enough(self) -> bool:
        return self.counts["freezes"] >= self.freezes

    def recruit(self, fleet: Fleet, name: str) -> Worker:
        """A worker that in some cases stops itself at a point."""
        plan, chance = None, self.place.chance
        if chance.random() < self._share_inside:
            plan = fleet.sabotage(chance.choice(_INSIDE), "stop", chance.randint(1, 8))
        return fleet.start("--study", name, env={"CHAOS_STEP_S": "0.06"}, sabotage=plan)

    def __call__(self, fleet: Fleet) -> None:
        for worker in fleet.workers:
            fair = worker.alive and worker.began and id(worker) not in self._until and not self.enough()
            if fair and self.place.chance.random() < 0.02:
                who = self.place.chance.choice(("worker", "child", "both", "both"))
                if worker.send(signal.SIGSTOP, who):
                    self._note(worker, f"of {who}")
        self.relieve(fleet)

    def relieve(self, fleet: Fleet) -> None:
        """Notice who stopped itself."""
        self._until = {key: at for key, at in self._until.items() if time.monotonic() < at}
        for worker in fleet.workers:
            if worker.alive and id(worker) not in self._until and worker.stopped():
                self._note(worker, "inside a transaction or just after")

    def _note(self, worker: Worker, how: str) -> None:
        self.counts["freezes"] += 1
        self.counts[f"freezes {how}"] += 1
        seconds = self.place.chance.uniform(0.3, 2.2) * self.place.lease_s
        self._until[id(worker)] = time.monotonic() + seconds
        # By a thread: who holds SQLite's lock while it is frozen keeps the harness waiting too.
        wake = threading.Timer(seconds, worker.send, (signal.SIGCONT,))
        wake.daemon = True
        wake.start()


def freezes(place: Place, *, freezes: int, trials: int, workers: int = 3) -> Counts:
    """SIGSTOP, in transactions too, and SIGCONT when the lease may be another's."""
    freezer = Freezer(place, freezes)
    fleets = besiege(place, trials, workers, freezer, freezer.enough, recruit=freezer.recruit, relieve=freezer.relieve)
    lost = sum(fleet.leases_lost() for fleet in fleets)
    return {**freezer.counts, "zombies turned away": lost, "trials": trials * len(fleets)}


def wrong_clocks(place: Place, *, trials: int) -> Counts:
    """Three workers at once, one an hour ahead of the second and one an hour behind."""
    with place.open() as store, Fleet(place) as fleet:
        store.studies.create(study_of(trials))
        for skew_s in (-3600.0, 0.0, 3600.0):
            fleet.start("--slots", "2", env={"CHAOS_STEP_S": "0.05"}, skew_s=skew_s)
        fleet.finish()
        judge(place, store, "chaos", undisturbed(study_of(trials)))
        return {"trials": trials, "taken over": takeovers(store, "chaos")}


_SLOWLY = {"CHAOS_STEP_S": "0.3"}


def woken_zombie(place: Place, *, fenced: bool) -> list[str]:
    """A worker freezes in a trial, another one finishes it, and the first wakes; what the oracle complains of."""
    name = f"fenced-{fenced}"
    with place.open() as store, Fleet(place) as fleet:
        store.studies.create(study_of(2, name))
        # Stopped where it holds no lock: in a COMMIT it would keep its successor, and this reader, from the database.
        between = fleet.sabotage("after commit point", "stop", 2)
        zombie = fleet.start("--study", name, "--max-trials", "1", env=_SLOWLY, sabotage=between, fenced=fenced)
        wait_for(zombie.stopped, fleet, "a zombie's second checkpoint")
        zombie.send(signal.SIGSTOP, "child")
        if store.trials.get(name, 0).state is not TrialState.LEASED:
            raise Broken("the zombie was too fast to be frozen in its trial")
        fleet.start("--study", name)
        wait_for(lambda: not unfinished(store, name), fleet, "a successor that finishes")
        zombie.send(signal.SIGTERM, "worker")
        zombie.send(signal.SIGCONT)
        wait_for(lambda: not zombie.alive, fleet, "the end of the zombie")
        fleet.start("--study", name)
        fleet.finish((0, 128 + signal.SIGTERM))
        return complaints(store, name, undisturbed(study_of(2, name)))


def fence_off(place: Place) -> Counts:
    """The same zombie with the fence, where the oracle must be content, and without it, where it must not."""
    found = {fenced: woken_zombie(place, fenced=fenced) for fenced in (True, False)}
    if found[True] or not found[False]:
        raise Broken(f"seed {place.seed}: with the fence {found[True]}, without it {found[False]}; {place.folder}")
    return {"complaints with the fence": 0, "complaints without the fence": len(found[False])}
