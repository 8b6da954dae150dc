"""What becomes of trials where the images on this machine are others, damaged, or changed while they train."""

import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support import child
from support.worker import Notes

from cifarsweep.data import catalog, tensor_file
from cifarsweep.data.catalog import DataSetInfo, VerifiedData
from cifarsweep.errors import DataError, DataUnusable, StudyRefused
from cifarsweep.spec.settings import ConvNet, Settings
from cifarsweep.spec.study import Cell, Study
from cifarsweep.spec.types import AttemptEnd, TrialState
from cifarsweep.store import Store
from cifarsweep.store.leases import Timing
from cifarsweep.store.records import Environment
from cifarsweep.training.events import Event, Finished, Metrics, Saved
from cifarsweep.worker import claims
from cifarsweep.worker.child.process import child_command
from cifarsweep.worker.child.protocol import DataFile, Train
from cifarsweep.worker.child.trainer import DeviceTrainer
from cifarsweep.worker.context import WorkerConfig
from cifarsweep.worker.eligibility import EligibleStudies
from cifarsweep.worker.supervisor import Supervisor

TIMING = Timing(lease_s=12.0, beat_s=1.0)
SETTINGS = Settings(
    dataset="mine",
    model=ConvNet(widths=(4,), norm="none", convs_per_stage=1),
    batch_size=20,
    steps=20,
    log_every=1,
    eval_every=20,
)
A, B = "a" * 64, "b" * 64


def make_study(name: str = "s", dataset: str = "mine", seeds: int = 2) -> Study:
    cell = Cell(name="c", levels={}, settings=SETTINGS.model_copy(update={"dataset": dataset}))
    return Study(name=name, question="Which images?", cells=(cell,), seeds=tuple(range(seeds)))


def write(path: Path, seed: int = 0) -> None:
    """A small data set; seeds differ in their labels alone."""
    draw = np.random.default_rng(0)
    train, test = (draw.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8) for count in (200, 200))
    labels = np.random.default_rng(seed).integers(0, 2, 200)
    tensor_file.write(path, tensor_file.Contents(("cat", "dog"), "a test", train, labels, test, labels))


def write_into(path: Path) -> None:
    """Change one byte of the file where it lies."""
    with path.open("r+b") as file:
        file.seek(50_000)
        byte = file.read(1)[0]
        file.seek(50_000)
        file.write(bytes([byte ^ 255]))


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CIFARSWEEP_DATA", str(tmp_path / "data"))
    found = catalog.path_of("mine")
    write(found)
    return found


@pytest.fixture
def study() -> Study:
    return make_study()


def supervisor(store: Store, command: list[str], notes: Notes, trainable: EligibleStudies, folder: Path) -> Supervisor:
    return Supervisor(store, WorkerConfig(command=command, artifacts=folder, timing=TIMING), notes, trainable)


# What the child does.


def request(folder: Path, images: DataSetInfo, **changes: object) -> Train:
    settings = SETTINGS.model_dump(mode="json")
    data = DataFile(images.sha256, images.stamp)
    return replace(Train("s/0", settings, 0, str(folder), (), 0.0, data=data), **changes)  # type: ignore[arg-type]


def events(trainer: DeviceTrainer, asked: Train) -> list[Event]:
    return list(trainer.train(asked, lambda: False))


def test_a_child_trains_on_the_images_that_it_was_told(path, tmp_path):
    images = VerifiedData()("mine")
    trainer = DeviceTrainer("cpu", "CPU")

    assert isinstance(events(trainer, request(tmp_path / "1", images))[-1], Finished)

    write(path, seed=1)
    # in its memory they still are what they were
    assert isinstance(events(trainer, request(tmp_path / "2", images))[-1], Finished)
    with pytest.raises(DataUnusable, match=f"was replaced: .*{VerifiedData()('mine').sha256} .*{images.sha256}"):
        events(DeviceTrainer("cpu", "CPU"), request(tmp_path / "3", images))
    assert isinstance(events(trainer, request(tmp_path / "4", VerifiedData()("mine")))[-1], Finished)


