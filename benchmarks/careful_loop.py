"""The loop of somebody who knows torch well and writes it for one training: what training is measured against as well.

The data set is one uint8 tensor; a batch is cropped, mirrored and normalised at once; features lie with the channels
last; AdamW is the fused one; glibc keeps what torch frees; and no number leaves the loop but one loss a turn. It keeps
no checkpoints, its crops depend on the order in which they are drawn, and it can't go on after it was killed.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from usual_loop import plain_network

from cifarsweep.data.dataset import load
from cifarsweep.spec.settings import Settings

PADDING = 4
#: mallopt(3): free memory at the top that is given back, and the size from which a block is mapped on its own.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> None:
    """Let glibc keep what torch frees, as one does with MALLOC_TRIM_THRESHOLD_ and MALLOC_MMAP_THRESHOLD_."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, 1 << 30)
        mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)


def augmented(padded: Tensor, indices: Tensor) -> Tensor:
    """Random crops and mirror images of those pictures, normalised, with the channels last."""
    count, side = len(indices), padded.shape[-1] - 2 * PADDING
    windows = padded.unfold(2, side, 1).unfold(3, side, 1)  # (N, C, place, place, side, side), without a copy
    down, right = torch.randint(2 * PADDING + 1, (2, count))
    images = windows[indices, :, down, right]
    images = torch.where((torch.rand(count) < 0.5)[:, None, None, None], images.flip(3), images)
    # Bytes first: to turn them is cheaper than to turn floats.
    images = images.contiguous(memory_format=torch.channels_last)
    return images.float().sub_(127.5).div_(63.75)


def careful_loop(settings: Settings, turn: int, root: Path | None = None) -> Iterator[None]:
    """Train for ever on the data set of `settings`, on the CPU; each item is `turn` steps."""
    keep_freed_memory()
    images = load(settings.dataset, root)
    padded = F.pad(images.train_images, (PADDING,) * 4, mode="constant", value=0)
    labels = images.train_labels.long()
    model: nn.Module = plain_network(settings.model, len(images.classes)).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    size, step = settings.batch_size, 0
    total = torch.zeros(())
    while True:
        for batch in torch.randperm(len(labels))[: len(labels) // size * size].split(size):
            optimizer.zero_grad(set_to_none=True)
            loss = F.cross_entropy(model(augmented(padded, batch)), labels[batch])
            loss.backward()
            optimizer.step()
            total += loss.detach()
            step += 1
            if step % turn == 0:
                total.item()
                total.zero_()
                yield
