"""Studies whose trials take several GPUs each are taken by workers that have so many, and by no others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pretended_nvml import Nvml
from support import child
from support.worker import Notes, here, work

from cifarsweep.errors import DeviceError, TooFewGpus
from cifarsweep.spec.devices import devices_of
from cifarsweep.spec.search_space import Choices, Range, Search
from cifarsweep.spec.settings import Settings
from cifarsweep.spec.study import Cell, Study
from cifarsweep.spec.types import AttemptEnd, TrialState
from cifarsweep.worker import telemetry
from cifarsweep.worker.child.protocol import Ready
from cifarsweep.worker.eligibility import EligibleStudies
from cifarsweep.worker.gpus_here import GpusHere, check_gpus

ONE, TWO = "00000000:1B:00.0", "00000000:1B:00.0 00000000:43:00.0"


def study_of(name: str, *devices: int, seeds: int = 2) -> Study:
    cells = [
        Cell(name=f"{count} devices", levels={}, settings=Settings(dataset="digits", steps=6, devices=count))
        for count in devices
    ]
    return Study(name=name, question="How many devices?", cells=tuple(cells), seeds=tuple(range(seeds)))


@pytest.fixture
def study() -> Study:
    return study_of("pairs", 2)


def states(store, name):
    return [trial.state for trial in store.trials.all(name)]


@given(st.sets(st.integers(1, 8), min_size=1), st.none() | st.integers(1, 8))
def test_a_study_is_taken_where_its_largest_trial_fits(devices, gpus):
    its, here = study_of("s", *sorted(devices)), GpusHere(gpus)

    fits = gpus is None or max(devices) <= gpus

    assert devices_of(its) == devices
    assert all(here.suffice(cell.settings.devices) for cell in its.cells) == fits
    if fits:
        here.check(its)
        assert (here.idle_note(its) is not None) == (gpus is not None and min(devices) < gpus)
    else:
        with pytest.raises(TooFewGpus, match=rf"on {max(devices)} GPUs .*, and this worker has {gpus}: start one with"):
            here.check(its)


def test_a_search_needs_the_most_devices_of_its_space():
    (cell,) = study_of("s", 1).cells
    for devices in (Range(low=1, high=4), Choices(choices=(2, 4))):
        search = Search(n_trials=3, space={"devices": devices})
        assert max(devices_of(Study(name="s", question="?", cells=(cell,), seeds=(0,), search=search))) == 4


def test_a_worker_with_one_gpu_leaves_larger_trials_to_others_and_says_so_once(store, tmp_path):
    store.studies.create(study_of("single", 1))
    notes = Notes()

    assert work(store, tmp_path, command=child.command(tmp_path, gpu=ONE), display=notes) == 0

    assert states(store, "single") == [TrialState.DONE] * 2 and states(store, "pairs") == [TrialState.QUEUED] * 2
    (note,) = notes.notes_with("its largest trials")
    assert note == (
        "study 'pairs' is left to other workers: its largest trials train on 2 GPUs (`devices`), and this worker has "
        "1: start one with --gpu 0,1, or `cifarsweep launch --gpus-per-trial 2`"
    )


def test_a_worker_with_nothing_but_larger_trials_is_refused_and_harms_none(store, tmp_path):
    with pytest.raises(TooFewGpus, match="this worker has 1"):
        work(store, tmp_path, command=child.command(tmp_path, gpu=ONE))

    assert [trial.attempts for trial in store.trials.all("pairs")] == [(), ()]


@pytest.mark.parametrize("gpus", [TWO, ""], ids=["two GPUs", "processor"])
def test_a_worker_with_gpus_enough_trains_both_and_tells_once_what_idles(store, tmp_path, gpus):
    store.studies.create(study_of("single", 1))
    notes = Notes()

    assert work(store, tmp_path, command=child.command(tmp_path, gpu=gpus), display=notes) == 0

    assert states(store, "single") == states(store, "pairs") == [TrialState.DONE] * 2
    idle = "study 'single': its trials train on 1 of this worker's 2 GPUs, the others idle; "
    told = [f"{idle}`cifarsweep launch --gpus-per-trial 1` uses all"] if gpus else []
    assert notes.notes_with("idle") == told


@pytest.mark.long
def test_energy_is_that_of_the_gpus_which_trained_the_trial(store, tmp_path, monkeypatch):
    monkeypatch.setattr(telemetry, "SAMPLE_EVERY_S", 0.02)
    Nvml.install(monkeypatch).broken = {"nvmlDeviceGetTotalEnergyConsumption": Nvml.NVMLError}
    store.studies.create(study_of("single", 1))

    assert work(store, tmp_path, command=child.command(tmp_path, gpu=TWO, step_s=0.3)) == 0

    watts = {name: [trial.final["gpu/power_w"] for trial in store.trials.all(name)] for name in ("single", "pairs")}
    assert watts == {"single": [100.0] * 2, "pairs": [200.0] * 2}


def test_larger_trials_that_come_to_a_study_under_way_are_given_back(store, tmp_path):
    store.studies.create(study_of("grows", 1, seeds=1))
    notes = Notes(on_start=lambda: store.studies.create(study_of("grows", 1, 2, seeds=1), extend=True))

    with pytest.raises(TooFewGpus):
        work(store, tmp_path, command=child.command(tmp_path, gpu=ONE), display=notes)

    small, large = store.trials.all("grows")
    assert (small.state, large.state) == (TrialState.DONE, TrialState.QUEUED)
    assert [each.end for each in large.attempts] in ([], [AttemptEnd.RELEASED])
    assert work(store, tmp_path, command=child.command(tmp_path, gpu=TWO)) == 0
    assert states(store, "grows") == [TrialState.DONE] * 2


def test_what_a_child_has_counts_and_no_guess_before_it(store):
    trainable = EligibleStudies(store, here)
    assert trainable([]) == ["pairs"]

    trainable.on_ready(Ready("a GPU", {}, (ONE,)))

    assert trainable.outdated
    with pytest.raises(TooFewGpus):
        trainable([])
    trainable.on_ready(Ready("a GPU", {}, (ONE,)))
    assert not trainable.outdated


def test_a_repetition_names_the_gpus_that_it_takes():
    check_gpus(Ready("a processor", {}), {"devices": 3})
    check_gpus(Ready("a GPU", {}, (ONE,)), {"parameters": {}})
    with pytest.raises(DeviceError, match=r"on 3 GPUs \(`devices`\), and here are 1: give --gpu 0,1,2"):
        check_gpus(Ready("a GPU", {}, (ONE,)), {"devices": 3})


def test_a_program_counts_its_own_gpus():
    assert GpusHere(1).suffice(None)
