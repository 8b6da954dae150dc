"""What becomes of trials that can't train or can't be saved: a worker with its real child, on the digits."""

import pytest
from support.worker import Notes

from cifarsweep.data import catalog
from cifarsweep.spec.metrics import LARGEST_CLASS, VAL_IMAGES
from cifarsweep.spec.settings import ConvNet, Optimizer, Settings
from cifarsweep.spec.study import Cell, Study
from cifarsweep.spec.types import Outcome, TrialState
from cifarsweep.store import Store
from cifarsweep.store.leases import Timing
from cifarsweep.worker.child.process import child_command
from cifarsweep.worker.context import WorkerConfig
from cifarsweep.worker.eligibility import EligibleStudies
from cifarsweep.worker.failures import Failure, classify
from cifarsweep.worker.supervisor import Supervisor

TIMING = Timing(lease_s=12.0, beat_s=1.0)
GOOD = Settings(dataset="digits", model=ConvNet(widths=(4,), norm="none", convs_per_stage=1), batch_size=64, steps=2)
CELLS = {
    "too large a batch": GOOD.model_copy(update={"batch_size": 5000}),
    "no finite loss": GOOD.model_copy(update={"optimizer": Optimizer(name="sgd", lr=1e30)}),
    "too large for the disk": GOOD.model_copy(update={"model": ConvNet(widths=(128, 128), convs_per_stage=1)}),
    "good": GOOD,
}
#: No file of the child may be larger: enough for the weights of all cells but one, whose write fails half way.
LIMIT_KB = 1024


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The trials by cell, after one worker did them in this order, its notes and its artifacts."""
    folder = tmp_path_factory.mktemp("fates")
    study = Study(
        name="fates",
        question="What becomes of them?",
        cells=tuple(Cell(name=name, levels={}, settings=settings) for name, settings in CELLS.items()),
        seeds=(0,),
    )
    limited = ["bash", "-c", f'ulimit -f {LIMIT_KB}; exec "$@"', "-", *child_command("cpu")]
    notes, plan = Notes(), WorkerConfig(command=limited, artifacts=folder / "artifacts", timing=TIMING)
    with (
        pytest.MonkeyPatch.context() as patch,
        Store.open(f"sqlite:///{folder}/fates.db", upgrade=True, timing=TIMING) as store,
    ):
        patch.setenv("CIFARSWEEP_DATA", str(folder / "data"))
        catalog.require("digits")  # made here, where files may be large
        store.studies.create(study)
        assert Supervisor(store, plan, notes, EligibleStudies(store, catalog.require)).run() == 0
        yield (
            {trial.cell: trial for trial in store.trials.all("fates")},
            notes.notes,
            next(folder.glob("artifacts/fates-*")),
        )


def test_a_batch_larger_than_the_data_set_fails_with_one_clear_sentence(done):
    trial = done[0]["too large a batch"]
    assert trial.state is TrialState.FAILED
    assert "batch_size: 5,000 is more than the 1,442 training images of digits; choose at most 1,442" in trial.error


def test_a_loss_that_is_not_finite_is_a_result_at_chance(done):
    trial = done[0]["no finite loss"]
    assert (trial.state, trial.outcome) == (TrialState.DONE, Outcome.DIVERGED)
    assert trial.value == trial.final[LARGEST_CLASS] / trial.final[VAL_IMAGES] == 36 / 355


def test_a_trial_that_can_not_be_saved_still_gives_its_result_and_leaves_no_torn_file(done):
    trials, notes, artifacts = done
    trial = trials["too large for the disk"]
    assert trial.state is TrialState.DONE and trial.outcome is Outcome.FINISHED
    assert any(f"fates/{trial.number}: no checkpoint at step 2" in note for note in notes)
    assert list((artifacts / str(trial.number)).iterdir()) == []


def test_the_worker_went_on_and_the_last_trial_is_as_usual(done):
    trials, _, artifacts = done
    trial = trials["good"]
    assert (trial.state, trial.outcome, len(trial.attempts)) == (TrialState.DONE, Outcome.FINISHED, 1)
    assert len(list((artifacts / str(trial.number)).iterdir())) == 1


def test_memory_that_runs_out_on_a_processor_is_told_from_other_errors():
    import torch

    with pytest.raises(RuntimeError) as raised:
        torch.empty(1 << 46)  # more than a process can address
    assert classify(raised.value) is Failure.OUT_OF_MEMORY
