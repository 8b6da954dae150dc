"""Sums and guesses that stay on the device until they are read, and the clocks of a run."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from cifarsweep.spec.metrics import CONFUSION
from cifarsweep.spec.own import Metrics
from cifarsweep.spec.types import Hits, MetricRow
from cifarsweep.training.own_functions import Measures


@dataclass(frozen=True, slots=True)
class Means:
    """Means over `images` images; nan over none."""

    loss: float
    accuracy: float
    images: int


class Meter:
    """Sums of loss and hits over images. Adding does not wait for the device.

    Where processes share the images, `total` gives the sums over all of them, and `images` counts those of all.
    """

    def __init__(self, device: torch.device, total: Callable[[Tensor], Tensor] | None = None) -> None:
        self._total = total
        # float64 keeps the sums of millions of losses exact enough, and counts exact.
        self._sums = torch.zeros(2, dtype=torch.float64, device=device)
        self.images = 0

    def add(self, mean_loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Count a batch by its mean loss (), logits (N, classes) and labels (N,).

        Labels of mixed images are probabilities (N, classes); the likeliest class then is the right one.
        """
        self.sum(mean_loss, logits, labels)
        self.images += len(labels)

    @torch.no_grad()
    def sum(self, mean_loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Do the device's part of `add`, which a CUDA graph may hold. `images` is left to the caller."""
        wanted = labels if labels.ndim == 1 else labels.argmax(1)
        hits = (logits.argmax(1) == wanted).sum()
        self._sums += torch.stack((mean_loss.double() * len(labels), hits.double()))

    def read(self) -> Means:
        """Return the means so far; this waits for the device."""
        loss, hits = (self._sums if self._total is None else self._total(self._sums)).tolist()
        if not self.images:
            return Means(float("nan"), float("nan"), 0)
        return Means(loss / self.images, hits / self.images, self.images)

    def clear(self) -> None:
        self._sums.zero_()
        self.images = 0

    def state(self) -> dict[str, Any]:
        return {"sums": self._sums.cpu(), "images": self.images}

    def restore(self, state: dict[str, Any]) -> None:
        self._sums.copy_(state["sums"])
        self.images = state["images"]


class Stopwatch:
    """Seconds spent inside `with` blocks, added to those of earlier attempts."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._since = 0.0

    def __enter__(self) -> Self:
        self._since = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._since


class Every:
    """A timer that is due every `seconds`, the first time after `first` if that is sooner."""

    def __init__(self, seconds: float, first: float | None = None) -> None:
        self._seconds = seconds
        self._last = time.monotonic() - (0.0 if first is None else max(0.0, seconds - first))

    def due(self) -> bool:
        """Return whether the time is up, and if so, start it again."""
        now = time.monotonic()
        if now - self._last < self._seconds:
            return False
        self._last = now
        return True


class Confusion:
    """The guesses of one evaluation: kept on the device, and counted on request."""

    def __init__(self, classes: int, metrics: Metrics | None = None) -> None:
        self._classes, self._measures = classes, Measures(metrics or Metrics())
        self._pairs: list[Tensor] = []

    @torch.no_grad()
    def add(self, logits: Tensor, labels: Tensor) -> None:
        """Add a batch by its logits (N, classes) and labels (N,)."""
        self._pairs.append(labels * self._classes + logits.argmax(1))
        self._measures.add(logits, labels)

    def measured(self) -> dict[str, float]:
        """Return the metrics that the settings ask for, by name; none before a whole evaluation."""
        return self._measures.read()

    def hits(self) -> Hits:
        """Return which images were guessed right, in the order of the batches. This waits for the device."""
        pairs = torch.cat(self._pairs).cpu()
        right = (pairs // self._classes == pairs % self._classes).numpy()
        return Hits(len(right), base64.b64encode(np.packbits(right).tobytes()).decode())

    def rows(self, step: int) -> list[MetricRow]:
        """Return how often each class was taken for each, without zeros. This waits for the device."""
        # Count on the host: there are a few thousand numbers, and the order in which a GPU adds is not fixed.
        counts = torch.bincount(torch.cat(self._pairs).cpu()).tolist()
        names = (f"{CONFUSION}{pair // self._classes}/{pair % self._classes}" for pair in range(len(counts)))
        return [MetricRow(name, step, float(count)) for name, count in zip(names, counts, strict=True) if count]
