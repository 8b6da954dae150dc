"""Images per second of the input pipeline (crop, flip, normalise, batches of 128) against torchvision's DataLoader.

Ours runs on one thread; the plain way is torchvision's transforms in a DataLoader with two workers. Both go over the
same images in turns, so that a slow minute of the machine hits both. CPU time counts the workers too.

    python benchmarks/bench_data.py
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterable
from datetime import date

import psutil
import torch
import torchvision.transforms as T
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cifarsweep.data import catalog
from cifarsweep.data.augment import epoch_plan, train_batch
from cifarsweep.data.dataset import Split, load, split
from cifarsweep.spec.settings import Augment, Validation

BATCH, IMAGES, ROUNDS, WORKERS = 128, 10_240, 5, 2
PREFERRED = ("cifar10", "cifar10-jpeg", "cifar10-jpeg-small")


class Pictures(Dataset[tuple[Tensor, int]]):
    """What torchvision's CIFAR10 does for one image."""

    def __init__(self, parts: Split) -> None:
        self.pixels, self.labels = parts.train_images.permute(0, 2, 3, 1).numpy(), parts.train_labels.tolist()
        normalise = T.Normalize(parts.mean.tolist(), parts.std.tolist())
        self.ready = T.Compose([T.RandomCrop(32, padding=4), T.RandomHorizontalFlip(), T.ToTensor(), normalise])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.ready(Image.fromarray(self.pixels[index])), self.labels[index]


def chosen_split() -> tuple[str, Split]:
    """The training part of CIFAR-10 where it is installed, else of digits, cut or repeated to `IMAGES` images."""
    name = next((name for name in PREFERRED if catalog.info(name)), catalog.EMBEDDED)
    parts = split(load(name), Validation())
    picks = torch.arange(IMAGES) % len(parts.train_labels)
    images = parts.train_images.permute(0, 2, 3, 1)[picks].permute(0, 3, 1, 2)
    return name, Split(images, parts.train_labels[picks], images[:1], picks[:1], parts.mean, parts.std)


def ours(parts: Split, epoch: int) -> Iterable[tuple[Tensor, Tensor]]:
    plan = epoch_plan(IMAGES, 0, epoch, Augment())
    return (train_batch(parts, plan, start, start + BATCH) for start in range(0, IMAGES, BATCH))


def cpu_seconds() -> float:
    """CPU time of this process and of the loader's workers."""
    me = psutil.Process()
    return sum(sum(process.cpu_times()[:2]) for process in (me, *me.children()))


def measure(batches: Callable[[], Iterable[tuple[Tensor, Tensor]]]) -> tuple[float, float]:
    """Images per second of wall time and of CPU time over one epoch."""
    wall, cpu, seen = time.perf_counter(), cpu_seconds(), 0
    for images, _ in batches():
        seen += len(images)
    return seen / (time.perf_counter() - wall), seen / (cpu_seconds() - cpu)


def main() -> None:
    torch.set_num_threads(1)
    name, parts = chosen_split()
    loader = DataLoader(Pictures(parts), BATCH, shuffle=True, num_workers=WORKERS, persistent_workers=True)
    measure(lambda: loader)  # starts the workers
    measure(lambda: ours(parts, 0))
    mine: list[tuple[float, float]] = []
    plain: list[tuple[float, float]] = []
    for turn in range(ROUNDS):
        # Three epochs of ours, because the clock of CPU time ticks coarsely.
        mine.append(measure(lambda turn=turn: (b for n in range(3) for b in ours(parts, 3 * turn + n))))
        plain.append(measure(lambda: loader))
    (wall, cpu), (plain_wall, plain_cpu) = (
        [statistics.median(values) for values in zip(*rows, strict=True)] for rows in (mine, plain)
    )
    print(f"{'images/s':<44}{'wall':>10}{'CPU time':>12}")
    print(f"{'cifarsweep, 1 thread':<44}{wall:>10,.0f}{cpu:>12,.0f}")
    print(f"{f'torchvision DataLoader, {WORKERS} workers':<44}{plain_wall:>10,.0f}{plain_cpu:>12,.0f}")
    print(f"{'ratio (goal: wall >= 8)':<44}{wall / plain_wall:>9.1f}x{cpu / plain_cpu:>11.1f}x")
    print(
        f"| {date.today()} | input pipeline, {name}, {os.cpu_count()} CPUs, torch {torch.__version__} | "
        f"{wall:,.0f} images/s wall | {plain_wall:,.0f} with {WORKERS} loader workers | {wall / plain_wall:.1f}x wall, "
        f"{cpu / plain_cpu:.1f}x CPU time | median of {ROUNDS} |"
    )


if __name__ == "__main__":
    main()
