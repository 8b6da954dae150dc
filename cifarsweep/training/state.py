"""The state of a trial in training: all that a checkpoint must hold so that an interruption changes nothing."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from cifarsweep.data.seeding import generator
from cifarsweep.errors import CheckpointError
from cifarsweep.models import build, cost
from cifarsweep.spec import metrics
from cifarsweep.spec.image_shape import CIFAR, ImageShape
from cifarsweep.spec.settings import Settings
from cifarsweep.spec.types import Hits, MetricRow, Outcome, TrialResult
from cifarsweep.training import determinism
from cifarsweep.training.batch_norm import Synchronised
from cifarsweep.training.device import autocast, set_memory_format
from cifarsweep.training.early_stopping import EarlyStopping
from cifarsweep.training.identity import rows_identity
from cifarsweep.training.meters import Means, Meter, Stopwatch
from cifarsweep.training.optimizers import clip_gradients, make_optimizer, plain_step, set_rate
from cifarsweep.training.own_functions import make_augmentation, make_loss
from cifarsweep.training.parallel import Team
from cifarsweep.training.serialization import weights_sha256

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Trial:
    """The constants of a trial.

    `data` is the digest of images, labels and held-out part, `images` the number of training images. `data_signature`
    are statistics of the images, by which checkpoints of earlier versions identify them. `guess` is the accuracy of
    always naming the largest class of the validation images, without it 1 / classes. `shape` is that of all images.
    """

    settings: Settings
    seed: int
    classes: int
    device: torch.device
    data: str
    images: int
    data_signature: tuple[float, ...] = ()
    guess: float | None = None
    shape: ImageShape = CIFAR

    def fingerprint(self, steps: int) -> str:
        """Digest what a checkpoint of so many steps must agree on: all that decides their bits and rows.

        Another trial with the same first steps has it too. Versions are left out: a trial outlives an upgrade. Where
        bits do not repeat, the checkpoint must be the trial's own.
        """
        kind = {"device": self.device.type}
        return rows_identity(self.settings, self.seed, self.images, self.data, kind, steps) or self._digest(self.data)

    def earlier_fingerprint(self, *, digest: bool) -> str:
        """Digest what a checkpoint of an earlier version must agree on, with or without a digest of the images.

        Without one it does not tell labels apart. The database does: it refuses a worker whose images are not those of
        the study's earlier attempts.
        """
        return self._digest(self.data) if digest else self._digest(*self.data_signature)

    def _digest(self, *data: object) -> str:
        # Defaults are left out, so that a new setting breaks no checkpoint.
        settings = self.settings.model_dump_json(exclude_defaults=True)
        parts = (settings, self.seed, self.classes, self.device.type, *data)
        return hashlib.sha256(" ".join(map(str, parts)).encode()).hexdigest()


def _cross_entropy(label_smoothing: float) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda logits, labels: F.cross_entropy(logits, labels, label_smoothing=label_smoothing)


class TrainState:
    """Model, optimizer, position and sums of a trial, at step 0 until they are restored.

    Every process of a `team` has one, with the same weights, and sums of its own part of each batch.
    """

    def __init__(self, trial: Trial, team: Team | None = None) -> None:
        self.trial, self._team = trial, team
        determinism.seed_global_generators(trial.seed)
        weights = generator(trial.seed, "weights", 0)
        shape = trial.shape
        model = build(trial.settings.model, trial.classes, weights, shape).to(trial.device)
        image = torch.zeros(1, shape.channels, shape.side, shape.side, device=trial.device)
        self.model = set_memory_format(model, image)
        self.optimizer = make_optimizer(trial.settings.optimizer, self.model.parameters())
        self._step_optimizer = plain_step(self.optimizer)
        smoothing = trial.settings.augment.label_smoothing
        self._loss = make_loss(trial.settings, trial.classes, trial.device) or _cross_entropy(smoothing)
        self._augment = make_augmentation(trial.settings, trial.device)
        self._rate = math.nan
        self.meter = Meter(trial.device, None if team is None else team.total)
        self.clock = Stopwatch()
        self.early_stopping = EarlyStopping(trial.settings)
        self.step = 0
        #: the last step whose rows are out, and the values of the newest row of each metric
        self.reported = 0
        self.latest: dict[str, float] = {}
        self.diverged = False
        #: the results on the test set, where validation images are held out, and the hits of the last evaluations
        self.test: dict[str, float] = {}
        self.hits: dict[str, Hits] = {}
        self._interval_began = 0.0
        self._batch_norm: AbstractContextManager[object] = nullcontext()
        if team is not None:
            self._begin_together(team)

    def _begin_together(self, team: Team) -> None:
        """Begin with the leader's weights, and with random numbers of this process's own."""
        self._parameters = list(self.model.parameters())
        if self.trial.settings.batch_norm == "synchronised":
            self._batch_norm = Synchronised(team)
        team.share_weights(self.model)
        if not team.leads:
            determinism.seed_global_generators(self.trial.seed, team.rank)

    def set_rate(self, rate: float) -> None:
        """Use this learning rate from the next step on."""
        if rate != self._rate:
            set_rate(self.optimizer, rate)
            self._rate = rate

    def compute(self, images: Tensor, labels: Tensor, share: float = 1.0) -> None:
        """Do the device's part of a step on images (N, C, H, W) and labels (N,) or probabilities (N, classes).

        A CUDA graph may hold it: nothing in here waits for the device, counts, or depends on a value of the host.
        In a team they are this process's `share` of the batch, and the loss is a mean over them.
        """
        if self._team is not None:
            self._team.share_buffers(self.model, norms=False)
        images = images if self._augment is None else self._augment(images)
        with self._batch_norm, autocast(self.trial.settings, self.trial.device):
            logits = self.model(images)
            loss = self._loss(logits, labels)
        self.optimizer.zero_grad()
        (loss if self._team is None else loss * share).backward()  # type: ignore[no-untyped-call]
        if self._team is not None:
            self._team.add_gradients(self._parameters)
        clip_gradients(self.trial.settings.optimizer, self.model.parameters())
        self._step_optimizer()
        self.meter.sum(loss.detach(), logits.detach(), labels)

    def count(self, images: int) -> None:
        """Do the host's part of a step on so many images."""
        self.meter.images += images
        self.step += 1

    def interval(self) -> Means:
        """Return the training means since the last row; the wait for the device is training time."""
        with self.clock:
            return self.meter.read()

    def speed(self) -> float:
        """Return the training images per second since the last row, or else of that row."""
        seconds = self.clock.seconds - self._interval_began
        if self.meter.images and seconds:
            return self.meter.images / seconds
        return self.latest.get(metrics.IMAGES_PER_SECOND, 0.0)

    def latest_training(self) -> tuple[float | None, float | None]:
        """Return training loss and accuracy of the last row, None before the first."""
        return self.latest.get(metrics.TRAIN_LOSS), self.latest.get(metrics.TRAIN_ACCURACY)

    def close_interval(
        self,
        train: Means,
        val: Means | None,
        rate: float,
        images: int,
        epoch: float,
        measured: Mapping[str, float] = MappingProxyType({}),
    ) -> list[MetricRow]:
        """Return the rows of this step and start a new interval. `measured` is what else an evaluation gave.

        A loss that is not finite ends the trial here: its accuracy is recorded as that of a guess.
        """
        if not math.isfinite(train.loss) or (val is not None and not math.isfinite(val.loss)):
            self.diverged = True
            guess = 1 / self.trial.classes if self.trial.guess is None else self.trial.guess
            val = Means(val.loss if val else math.nan, guess, 0)
        values = {metrics.TRAIN_LOSS: train.loss, metrics.TRAIN_ACCURACY: train.accuracy}
        if val is not None:
            values |= {metrics.VAL_LOSS: val.loss, metrics.VAL_ACCURACY: val.accuracy}
            values |= {f"val/{name}": value for name, value in measured.items()}
        values |= {metrics.LEARNING_RATE: rate, metrics.EPOCH: epoch, metrics.IMAGES: float(images)}
        price = cost(self.trial.settings.model, self.trial.classes, self.trial.shape)
        values |= {metrics.FLOPS: float(price.training_flops(images))}
        values |= {metrics.ELAPSED: self.clock.seconds, metrics.IMAGES_PER_SECOND: self.speed()}
        self.latest |= values
        self.reported = self.step
        self._interval_began = self.clock.seconds
        self.meter.clear()
        return [MetricRow(name, self.step, value) for name, value in values.items()]

    @contextmanager
    def holding(self, weights: Mapping[str, Tensor]) -> Iterator[None]:
        """Let the model have other weights meanwhile."""
        own = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}
        self.model.load_state_dict(weights)
        try:
            yield
        finally:
            self.model.load_state_dict(own)

    def record_test(
        self, last: Means, best: Means | None, hits: Hits | None, measured: Mapping[str, float]
    ) -> list[MetricRow]:
        """Record the results of the last and the best weights on the test set, and return the rows of this step."""
        self.test = {metrics.TEST_LOSS: last.loss, metrics.TEST_ACCURACY: last.accuracy}
        self.test |= {f"test/{name}": value for name, value in measured.items()}
        rows = [MetricRow(name, self.step, value) for name, value in self.test.items()]
        if best is not None:
            self.test |= {metrics.BEST_TEST_LOSS: best.loss, metrics.BEST_TEST_ACCURACY: best.accuracy}
        if hits is not None:
            self.hits[metrics.TEST_ACCURACY] = hits
        return rows

    def result(self) -> TrialResult:
        outcome = Outcome.DIVERGED if self.diverged else Outcome.FINISHED
        final = self.latest | self.test | self.early_stopping.final()
        return TrialResult(outcome, self.step, final, weights_sha256(self.model.state_dict()), dict(self.hits))

    def checkpoint(self) -> dict[str, Any]:
        """Return everything as tensors and plain values; the best weights are in `watch`, if they are kept."""
        watch = {"watch": self.early_stopping.state()} if self.early_stopping.on else {}
        return (
            watch
            | self._of_others()
            | {
                "format": _FORMAT,
                "trial": self.trial.fingerprint(self.step),
                "data": self.trial.data,
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict()["state"],
                "generators": determinism.generator_states(self.trial.device),
                "meter": self.meter.state(),
                "step": self.step,
                "reported": self.reported,
                "latest": self.latest,
                "diverged": self.diverged,
                "test": self.test,
                "hits": {name: [hits.images, hits.packed] for name, hits in self.hits.items()},
                "elapsed": self.clock.seconds,
                "interval_began": self._interval_began,
            }
        )

    def _of_others(self) -> dict[str, Any]:
        """Return what differs in the other processes of the team, by rank. DeviceError if their weights do too."""
        if self._team is None:
            return {}
        self._team.check_equal(self.model, self.step)
        generators = determinism.generator_states(self.trial.device)
        _, *others = self._team.collect({"generators": generators, "meter": self.meter.state()})
        return {"others": others}

    def restore(self, saved: dict[str, Any]) -> None:
        """Restore what `checkpoint` returned. After a CheckpointError this state must not be used."""
        if saved.get("format") != _FORMAT:
            raise CheckpointError(f"its format is {saved.get('format')!r} instead of {_FORMAT}")
        # Options of the optimizer follow from the settings, and the rate is set at each step: only its state counts.
        options = self.optimizer.state_dict()["param_groups"]
        try:
            self._check_owner(saved)
            self.model.load_state_dict(saved["model"])
            self.optimizer.load_state_dict({"state": saved["optimizer"], "param_groups": options})
            own = saved if self._team is None or self._team.leads else saved["others"][self._team.rank - 1]
            self.meter.restore(own["meter"])
            if self.early_stopping.on:
                self.early_stopping.restore(saved["watch"], self.trial.device)
            self.step, self.reported = saved["step"], saved["reported"]
            self.latest, self.diverged = saved["latest"], saved["diverged"]
            # Earlier versions had neither.
            self.test = saved.get("test", {})
            self.hits = {name: Hits(*parts) for name, parts in saved.get("hits", {}).items()}
            self.clock.seconds, self._interval_began = saved["elapsed"], saved["interval_began"]
            determinism.restore_generators(own["generators"], self.trial.device)
        except (LookupError, TypeError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"its contents do not fit this trial: {error}") from error

    def _check_owner(self, saved: dict[str, Any]) -> None:
        """Raise CheckpointError for a checkpoint of other steps than this trial's, or on other images or labels."""
        trial, data = self.trial, saved.get("data")
        if data is not None and data != trial.data:
            raise CheckpointError(
                f"it was trained on other images or labels, or with another part held out: {str(data)[:12]}... where "
                f"here they are {trial.data[:12]}..."
            )
        known = trial.fingerprint(saved["step"]), trial.earlier_fingerprint(digest=data is not None)
        if saved["trial"] not in known:
            raise CheckpointError("it belongs to another trial: settings, images, seed or kind of device differ")
