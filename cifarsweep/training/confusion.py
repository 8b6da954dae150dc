"""Which class was taken for which in one evaluation."""

from __future__ import annotations

import torch
from torch import Tensor

from cifarsweep.spec.types import CONFUSION, MetricRow


class Confusion:
    """Remembers the guess for each image on the device, and counts once, when somebody asks."""

    def __init__(self, classes: int) -> None:
        self._classes = classes
        self._pairs: list[Tensor] = []

    @torch.no_grad()
    def add(self, logits: Tensor, labels: Tensor) -> None:
        """Take note of a batch by its logits (N, classes) and labels (N,)."""
        self._pairs.append(labels * self._classes + logits.argmax(1))

    def rows(self, step: int) -> list[MetricRow]:
        """How often which class was taken for which, without what never happened; this waits for the device."""
        # Counted on the host: a few thousand numbers, and no doubt about the order in which a GPU adds.
        counts = torch.bincount(torch.cat(self._pairs).cpu()).tolist()
        names = (f"{CONFUSION}{pair // self._classes}/{pair % self._classes}" for pair in range(len(counts)))
        return [MetricRow(name, step, float(count)) for name, count in zip(names, counts, strict=True) if count]
