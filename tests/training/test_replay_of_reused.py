"""A trial that took steps over, trained in full, has the rows and weights that the database has of it, bit for bit."""

from dataclasses import dataclass
from functools import partial

import pytest
from recipes import FAMILIES, OPTIMIZERS, change
from stripes import finished

from cifarsweep.spec.settings import Settings
from cifarsweep.spec.study import Cell, Study
from cifarsweep.store import Store
from cifarsweep.store.records import Lease
from cifarsweep.training.events import BranchSaved, Finished, Metrics
from cifarsweep.training.identity import rows_identity
from cifarsweep.training.loop import train
from cifarsweep.training.sharing import TrainingImages, plan
from cifarsweep.worker.replay import Repetition, comparable, compare, read_original

#: Steps of the first epoch: 20 images in batches of 8, 8 and 4.
EPOCH = 3


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory):
    with Store.open(f"sqlite:///{tmp_path_factory.mktemp('reused')}/results.db", upgrade=True) as opened:
        yield opened


@dataclass
class Fleet:
    """A worker that trains in this process; its planner and its identities are those of real ones."""

    store: Store
    bench: object

    def create(self, name: str, **cells: Settings) -> None:
        made = tuple(Cell(name=cell, levels={}, settings=its) for cell, its in cells.items())
        planner = partial(plan, images=lambda _: TrainingImages(len(self.bench.split.train_labels)))
        self.store.studies.create(Study(name=name, question="?", cells=made, seeds=(0,)), planner=planner)

    def identify(self, lease: Lease, steps: int | None) -> str | None:
        images, data = len(self.bench.split.train_labels), self.bench.split.digest
        return rows_identity(lease.settings, lease.seed, images, data, {}, steps)

    def work(self, name: str) -> None:
        """Do what is due of a study, as a worker does."""
        places = {}
        while (lease := self.store.queue.claim("w", studies=[name], identify=self.identify)) is not None:
            if lease.twin is not None:
                self.store.queue.reuse(lease)
                continue
            branches = self.bench.folder()
            options = {"branch_steps": frozenset(lease.branch_steps), "branches": branches}
            if lease.branch is not None:
                ref = lease.branch.checkpoint
                options["begin"] = places[ref.path], ref
                lease = self.store.queue.begin(lease)
            rows = []
            for event in train(self.bench.run(lease.settings, lease.seed, **options)):
                match event:
                    case Metrics():
                        rows += event.rows
                    case BranchSaved():
                        places[event.checkpoint.path] = branches
                        lease = self.store.queue.keep_branches(lease, rows, [event.checkpoint])
                        rows = []
                    case Finished():
                        self.store.queue.finish(lease, rows, None, event.result)

    def replay(self, name: str, number: int):
        """What `replay` finds: all steps of the trial are trained again."""
        original = read_original(self.store, name, number)
        events = self.bench.events(original.trial.settings, original.trial.seed)
        rows = comparable(row for event in events if isinstance(event, Metrics) for row in event.rows)
        return original.trial, compare(original, Repetition(finished(events).result, rows, "", {}))


def kind(family: str, optimizer: str) -> Settings:
    if family == "timm":
        pytest.importorskip("timm", reason="the extra `timm` is not installed")
    return change(model=FAMILIES[family], optimizer=OPTIMIZERS[optimizer], batch_size=8)


def with_other_rates(settings: Settings) -> Settings:
    """The same first epoch, and another rate in the second."""
    return settings.model_copy(update={"schedule": settings.schedule.model_copy(update={"phases": ("1-2 x3",)})})


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_reused_trial_and_a_branch_come_out_the_same(store: Store, narrow, family: str, optimizer: str) -> None:
    # given a trial, one that has its first epoch in common, and, in a study created later, the same one again
    fleet, name = Fleet(store, narrow), f"{family}-{optimizer}".replace(" ", "-")
    trunk = kind(family, optimizer)
    fleet.create(name, trunk=trunk, branch=with_other_rates(trunk))
    fleet.work(name)
    fleet.create(f"{name}-again", twin=trunk)
    fleet.work(f"{name}-again")

    # when they are replayed
    (branch, of_branch), (twin, of_twin) = fleet.replay(name, 1), fleet.replay(f"{name}-again", 0)

    # then all of their steps are the same
    assert branch.reused_text == f"first {EPOCH} steps from {name}/0" and twin.reused_text == f"reused from {name}/0"
    assert of_branch.reproduced and of_branch.rows > 0, of_branch
    assert of_twin.reproduced and of_twin.rows > 0, of_twin
    assert store.admin.check() == []
