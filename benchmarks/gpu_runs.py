"""The training that `benchmarks/gpu.py` does: trials of the real loop, and the loop that it is held against."""

from __future__ import annotations

import contextlib
import functools
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEVICE = "cuda:0"
CLASSES = 10


@dataclass(frozen=True)
class Scale:
    """How large everything is. Checks of bits see `few` images: their steps are some epochs, each with an odd batch."""

    images: int
    few: int
    steps: int
    turns: int
    slots: tuple[int, ...]
    model: dict[str, Any]
    deep: dict[str, Any]
    batch_size: int
    dry: bool = False


FULL = Scale(50_000, 2_652, 200, 3, (1, 2, 4, 8), {"widths": [32, 64, 128, 256, 256]}, {"name": "resnet18"}, 128)
_TINY_NET = {"widths": [4, 8], "convs_per_stage": 1}
TINY = Scale(36, 36, 7, 1, (1, 2), _TINY_NET, _TINY_NET, 8, dry=True)


def say(what: str, **found: Any) -> None:
    """Print one finding as a line; `ok` says whether a check holds."""
    print(json.dumps({"what": what, **found}), flush=True)


@functools.cache
def images_of(count: int) -> Any:
    """Random images, always the same, as a data set is given to a run."""
    import torch

    from cifarsweep.data.dataset import Split

    draw = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count + count // 5, 32, 32, 3), generator=draw, dtype=torch.uint8)
    labels = torch.randint(0, CLASSES, (len(pixels),), generator=draw)
    images, half = pixels.permute(0, 3, 1, 2), torch.full((3,), 0.5)
    return Split(images[:count], labels[:count], images[count:], labels[count:], half, half / 2, sha256="random")


def settings_of(scale: Scale, **changes: Any) -> Any:
    """Settings as a trial would have them."""
    from cifarsweep.spec.settings import Settings

    model = {"name": "convnet", "dropout": 0.1, **scale.model}
    usual = {"dataset": "random", "model": model, "batch_size": scale.batch_size, "log_every": max(1, scale.steps // 4)}
    return Settings.model_validate_json(json.dumps(usual | changes))


def short(scale: Scale, **changes: Any) -> Any:
    """Settings of a trial of a few steps."""
    return settings_of(scale, steps=scale.steps, eval_every=scale.steps, **changes)


def events_of(scale: Scale, settings: Any, **options: Any) -> Iterator[Any]:
    """Train for real, on few images unless `images` says how many."""
    from cifarsweep.checkpoints.folder import CheckpointFolder
    from cifarsweep.training.loop import Run, train

    options = {"device": DEVICE, "save_every_s": 1e9, "seed": 0, **options}
    images = images_of(options.pop("images", scale.few))
    with contextlib.ExitStack() as stack:
        if "folder" not in options:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            options["folder"] = CheckpointFolder(Path(folder))
        yield from train(Run(settings=settings, split=images, classes=CLASSES, **options))


def outcome(events: Iterator[Any]) -> dict[str, Any]:
    """What must be the same bits: the weights' digest and every row that is not a time; and captures that failed."""
    from cifarsweep.spec.metrics import TIMING_METRICS
    from cifarsweep.training.events import CaptureFailed, Finished, Metrics

    found: dict[str, Any] = {"weights": None, "rows": {}}
    failed = 0
    for event in events:
        if isinstance(event, Metrics):
            kept = [row for row in event.rows if row.name not in TIMING_METRICS]
            found["rows"] |= {f"{row.name} {row.step}": row.value.hex() for row in kept}
        elif isinstance(event, Finished):
            found["weights"] = event.result.weights_sha256
        elif isinstance(event, CaptureFailed):
            failed += 1
            say("a capture failed", step=event.step, reason=event.reason)
    return {"bits": found, "failed": failed}


def interrupted(scale: Scale, settings: Any) -> dict[str, Any]:
    """The same trial, stopped half way and taken up from its checkpoint."""
    from cifarsweep.checkpoints.folder import CheckpointFolder
    from cifarsweep.training.events import Metrics, Saved

    asked = iter(range(10**9))
    with tempfile.TemporaryDirectory() as name:
        folder = CheckpointFolder(Path(name))
        half = events_of(scale, settings, folder=folder, should_stop=lambda: next(asked) >= scale.steps // 2)
        first = list(half)
        saved = next(event.checkpoint for event in reversed(first) if isinstance(event, Saved))
        again = events_of(scale, settings, folder=folder, resume=(saved,))
        return outcome(iter([*(event for event in first if isinstance(event, Metrics)), *again]))


def ours(scale: Scale, graphs: bool = True, seed: int = 0, **changes: Any) -> Iterator[None]:
    """Train for ever, one turn for each item."""
    from cifarsweep.training.events import Metrics

    settings = settings_of(scale, **{"steps": 10**9, "log_every": scale.steps, "eval_every": 10**9, **changes})
    for event in events_of(scale, settings, graphs=graphs, seed=seed, images=scale.images):
        if isinstance(event, Metrics):
            yield


def careful(scale: Scale) -> Iterator[None]:
    """What an expert writes: images on the device, bfloat16, channels last, a fused optimizer, no `.item()`."""
    import torch
    import torch.nn.functional as F

    from cifarsweep.models import build
    from cifarsweep.training.device import autocast

    settings = settings_of(scale, steps=1)
    model = build(settings.model, CLASSES, torch.Generator()).to(DEVICE).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    split = images_of(scale.images)
    padded = F.pad(split.train_images, (4, 4, 4, 4)).permute(0, 2, 3, 1).contiguous().to(DEVICE)
    labels, size = split.train_labels.to(DEVICE), scale.batch_size
    line, step = torch.arange(32).to(DEVICE), 0
    while True:
        order = torch.randperm(len(labels)).to(DEVICE)
        draws = torch.randint(0, 9, (2, len(labels))).to(DEVICE)
        flips = (torch.rand(len(labels)) < 0.5).to(DEVICE)
        for start in range(0, len(labels) - size + 1, size):
            chosen, rows = order[start : start + size], slice(start, start + size)
            top, left = draws[:, rows].unsqueeze(2)
            columns = left + torch.where(flips[rows].unsqueeze(1), 31 - line, line)
            pixels = padded[chosen.view(-1, 1, 1), (top + line).unsqueeze(2), columns.unsqueeze(1)]
            images = (pixels.float().div_(255).sub_(0.5).div_(0.25)).permute(0, 3, 1, 2)
            optimizer.zero_grad()
            with autocast(settings, torch.device(DEVICE)):
                loss = F.cross_entropy(model(images), labels[chosen])
            loss.backward()
            optimizer.step()
            step += 1
            if step % scale.steps == 0:
                torch.cuda.synchronize()
                yield


def seconds_of(turns: Iterator[None], scale: Scale) -> float:
    """Seconds of a turn, the median of some after two that warm up and capture."""
    taken = []
    for _ in range(scale.turns + 2):
        began = time.perf_counter()
        next(turns)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken[2:])
