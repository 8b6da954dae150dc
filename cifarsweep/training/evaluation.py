"""The forward passes of an evaluation, by one process or shared out among a team: the same numbers in every process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cifarsweep.training.batches import EvalPart
from cifarsweep.training.parallel import Team


def rounds(part: EvalPart, team: Team | None) -> Iterator[tuple[Tensor | None, Sequence[Tensor]]]:
    """Yield the images of one batch after another, and its labels.

    In a team each process gets one of as many batches as there are processes, or none where there are fewer, and the
    labels of all of these.
    """
    if team is None:
        yield from ((images, [labels]) for images, labels in part.batches())
        return
    own, labels = part.batches(team.rank, team.size), part.labels.split(part.size)  # type: ignore[no-untyped-call]
    for first in range(0, len(labels), team.size):
        images, _ = next(own, (None, None))
        yield images, labels[first : first + team.size]


@torch.no_grad()
def logits_of(
    images: Tensor | None,
    labels: Sequence[Tensor],
    model: nn.Module,
    precision: torch.autocast,
    team: Team | None,
    largest: tuple[int, int],
) -> Iterable[tuple[Tensor, Tensor]]:
    """Return logits (N, classes) and labels (N,) of the batches of a round, in the order of their images.

    `largest` is the shape of the logits of a full batch.
    """
    with precision:
        logits: Tensor | None = None if images is None else model(images)
    if team is None:
        assert logits is not None
        return [(logits, labels[0])]
    padded = torch.zeros(largest, device=labels[0].device)
    if logits is not None:
        padded[: len(logits)] = logits
    return [(each[: len(wanted)], wanted) for each, wanted in zip(team.gather(padded), labels, strict=False)]


@torch.no_grad()
def mean_loss(logits: Tensor, labels: Tensor, precision: torch.autocast) -> Tensor:
    """Return the mean cross entropy ()."""
    with precision:
        return F.cross_entropy(logits, labels)
