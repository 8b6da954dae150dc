"""The training loop: settings and images in, events out. It knows no database and no other trial."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from cifarsweep.checkpoints.folder import Folder
from cifarsweep.data.dataset import Split
from cifarsweep.errors import CheckpointError, CheckpointNotFound, SpecError
from cifarsweep.models import cost, smallest_batch
from cifarsweep.spec.metrics import VAL_ACCURACY
from cifarsweep.spec.misfits import misfit
from cifarsweep.spec.settings import Settings
from cifarsweep.spec.types import CheckpointRef
from cifarsweep.training import serialization
from cifarsweep.training.batches import BatchLoader, EvalPart
from cifarsweep.training.determinism import make_repeatable
from cifarsweep.training.device import autocast, find_device, wait_for
from cifarsweep.training.evaluation import logits_of, mean_loss, rounds
from cifarsweep.training.events import (
    BranchSaved,
    CaptureFailed,
    Event,
    Finished,
    Metrics,
    Progress,
    Rejected,
    Saved,
    SaveFailed,
    Saving,
    Started,
    Stopped,
)
from cifarsweep.training.meters import Confusion, Every, Means, Meter
from cifarsweep.training.parallel import Team
from cifarsweep.training.schedule import Budget, learning_rate, peak_rate, warmup_steps
from cifarsweep.training.state import TrainState, Trial
from cifarsweep.training.step import PartStep, choose_step

PROGRESS_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Run:
    """One attempt at one trial.

    `device` is `cpu` or `cuda:N`. `resume` holds the trial's checkpoints, newest first. `should_stop` is called before
    every step and every batch of an evaluation. `first_save_s` brings the first checkpoint forward. `graphs` captures
    the steps of a GPU, with the same bits. Right after each of `branch_steps` a checkpoint goes to `branches`, from
    which other trials may begin. `begin` is such a checkpoint and its folder, for where no own one is accepted.

    With a `team`, of as many processes as the settings name devices, this is one of them. All have the same run but for
    `should_stop`, which the leader alone is asked; its events count, and it alone reads and writes checkpoints.
    """

    settings: Settings
    seed: int
    split: Split
    classes: int
    folder: Folder
    device: str = "cpu"
    resume: tuple[CheckpointRef, ...] = ()
    save_every_s: float = 60.0
    first_save_s: float | None = None
    should_stop: Callable[[], bool] = lambda: False
    graphs: bool = True
    branch_steps: frozenset[int] = frozenset()
    branches: Folder | None = None
    begin: tuple[Folder, CheckpointRef] | None = None
    team: Team | None = None

    def agree(self, decision: bool) -> bool:
        """Return the decision, that of the leader in all processes of a team."""
        return decision if self.team is None else self.team.agree(decision)

    def stops(self) -> bool:
        """Ask whether to stop."""
        return self.agree(self.should_stop())


def train(run: Run) -> Iterator[Event]:
    """Train to the end of the budget, or to an early stop; the last event is Finished or Stopped.

    The rows but for TIMING_METRICS and the final weights are the same bits however often the trial was interrupted.
    Raises SpecError if settings and data do not fit, DeviceError if the device is absent.
    """
    settings, device = run.settings, find_device(run.device)
    make_repeatable(settings)
    shape = run.split.shape
    if problem := misfit(settings, shape) or _of_devices(run):
        raise SpecError(problem)
    budget = Budget.of(settings, len(run.split.train_labels), smallest_batch(settings.model, shape))
    warmup_steps(settings.schedule, budget.total_steps, budget.steps_per_epoch)  # complain now, not at the first step
    guess = run.split.largest_class / len(run.split.val_labels)
    images, data = len(run.split.train_labels), run.split.digest
    trial = Trial(settings, run.seed, run.classes, device, data, images, _data_signature(run.split), guess, shape)

    state, branch_step = yield from _resumed(run, trial)
    price = cost(settings.model, run.classes, shape)
    val_images, largest_class = len(run.split.val_labels), run.split.largest_class
    constants = price.params, price.flops_per_image, val_images, largest_class
    yield Started(state.step, budget.total_steps, *constants, branch_step)
    loader = BatchLoader(run.split, settings, run.seed, device, run.classes)
    take_step = (
        choose_step(state, loader, device, run.graphs) if run.team is None else PartStep(state, loader, run.team)
    )
    pulse, save_time = Every(PROGRESS_EVERY_S), Every(run.save_every_s, run.first_save_s)
    branch_steps = set(run.branch_steps)

    while not _is_over(state, budget):
        if run.branches and state.step in branch_steps and state.reported < state.step:
            # Before the rows of this step: a trial that ends with it has others than one that goes on.
            branch_steps.remove(state.step)
            yield from _save(run, run.branches, state, BranchSaved)
        if run.stops():
            yield from _save(run, run.folder, state)
            yield Stopped(state.step)
            return
        if _row_is_due(state, settings, budget):
            yield from _report(run, state, budget, loader, pulse)
            continue
        if run.agree(save_time.due()):
            yield from _save(run, run.folder, state)
        if run.agree(pulse.due()):
            yield _progress(state, budget)
        with state.clock:
            failure = take_step(budget.slice(state.step), _rate(settings, budget, state.step))
        if failure is not None:
            yield CaptureFailed(state.step, failure)

    if not (yield from _test(run, state, budget, loader, pulse)):
        # No checkpoint: it would lack rows of its own step. The attempt that resumes takes the last steps again.
        yield Stopped(state.step)
        return
    saved = yield from _save(run, run.folder, state)
    yield Finished(state.result(), saved)


def _of_devices(run: Run) -> str | None:
    here = 1 if run.team is None else run.team.size
    if here == run.settings.devices:
        return None
    return f"devices: a trial of {run.settings.devices} devices is trained by as many processes, and not by {here}"


def _resumed(run: Run, trial: Trial) -> Generator[Event, None, tuple[TrainState, int | None]]:
    """Return the state to go on from, and its step if another trial took it."""
    found = [(run.folder, ref, False) for ref in run.resume]
    for folder, ref, branch in (*found, (*run.begin, True)) if run.begin else found:
        # A new one each time: a checkpoint that does not fit may have changed the last one.
        state = TrainState(trial, run.team)
        try:
            state.restore(_loaded(run.team, folder, ref))
            if branch and state.reported == state.step:
                raise CheckpointError("it was saved after the rows of its step, which may be others here")
            return state, state.step if branch else None
        except CheckpointError as error:
            yield Rejected(ref.path, str(error), not_found=isinstance(error, CheckpointNotFound))
    return TrainState(trial, run.team), None


def _loaded(team: Team | None, folder: Folder, ref: CheckpointRef) -> dict[str, Any]:
    """Return the contents of a checkpoint, read once. Raises CheckpointError in all processes."""
    if team is None:
        return serialization.load(folder, ref)
    try:
        payload = bytes(serialization.pack(serialization.load(folder, ref))) if team.leads else None
    except CheckpointError:
        team.spread(None)
        raise
    found = team.spread(payload)
    if found is None:
        raise CheckpointError(f"checkpoint {ref.path} can't be used, as the leader says")
    return serialization.unpack(found)


def _data_signature(split: Split) -> tuple[float, ...]:
    """Numbers that identified the images in checkpoints of earlier versions."""
    return len(split.train_labels), len(split.val_labels), *split.mean.tolist(), *split.std.tolist()


def _is_over(state: TrainState, budget: Budget) -> bool:
    return state.diverged or state.early_stopping.stopped or (state.step == state.reported == budget.total_steps)


def _rate(settings: Settings, budget: Budget, step: int) -> float:
    peak = peak_rate(settings.optimizer, settings.batch_size)
    return learning_rate(settings.schedule, peak, step, budget.total_steps, budget.steps_per_epoch)


def _evaluation_is_due(state: TrainState, settings: Settings, budget: Budget) -> bool:
    every = settings.eval_every or budget.steps_per_epoch
    return state.step % every == 0 or state.step == budget.total_steps


def _row_is_due(state: TrainState, settings: Settings, budget: Budget) -> bool:
    if state.reported == state.step:
        return False
    return state.step % settings.log_every == 0 or _evaluation_is_due(state, settings, budget)


def _report(run: Run, state: TrainState, budget: Budget, loader: BatchLoader, pulse: Every) -> Iterator[Event]:
    """Yield the rows of this step; none if asked to stop meanwhile, since the attempt that resumes evaluates again."""
    train_means, val_means, confusion = state.interval(), None, Confusion(run.classes, run.settings.metrics)
    if _evaluation_is_due(state, run.settings, budget) and math.isfinite(train_means.loss):
        val_means = yield from _evaluate(run, state, budget, loader.validation, pulse, confusion)
        if val_means is None:
            return
    rate = _rate(run.settings, budget, state.step - 1)
    images, epoch = budget.images_seen(state.step), budget.epoch(state.step)
    rows = state.close_interval(train_means, val_means, rate, images, epoch, confusion.measured())
    if val_means is not None and not state.diverged:
        state.early_stopping.update(val_means.accuracy, state.step, state.model, last=state.step == budget.total_steps)
        if _is_over(state, budget):
            rows += confusion.rows(state.step)
            state.hits[VAL_ACCURACY] = confusion.hits()
    yield Metrics(tuple(rows))


def _test(
    run: Run, state: TrainState, budget: Budget, loader: BatchLoader, pulse: Every
) -> Generator[Event, None, bool]:
    """Evaluate the last and the best weights on the test set, if that does not validate, and yield the rows, once.

    A trial that diverged counts as a guess. Returns False if asked to stop meanwhile.
    """
    test = loader.test
    if test is None or state.test:
        return True
    last: Means | None = Means(math.nan, int(torch.bincount(test.labels).max()) / len(test.labels), 0)
    best, guesses = None, Confusion(run.classes, run.settings.metrics)
    if not state.diverged:
        last = yield from _evaluate(run, state, budget, test, pulse, guesses)
    kept = state.early_stopping.weights
    if last is not None and kept is not None:
        with state.holding(kept):
            best = yield from _evaluate(run, state, budget, test, pulse, Confusion(run.classes))
    if last is None or (best is None and kept is not None):
        return False
    hits = None if state.diverged else guesses.hits()
    yield Metrics(tuple(state.record_test(last, best, hits, guesses.measured())))
    return True


def _evaluate(
    run: Run, state: TrainState, budget: Budget, part: EvalPart, pulse: Every, confusion: Confusion
) -> Generator[Event, None, Means | None]:
    """Return the means over the images and fill `confusion`, or return None if asked to stop."""
    meter, precision = Meter(state.trial.device), autocast(run.settings, state.trial.device)
    if run.team is not None:
        run.team.share_buffers(state.model, norms=True)
    state.model.eval()
    try:
        for images, labels in rounds(part, run.team):
            if run.stops():
                return None
            for logits, wanted in logits_of(images, labels, state.model, precision, run.team, (part.size, run.classes)):
                meter.add(mean_loss(logits, wanted, precision), logits, wanted)
                confusion.add(logits, wanted)
            if run.agree(pulse.due()):
                yield _progress(state, budget)
        return meter.read()
    finally:
        state.model.train()


def _progress(state: TrainState, budget: Budget) -> Progress:
    score = state.interval()
    loss, accuracy = (score.loss, score.accuracy) if score.images else state.latest_training()
    return Progress(state.step, budget.epoch(state.step), loss, accuracy, state.speed())


def _save(
    run: Run, folder: Folder, state: TrainState, saved: type[Saved | BranchSaved] = Saved
) -> Generator[Event, None, CheckpointRef | None]:
    yield Saving(state.step)
    with state.clock:
        wait_for(state.trial.device)
    contents = state.checkpoint()
    if run.team is not None and not run.team.leads:
        return None
    try:
        ref = serialization.save(folder, state.step, contents)
    except OSError as error:
        yield SaveFailed(state.step, f"checkpoint of step {state.step} not written to {folder}: {error}")
        return None
    yield saved(ref)
    return ref
