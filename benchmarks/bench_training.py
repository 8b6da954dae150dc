"""CPU time of training: cifarsweep's loop against the usual one, in turns, at equal threads.

The usual loop is the one of most tutorials: a DataLoader over PIL images with torchvision's transforms, NCHW tensors,
a plain optimizer, and `.item()` on loss and accuracy at each step. Its loader works inside the process, which spares it
the CPU time of passing batches between processes. Each side runs in a process of its own, prepared as it would be.

    python benchmarks/bench_training.py                      the convnet, about 90 seconds
    python benchmarks/bench_training.py resnet18 vit         other networks, by name; `all` for every one
"""

from __future__ import annotations

import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

THREADS = 1
BATCH = 128


@dataclass(frozen=True)
class Case:
    """A network as a study writes it, and how long it is trained: steps of a turn, and turns of either side."""

    model: dict[str, Any]
    steps: int = 1
    turns: int = 5
    goal: float = 1.0


CASES = {
    "convnet": Case({"name": "convnet", "widths": [32, 64, 128, 256, 256]}, steps=4, goal=1.3),
    "convnet-half": Case({"name": "convnet", "widths": [16, 32, 64, 128, 128]}, steps=4, turns=9),
    "convnet-plain": Case({"name": "convnet", "norm": "none"}, steps=2),
    "convnet-group": Case({"name": "convnet", "norm": "group"}, steps=2),
    "resnet9": Case({"name": "resnet9"}),
    "resnet18": Case({"name": "resnet18"}, goal=1.15),
    "resnet50": Case({"name": "resnet50"}, turns=3),
    "vit": Case({"name": "vit"}),
    "vit-conv": Case({"name": "vit", "stem": "conv"}),
}
USUALLY = ("convnet", "convnet-half")


def ours(case: Case, root: Path) -> Iterator[None]:
    """Train, one turn for each item."""
    from cifarsweep.training.process import prepare_process

    prepare_process()
    from cifarsweep.data.dataset import load, split
    from cifarsweep.spec.settings import Settings
    from cifarsweep.training.events import Metrics
    from cifarsweep.training.folder import CheckpointFolder
    from cifarsweep.training.loop import Run, train

    budget = {"steps": 10**6, "log_every": case.steps, "eval_every": 10**6}
    plain = {"dataset": "digits", "model": case.model, "batch_size": BATCH, "threads": THREADS, **budget}
    settings = Settings.model_validate_json(json.dumps(plain))
    images = load("digits", root)
    parts = split(images, settings.validation)
    for event in train(Run(settings, 0, parts, len(images.classes), CheckpointFolder(root / "checkpoints"))):
        if isinstance(event, Metrics):
            yield


def usual(case: Case, root: Path) -> Iterator[None]:
    """The same network on the same images, as usually written."""
    import torch
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset
    from torchvision import transforms

    from cifarsweep.data.dataset import load
    from cifarsweep.models import build
    from cifarsweep.spec.settings import Settings

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

    settings = Settings.model_validate_json(json.dumps({"model": case.model, "steps": 1}))
    model = build(settings.model, len(images.classes)).to(memory_format=torch.contiguous_format)
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
            if step % case.steps == 0:
                yield


def serve(side: str, case: Case, root: Path) -> None:
    """Run one turn for each line read; print its CPU seconds. The first turn warms up."""
    turns = {"ours": ours, "usual": usual}[side](case, root)
    for _ in sys.stdin:
        began = time.process_time()
        next(turns)
        print(time.process_time() - began, flush=True)


class Side:
    """A process that takes turns."""

    def __init__(self, side: str, name: str, root: Path) -> None:
        self._images = CASES[name].steps * BATCH
        command = [sys.executable, __file__, "--side", side, name, str(root)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def turn(self) -> float:
        """Return images per CPU second of one turn."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._images / float(self._process.stdout.readline())

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


def compare(name: str, root: Path) -> str:
    """Return medians and their ratio as a phrase."""
    sides = [Side(side, name, root) for side in ("ours", "usual")]
    try:
        for side in sides:
            side.turn()
        pairs = [[side.turn() for side in sides] for _ in range(CASES[name].turns)]
    finally:
        for side in sides:
            side.close()
    mine, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratios = sorted(one / other for one, other in pairs)
    return (
        f"{name} {mine:.0f} images per CPU second against {theirs:.0f} of the usual loop,"
        f" {statistics.median(ratios):.2f}x ({ratios[0]:.2f} to {ratios[-1]:.2f} in {len(ratios)} turns,"
        f" goal {CASES[name].goal}x)"
    )


def main(names: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        results = [compare(name, Path(folder)) for name in names]
    today = datetime.date.today().isoformat()
    machine = f"{os.cpu_count()} CPUs, {THREADS} thread, batch {BATCH}, float32"
    print(f"- {today}, training ({machine}): " + "; ".join(results))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--side", side, name, root]:
            serve(side, CASES[name], Path(root))
        case []:
            main(USUALLY)
        case ["all"]:
            main(list(CASES))
        case names:
            main(names)