@pytest.mark.parametrize("change", [write_into, Path.unlink, lambda path: os.truncate(path, 8192)])
@pytest.mark.parametrize("held", [False, True])
def test_a_child_refuses_a_file_that_was_changed_before_its_trial(path, tmp_path, change, held):
    images = VerifiedData()("mine")
    trainer = DeviceTrainer("cpu", "CPU")
    if held:
        events(trainer, request(tmp_path / "1", images))

    change(path)

    if held and change is Path.unlink:
        assert isinstance(events(trainer, request(tmp_path / "2", images))[-1], Finished)
        return
    with pytest.raises(DataUnusable, match="mine"):
        events(trainer, request(tmp_path / "2", images))
    path.unlink(missing_ok=True)
    write(path)
    assert isinstance(events(trainer, request(tmp_path / "3", images))[-1], Finished)


def test_nothing_is_saved_or_finished_that_was_trained_on_changed_bytes(path, tmp_path):
    images = VerifiedData()("mine")
    train = DeviceTrainer("cpu", "CPU").train(request(tmp_path, images), lambda: False)
    seen = [next(event for event in train if isinstance(event, Metrics))]

    write_into(path)

    before = len(list(tmp_path.glob("*.pt")))
    with pytest.raises(DataUnusable, match="was written to"):
        seen += train
    assert not any(isinstance(event, Saved | Finished) for event in seen)
    assert len(list(tmp_path.glob("*.pt"))) == before


def test_a_file_that_was_only_touched_changes_nothing(path, tmp_path):
    images = VerifiedData()("mine")
    train = DeviceTrainer("cpu", "CPU").train(request(tmp_path, images), lambda: False)
    next(event for event in train if isinstance(event, Metrics))

    os.utime(path, ns=(1, 1))

    assert isinstance(list(train)[-1], Finished)


# What the worker does.


def assert_unharmed(store: Store, number: int = 0) -> None:
    """The trial is as good as one that nobody has taken, but for its attempts."""
    trial = store.trials.get("s", number)
    assert (trial.state, trial.error) == (TrialState.QUEUED, "")
    assert {each.end for each in trial.attempts} <= {AttemptEnd.RELEASED}
    assert store.admin.check() == []


def test_a_damaged_file_is_refused_before_anything_is_claimed(store, path, tmp_path):
    write_into(path)
    notes = Notes()

    with pytest.raises(DataError, match="'mine' is damaged: .* delete the file"):
        supervisor(store, ["false"], notes, EligibleStudies(store, VerifiedData()), tmp_path).run()

    assert_unharmed(store)
    assert store.trials.get("s", 0).attempts == () and notes.notes == []


def test_a_worker_that_loses_its_images_gives_the_trial_back_and_ends_with_a_sentence(store, path, tmp_path):
    notes = Notes(on_start=lambda: write_into(path))
    work = supervisor(store, child_command("cpu"), notes, EligibleStudies(store, VerifiedData()), tmp_path)

    with pytest.raises(DataError, match="'mine' is damaged"):
        work.run()

    assert_unharmed(store)
    assert sum("was written to" in note for note in notes.notes) == 1


def test_a_worker_whose_file_is_replaced_ends_the_trial_on_the_images_it_began_with(
    store, path, tmp_path, monkeypatch: pytest.MonkeyPatch
):
    # A trial that ends within a second is followed by the next one without a look at the file.
    monkeypatch.setattr(claims, "_STUDIES_LAST_S", 0.0)
    before = VerifiedData()("mine").sha256
    other = tmp_path / "other.safetensors"
    write(other, seed=1)
    notes = Notes(on_start=lambda: other.exists() and shutil.move(other, path))
    work = supervisor(store, child_command("cpu"), notes, EligibleStudies(store, VerifiedData()), tmp_path)

    with pytest.raises(StudyRefused) as refused:
        work.run()
    assert before in str(refused.value) and VerifiedData()("mine").sha256 in str(refused.value)

    first, second = store.trials.all("s")
    assert first.state is TrialState.DONE and first.attempts[0].versions["data mine"] == before
    assert_unharmed(store, second.number)


class Files:
    """Data sets that a test changes: the digest and the time of each file by its name."""

    def __init__(self, **sha256: str) -> None:
        self.now = {name: (digest, 0) for name, digest in sha256.items()}

    def __call__(self, name: str) -> DataSetInfo:
        if name not in self.now:
            raise DataError(f"no data set {name!r} here")
        sha256, time = self.now[name]
        return DataSetInfo(name, "", ("cat", "dog"), 1, 1, sha256, 1, Path(name), (1, 1, time, time))


