"""Everything that changes while a trial trains: what a checkpoint must hold so that nobody sees the interruption."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from cifarsweep.data.keyed import generator
from cifarsweep.errors import CheckpointError
from cifarsweep.models import build
from cifarsweep.spec import words
from cifarsweep.spec.settings import Settings
from cifarsweep.spec.words import MetricRow, Outcome, TrialResult
from cifarsweep.training import randomness
from cifarsweep.training.checkpoints import weights_sha256
from cifarsweep.training.device import autocast
from cifarsweep.training.meter import Meter, Score, Stopwatch
from cifarsweep.training.optimizers import make_optimizer, set_rate

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Trial:
    """What does not change. `data` are numbers that tell the images from others."""

    settings: Settings
    seed: int
    classes: int
    device: torch.device
    data: tuple[float, ...]

    def fingerprint(self) -> str:
        """Digest what a checkpoint must agree with. Defaults are left out, so that a new setting breaks none."""
        settings = self.settings.model_dump_json(exclude_defaults=True)
        parts = (settings, self.seed, self.classes, self.device.type, *self.data)
        return hashlib.sha256(" ".join(map(str, parts)).encode()).hexdigest()


class TrainState:
    """Model, optimizer, position and sums of a trial; at step 0 until it is restored."""

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        randomness.seed_global_generators(trial.seed)
        weights = generator(trial.seed, "weights", 0)
        self.model = build(trial.settings.model, trial.classes, weights).to(trial.device)
        self.optimizer = make_optimizer(trial.settings.optimizer, self.model.parameters())
        self.meter = Meter(trial.device)
        self.clock = Stopwatch()
        self.step = 0
        #: the last step whose rows are out, and the values of the newest row of each metric
        self.reported = 0
        self.latest: dict[str, float] = {}
        self.diverged = False
        self._interval_began = 0.0

    def update(self, images: Tensor, labels: Tensor, rate: float) -> None:
        """Take one step on images (N, 3, 32, 32) and labels (N,). It returns before a GPU is done with it."""
        set_rate(self.optimizer, rate)
        with autocast(self.trial.settings, self.trial.device):
            logits = self.model(images)
            loss = F.cross_entropy(logits, labels)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.meter.add(loss.detach(), logits.detach(), labels)
        self.step += 1

    def interval(self) -> Score:
        """Return the training means since the last row; the wait for the device is training time."""
        with self.clock:
            return self.meter.read()

    def speed(self) -> float:
        """Return the training images per second since the last row, or else of that row."""
        seconds = self.clock.seconds - self._interval_began
        if self.meter.images and seconds:
            return self.meter.images / seconds
        return self.latest.get(words.IMAGES_PER_SECOND, 0.0)

    def latest_training(self) -> tuple[float | None, float | None]:
        """Return training loss and accuracy of the last row, None before the first."""
        return self.latest.get(words.TRAIN_LOSS), self.latest.get(words.TRAIN_ACCURACY)

    def close_interval(
        self, train: Score, val: Score | None, rate: float, images: int, epoch: float
    ) -> list[MetricRow]:
        """Return the rows of this step and start a new interval.

        A loss that is not finite ends the trial here: its accuracy counts as that of a guess.
        """
        if not math.isfinite(train.loss) or (val is not None and not math.isfinite(val.loss)):
            self.diverged = True
            val = Score(val.loss if val else math.nan, 1 / self.trial.classes, 0)
        values = {words.TRAIN_LOSS: train.loss, words.TRAIN_ACCURACY: train.accuracy}
        if val is not None:
            values |= {words.VAL_LOSS: val.loss, words.VAL_ACCURACY: val.accuracy}
        values |= {words.LEARNING_RATE: rate, words.EPOCH: epoch, words.IMAGES: float(images)}
        values |= {words.ELAPSED: self.clock.seconds, words.IMAGES_PER_SECOND: self.speed()}
        self.latest |= values
        self.reported = self.step
        self._interval_began = self.clock.seconds
        self.meter.clear()
        return [MetricRow(name, self.step, value) for name, value in values.items()]

    def result(self) -> TrialResult:
        """Return what the trial leaves behind."""
        outcome = Outcome.DIVERGED if self.diverged else Outcome.FINISHED
        return TrialResult(outcome, self.step, dict(self.latest), weights_sha256(self.model.state_dict()))

    def checkpoint(self) -> dict[str, Any]:
        """Return everything as tensors and plain values."""
        return {
            "format": _FORMAT,
            "trial": self.trial.fingerprint(),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict()["state"],
            "generators": randomness.generator_states(self.trial.device),
            "meter": self.meter.state(),
            "step": self.step,
            "reported": self.reported,
            "latest": self.latest,
            "diverged": self.diverged,
            "elapsed": self.clock.seconds,
            "interval_began": self._interval_began,
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Become what `checkpoint` described. After a CheckpointError this state must not be used."""
        if saved.get("format") != _FORMAT:
            raise CheckpointError(f"its format is {saved.get('format')!r} instead of {_FORMAT}")
        if saved.get("trial") != self.trial.fingerprint():
            raise CheckpointError("it belongs to another trial: settings, images, seed or kind of device differ")
        # Options of the optimizer follow from the settings, and the rate is set at each step: only its state counts.
        options = self.optimizer.state_dict()["param_groups"]
        try:
            self.model.load_state_dict(saved["model"])
            self.optimizer.load_state_dict({"state": saved["optimizer"], "param_groups": options})
            self.meter.restore(saved["meter"])
            self.step, self.reported = saved["step"], saved["reported"]
            self.latest, self.diverged = saved["latest"], saved["diverged"]
            self.clock.seconds, self._interval_began = saved["elapsed"], saved["interval_began"]
            randomness.restore_generators(saved["generators"], self.trial.device)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"its contents do not fit this trial: {error}") from error
