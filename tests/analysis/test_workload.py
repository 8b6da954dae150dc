"""What new trials are to train is counted once, without what others train or have trained."""

from cifarsweep.analysis.workload import Workload, workload
from cifarsweep.spec.links import Candidate, Link, Plan
from cifarsweep.spec.settings import ResNet9, Settings
from cifarsweep.store.times import TrainingTime
from cifarsweep.training.sharing import TrainingImages

#: 100 images: seven steps an epoch, the last one of four images.
ONE = Settings(epochs=2, batch_size=16)
OTHER = ONE.model_copy(update={"model": ResNet9()})


NOTHING = Plan()


def counted(new, plan=NOTHING, images=100, flops=10, times=()):
    known = None if images is None else TrainingImages(images)
    return workload(new, plan, lambda settings: known, lambda settings: flops, times)


def trials(*settings):
    return [Candidate(number, each, 0, "new") for number, each in enumerate(settings)]


def test_each_step_counts_once():
    plan = Plan(links=(Link(1, 0, 9, 9), Link(2, 0, None, 14)))

    work = counted(trials(ONE, ONE, ONE), plan)

    # After nine steps 132 images were seen: 68 of 200 are left.
    assert work == Workload(
        trials=3, steps=42, shared_trials=2, shared_steps=23, left_steps=14 + 5, left_flops=3 * 10 * (200 + 68)
    )


def test_what_is_known_is_not_left_and_not_shared():
    plan = Plan(links=(Link(1, 0, 9, 9),), known={1: 77}, lost=(0,), missed={0: 5})
    work = counted(trials(ONE, ONE), plan)
    missed = {"missed_trials": 1, "missed_steps": 5}
    assert work == Workload(trials=2, steps=28, known=1, lost=1, **missed, left_steps=14, left_flops=3 * 10 * 200)


def test_nothing_is_said_where_the_images_are_unknown():
    assert counted(trials(ONE), images=None) is None


def test_arithmetic_that_is_unknown_is_not_guessed():
    work = counted(trials(ONE), flops=None)
    assert work is not None and work.left_flops is None and work.left_steps == 14


def test_times_are_those_of_devices_that_trained_all_of_these_networks():
    times = [
        TrainingTime(ONE, "fast", steps=14, seconds=0.875),
        TrainingTime(ONE.model_copy(update={"epochs": 9}), "fast", steps=14, seconds=0.875),
        TrainingTime(OTHER, "fast", steps=100, seconds=12.5),
        TrainingTime(ONE, "slow", steps=14, seconds=8.75),
    ]
    assert counted(trials(ONE, OTHER), times=times).seconds == {"fast": 0.78125 + 1.5625}
    assert counted(trials(ONE), times=times).seconds == {"fast": 0.78125, "slow": 7.8125}
    assert counted(trials(ONE), Plan(known={0: 7}), times=times).seconds == {}