def test_a_trial_whose_child_can_not_use_its_images_is_given_back_once(store, tmp_path):
    files, notes = Files(mine=A), Notes()

    with pytest.raises(DataError, match="boom: these images"):
        supervisor(store, child.command(tmp_path, "images"), notes, EligibleStudies(store, files), tmp_path).run()

    assert_unharmed(store)
    assert len(store.trials.get("s", 0).attempts) == 1
    assert [note for note in notes.notes if "boom" in note] == ["s/0: boom: these images can't be used"]


def test_a_child_that_dies_of_a_file_that_was_cut_is_no_crash_of_the_trial(store, tmp_path):
    files = Files(mine=A)
    notes = Notes(on_start=lambda: files.now.update(mine=(A, files.now["mine"][1] + 1)))
    trainable = EligibleStudies(store, files)

    assert supervisor(store, child.command(tmp_path, "crash-once"), notes, trainable, tmp_path).run() == 0

    for trial in store.trials.all("s"):
        assert trial.state is TrialState.DONE
        assert [each.end for each in trial.attempts] == [AttemptEnd.RELEASED, AttemptEnd.DONE]
    assert signal.SIGABRT.name in notes.notes[0] and "was written to or removed" in notes.notes[0]


def pinned(store: Store, sha256: str, study: str = "s") -> None:
    """Let a trial of the study be trained on those images by somebody else."""
    store.queue.claim("somebody", studies=[study], environment=Environment({"mine": sha256}))


def test_a_refused_study_is_named_once_and_others_are_served(store, tmp_path):
    pinned(store, A)
    store.studies.create(make_study("t", "other", seeds=3))
    notes = Notes()
    trainable = EligibleStudies(store, Files(mine=B, other=B))

    with pytest.raises(StudyRefused, match=f"{A}.*{B}"):
        supervisor(store, child.command(tmp_path), notes, trainable, tmp_path).run()

    assert [trial.state for trial in store.trials.all("t")] == [TrialState.DONE] * 3
    assert len([note for note in notes.notes if A in note and B in note]) == 1


def test_a_study_that_was_asked_for_and_is_refused_keeps_no_other_one_waiting(store, caplog):
    pinned(store, A)
    store.studies.create(make_study("t", "other"))
    trainable = EligibleStudies(store, Files(mine=B, other=B))

    assert trainable(["s", "t"]) == trainable(["t", "s"]) == ["t"]
    assert len(caplog.records) == 1
    with pytest.raises(StudyRefused):
        trainable(["s"])


def test_a_worker_that_may_mix_images_is_refused_nothing(store):
    pinned(store, A)

    assert EligibleStudies(store, Files(mine=B), other_data=True)([]) == ["s"]


def test_a_study_is_taken_again_once_its_images_are_the_right_ones(store):
    pinned(store, A)
    files = Files(mine=B)
    trainable = EligibleStudies(store, files)
    with pytest.raises(StudyRefused):
        trainable([])

    files.now["mine"] = (A, 1)

    assert trainable([]) == ["s"]
    assert trainable.digests == {"mine": A}


def test_what_a_child_could_not_use_is_left_until_its_file_changes(store):
    files = Files(mine=A)
    trainable = EligibleStudies(store, files)
    trainable([])
    trainable.reject_data("mine", trainable.data_set("mine"), "it can't be mapped")

    for _ in range(2):
        with pytest.raises(DataError, match="can't be mapped"):
            trainable([])
    files.now["mine"] = (A, 1)

    assert trainable([]) == ["s"]


def test_a_data_set_that_comes_to_a_study_is_looked_at_when_its_first_trial_is_claimed(store, tmp_path):
    files, notes = Files(mine=A, other=B), Notes()
    trainable = EligibleStudies(store, files)
    trainable([])  # what it knows of the study
    cells = (*make_study().cells, Cell(name="d", levels={}, settings=SETTINGS.model_copy(update={"dataset": "other"})))
    store.studies.create(make_study().model_copy(update={"cells": cells}), extend=True)

    assert supervisor(store, child.command(tmp_path), notes, trainable, tmp_path).run() == 0

    assert [trial.state for trial in store.trials.all("s")] == [TrialState.DONE] * 4
    assert {trial.attempts[0].versions.get("data other") for trial in store.trials.all("s")} == {None, B}
