"""CPU time of training: cifarsweep's loop against others, in turns, at equal threads.

Against the usual one (`usual_loop.py`), against that of somebody who knows torch well (`careful_loop.py`), and against
itself in bfloat16, where the processor multiplies in that. The usual loop's DataLoader works inside the process, which
spares it the CPU time of passing batches between processes. Each side runs in a process of its own, prepared as it
would be, and none writes checkpoints.

    python benchmarks/bench_training.py                      the convnet, about 3 minutes
    python benchmarks/bench_training.py resnet18 vit         other networks, by name; `all` for every one
    python benchmarks/bench_training.py all --batch 16 --turns 3     sooner done
    python benchmarks/bench_training.py convnet --devices 1 2        a trial on several devices, beside plain DDP
    python benchmarks/bench_training.py resnet18 --devices 1 2 --gpus --batch 512    the same on GPUs
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cifarsweep.worker.sensors import precisions

THREADS = 1


@dataclass(frozen=True)
class Case:
    """A network as a study writes it, and how long it is trained: steps of a turn, and turns of either side."""

    model: dict[str, Any]
    batch: int = 128
    steps: int = 1
    turns: int = 5
    goal: float = 1.0
    precision: str = "auto"


CASES = {
    "convnet": Case({"name": "convnet", "widths": [32, 64, 128, 256, 256]}, steps=4, goal=1.3),
    "convnet-half": Case({"name": "convnet", "widths": [16, 32, 64, 128, 128]}, steps=4, turns=9),
    "convnet-plain": Case({"name": "convnet", "norm": "none"}, steps=2),
    "convnet-group": Case({"name": "convnet", "norm": "group"}, steps=2),
    "resnet9": Case({"name": "resnet9"}),
    "resnet18": Case({"name": "resnet18"}, goal=1.15),
    "resnet34": Case({"name": "resnet34"}, batch=32),
    "resnet50": Case({"name": "resnet50"}, batch=32),
    "resnet101": Case({"name": "resnet101"}, batch=16),
    "resnet152": Case({"name": "resnet152"}, batch=16),
    "vit": Case({"name": "vit"}),
    "vit-conv": Case({"name": "vit", "stem": "conv"}),
    "timm-nfnet": Case({"name": "timm:dm_nfnet_f0", "img_size": 64}, batch=16),
    "timm-vit": Case({"name": "timm:vit_base_patch8_224", "img_size": 32}, batch=16),
}
USUALLY = ("convnet", "convnet-half")


def settings_of(case: Case) -> Any:
    """The settings of a trial that logs at each turn and never ends."""
    from cifarsweep.spec.settings import Settings

    budget = {"steps": 10**6, "log_every": case.steps, "eval_every": 10**6}
    plain = {
        "dataset": "digits",
        "model": case.model,
        "batch_size": case.batch,
        "threads": THREADS,
        "precision": case.precision,
    }
    return Settings.model_validate_json(json.dumps(plain | budget))


def ours(case: Case, root: Path) -> Iterator[None]:
    """Train, one turn for each item."""
    from cifarsweep.worker.child.main import prepare_process

    prepare_process()
    from cifarsweep.checkpoints.folder import CheckpointFolder
    from cifarsweep.data.dataset import load, split
    from cifarsweep.training.events import Metrics
    from cifarsweep.training.loop import Run, train

    settings, images = settings_of(case), load("digits", root)
    parts, folder = split(images, settings.validation), CheckpointFolder(root / "checkpoints")
    for event in train(Run(settings, 0, parts, len(images.classes), folder, save_every_s=1e9)):
        if isinstance(event, Metrics):
            yield


def usual(case: Case, root: Path) -> Iterator[None]:
    """The same network on the same images, as usually written."""
    import torch
    from usual_loop import usual_loop

    torch.set_num_threads(THREADS)
    return usual_loop(settings_of(case), case.steps, root)


def careful(case: Case, root: Path) -> Iterator[None]:
    """The same network on the same images, written with care."""
    import torch
    from careful_loop import careful_loop

    torch.set_num_threads(THREADS)
    return careful_loop(settings_of(case), case.steps, root)


def in_bfloat16(case: Case, root: Path) -> Iterator[None]:
    """Ours in the other precision."""
    return ours(replace(case, precision="bfloat16"), root)


#: By name; the first is measured against each of the others.
SIDES = {"ours": ours, "usual": usual, "careful": careful, "bfloat16": in_bfloat16}


def serve(side: str, case: Case, root: Path) -> None:
    """Run one turn for each line read; print its CPU seconds. The first turn warms up."""
    turns = SIDES[side](case, root)
    for _ in sys.stdin:
        began = time.process_time()
        next(turns)
        print(time.process_time() - began, flush=True)


class Side:
    """A process that takes turns."""

    def __init__(self, side: str, name: str, case: Case, root: Path) -> None:
        self._images = case.steps * case.batch
        command = [sys.executable, __file__, name, "--batch", str(case.batch), "--side", side, str(root)]
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


def compare(name: str, case: Case, root: Path) -> Iterator[str]:
    """Yield the median of ours, then of each of the others with the ratio of ours to it."""
    names = [side for side in SIDES if side != "bfloat16" or precisions()]
    sides = [Side(side, name, case, root) for side in names]
    try:
        for side in sides:
            side.turn()
        turns = [[side.turn() for side in sides] for _ in range(case.turns)]
    finally:
        for side in sides:
            side.close()
    mine, *others = zip(*turns, strict=True)
    speed = f"{statistics.median(mine):.1f} images per CPU second"
    yield f"{name} at batch {case.batch}: {speed}; goal {case.goal}x the usual"
    for other, theirs in zip(names[1:], others, strict=True):
        ratios = sorted(one / two for one, two in zip(mine, theirs, strict=True))
        spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f} in {len(ratios)} turns"
        yield f"  {other}: {statistics.median(theirs):.1f}, ours is {statistics.median(ratios):.2f}x ({spread})"


def on_several_devices(cases: dict[str, Case], numbers: list[int], *, on_gpus: bool) -> None:
    """Print images/s of ours and of plain DDP, on each number of devices."""
    import several_devices

    where = ",".join(map(str, range(max(numbers)))) if on_gpus else "cpu"
    print(
        f"{datetime.date.today()}, a trial on several devices ({where}), {os.cpu_count()} CPUs, {THREADS} thread each"
    )
    for name, case in cases.items():
        print(f"{name}, batch {case.batch} of all devices together", flush=True)
        settings = json.loads(settings_of(case).model_dump_json())
        with tempfile.TemporaryDirectory() as folder:
            for line in several_devices.compare(settings, numbers, where, Path(folder), case.turns):
                print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=USUALLY, help=f"of {', '.join(CASES)}; or all")
    parser.add_argument("--batch", type=int, help="images of a step, in place of each network's own number")
    parser.add_argument("--turns", type=int, help="turns that count")
    parser.add_argument("--side", nargs=2, metavar=("SIDE", "ROOT"), help=argparse.SUPPRESS)
    parser.add_argument("--devices", nargs="+", type=int, metavar="N", help="a trial on N devices, beside plain DDP")
    parser.add_argument("--gpus", action="store_true", help="with --devices: on GPUs, by their numbers from 0 on")
    options = parser.parse_args()
    names = list(CASES) if options.networks == ["all"] else options.networks
    given = {key: value for key in ("batch", "turns") if (value := getattr(options, key))}
    cases = {name: replace(CASES[name], **given) for name in names}
    if options.side:
        serve(options.side[0], *cases.values(), Path(options.side[1]))
        return
    if options.devices:
        on_several_devices(cases, options.devices, on_gpus=options.gpus)
        return
    print(f"{datetime.date.today()}, training, {os.cpu_count()} CPUs, {THREADS} thread, float32", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for name, case in cases.items():
            for line in compare(name, case, Path(folder)):
                print(line, flush=True)


if __name__ == "__main__":
    main()
