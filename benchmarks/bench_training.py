"""CPU time of training the convnet: cifarsweep's loop against the usual one, in turns, at equal threads.

The usual loop is the one of most tutorials: a DataLoader over PIL images with torchvision's transforms, NCHW tensors,
a plain optimizer, and `.item()` on loss and accuracy at each step. Its loader works inside the process, which spares it
the CPU time of passing batches between processes. Each side runs in a process of its own, prepared as it would be.

    python benchmarks/bench_training.py            about 80 seconds
"""

from __future__ import annotations

import datetime
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

THREADS = 1
BATCH = 128
STEPS_A_TURN = 4
FULL, HALF = (32, 64, 128, 256, 256), (16, 32, 64, 128, 128)
TURNS = {FULL: 5, HALF: 9}


def ours(widths: tuple[int, ...], root: Path) -> Iterator[None]:
    """Train, one turn for each item."""
    from cifarsweep.training.process import prepare_process

    prepare_process()
    from cifarsweep.data.dataset import load, split
    from cifarsweep.spec.settings import ConvNet, Settings
    from cifarsweep.training.events import Metrics
    from cifarsweep.training.folder import CheckpointFolder
    from cifarsweep.training.loop import Run, train

    settings = Settings(
        dataset="digits",
        model=ConvNet(widths=widths),
        batch_size=BATCH,
        steps=10**6,
        log_every=STEPS_A_TURN,
        eval_every=10**6,
        threads=THREADS,
    )
    images = load("digits", root)
    parts = split(images, settings.validation)
    for event in train(Run(settings, 0, parts, len(images.classes), CheckpointFolder(root / "checkpoints"))):
        if isinstance(event, Metrics):
            yield


def usual(widths: tuple[int, ...], root: Path) -> Iterator[None]:
    """The same network on the same images, as usually written."""
    import torch
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset
    from torchvision import transforms

    from cifarsweep.data.dataset import load
    from cifarsweep.models import build
    from cifarsweep.spec.settings import ConvNet

    torch.set_num_threads(THREADS)
    images = load("digits", root)
    pictures = images.train_images.permute(0, 2, 3, 1).contiguous().numpy()
    change = transforms.Compose(
        [
            transforms.RandomCrop(32, padding=4),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize((0.5,) * 3, (0.25,) * 3),
        ]
    )

    class Pictures(Dataset):
        def __len__(self) -> int:
            return len(pictures)

        def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
            return change(Image.fromarray(pictures[index])), int(images.train_labels[index])

    model = build(ConvNet(widths=widths), len(images.classes)).to(memory_format=torch.contiguous_format)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    loader = DataLoader(Pictures(), batch_size=BATCH, shuffle=True, drop_last=True)
    step = 0
    while True:
        for batch, labels in loader:
            optimizer.zero_grad()
            logits = model(batch)
            loss = torch.nn.functional.cross_entropy(logits, labels)
            loss.backward()
            optimizer.step()
            loss.item(), (logits.argmax(1) == labels).float().mean().item()
            step += 1
            if step % STEPS_A_TURN == 0:
                yield


def serve(side: str, widths: tuple[int, ...], root: Path) -> None:
    """Run one turn for each line read; print its CPU seconds. The first turn warms up."""
    turns = {"ours": ours, "usual": usual}[side](widths, root)
    for _ in sys.stdin:
        began = time.process_time()
        next(turns)
        print(time.process_time() - began, flush=True)


class Side:
    """A process that takes turns."""

    def __init__(self, name: str, widths: tuple[int, ...], root: Path) -> None:
        command = [sys.executable, __file__, name, str(root), *map(str, widths)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def turn(self) -> float:
        """Return images per CPU second of one turn."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return STEPS_A_TURN * BATCH / float(self._process.stdout.readline())

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


def compare(widths: tuple[int, ...], root: Path) -> str:
    """Return medians and their ratio as a phrase."""
    sides = [Side(name, widths, root) for name in ("ours", "usual")]
    try:
        for side in sides:
            side.turn()
        pairs = [[side.turn() for side in sides] for _ in range(TURNS[widths])]
    finally:
        for side in sides:
            side.close()
    mine, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratios = sorted(one / other for one, other in pairs)
    return (
        f"widths {'-'.join(map(str, widths))}: {mine:.0f} images per CPU second against {theirs:.0f} of the usual loop,"
        f" {statistics.median(ratios):.2f}x ({ratios[0]:.2f} to {ratios[-1]:.2f} in {len(ratios)} turns)"
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        results = [compare(widths, Path(folder)) for widths in TURNS]
    today = datetime.date.today().isoformat()
    machine = f"{os.cpu_count()} CPUs, {THREADS} thread, batch {BATCH}, float32"
    print(f"- {today}, training the convnet ({machine}): " + "; ".join(results) + " (goal 1.2x)")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        serve(sys.argv[1], tuple(map(int, sys.argv[3:])), Path(sys.argv[2]))
    else:
        main()
