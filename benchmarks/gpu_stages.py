"""The stages of `benchmarks/gpu.py`. Each says what it finds, line by line; checks carry `ok`."""

from __future__ import annotations

import contextlib
import gc
import json
import statistics
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from gpu_runs import (
    DEVICE,
    Scale,
    careful,
    events_of,
    interrupted,
    ours,
    outcome,
    say,
    seconds_of,
    settings_of,
    short,
)

from cifarsweep.spec.metrics import GPU_MEMORY, GPU_POWER, GPU_TEMPERATURE

RECIPES: dict[str, dict[str, Any]] = {"crop, flip": {}, "RandAugment": {"randaugment": 2}}
_EVERYTHING = {"randaugment": 2, "cutout": 8, "erasing": 0.5, "mixup": 0.4, "cutmix": 1.0, "label_smoothing": 0.1}
#: Settings whose graphs are held against plain steps.
CASES: dict[str, dict[str, Any]] = {
    "the defaults": {},
    "all augmentations": {"augment": _EVERYTHING},
    "SGD in float32, clipped": {"optimizer": {"name": "sgd", "lr": 0.05, "clip": 1.0}, "precision": "float32"},
}
#: What is read of nvidia-smi, by our name, in our unit, and how far two readings at nearly one moment may lie apart.
SMI = {
    GPU_MEMORY: ("memory.used", 2.0**20, 0.05),
    GPU_TEMPERATURE: ("temperature.gpu", 1.0, 0.1),
    GPU_POWER: ("power.draw", 1.0, 0.3),
}


def bits(scale: Scale) -> None:
    """Graph = plain = again = interrupted."""
    for name, changes in CASES.items():
        settings = short(scale, **changes)
        graph = outcome(events_of(scale, settings))
        plain = outcome(events_of(scale, settings, graphs=False))
        say(f"bits of {name}: graph = plain", ok=graph["bits"] == plain["bits"] and not graph["failed"])
        say(f"bits of {name}: again", ok=outcome(events_of(scale, settings))["bits"] == graph["bits"])
        say(f"bits of {name}: interrupted", ok=interrupted(scale, settings)["bits"] == graph["bits"])


def leak(scale: Scale) -> None:
    """Memory after each of six trials of one process, without the cyclic collector and after it."""
    import torch

    from cifarsweep.training.device import free_memory

    held = []
    gc.disable()
    for trial in range(6):
        recipe = RECIPES["RandAugment" if trial % 2 else "crop, flip"]
        outcome(events_of(scale, short(scale, augment=recipe), seed=trial))
        held.append(torch.cuda.memory_allocated())
        free_memory(torch.device(DEVICE))
        say(f"memory after trial {trial}", allocated=held[-1], reserved=torch.cuda.memory_reserved())
    gc.enable()
    say("no trial's memory outlives it", ok=max(held[1:]) <= held[0])


def oom(scale: Scale) -> None:
    """Memory for the plain step alone: no graph, same bits. For neither: the trial's error, and the process lives."""
    import torch

    from cifarsweep.training.device import free_memory
    from cifarsweep.worker.failures import Failure, classify

    device, batch = torch.device(DEVICE), min(512, scale.few // 4)
    settings = settings_of(scale, steps=max(12, scale.steps // 10), model=scale.deep, batch_size=batch)

    def peak(graphs: bool) -> tuple[int, dict[str, Any]]:
        free_memory(device)
        torch.cuda.reset_peak_memory_stats(device)
        found = outcome(events_of(scale, settings, graphs=graphs))
        return torch.cuda.max_memory_reserved(device), found

    (plain_peak, plain), (graph_peak, _) = peak(False), peak(True)
    total = torch.cuda.mem_get_info(device)[1]
    say("memory at its peak", plain=plain_peak, graph=graph_peak, total=total)
    free_memory(device)
    torch.cuda.set_per_process_memory_fraction((plain_peak + max(graph_peak, plain_peak)) / 2 / total, device)
    capped = outcome(events_of(scale, settings))
    say("no memory for a graph: same bits", ok=capped["bits"] == plain["bits"], captures_failed=capped["failed"])
    free_memory(device)
    torch.cuda.set_per_process_memory_fraction(plain_peak / 3 / total, device)
    try:
        outcome(events_of(scale, settings))
        say("no memory for a step: out of memory", ok=False)
    except Exception as error:  # noqa: BLE001 - whatever it raises is the finding
        kind = classify(error)
        say("no memory for a step: out of memory", ok=kind is Failure.OUT_OF_MEMORY, error=str(error)[:300])
    torch.cuda.set_per_process_memory_fraction(1.0, device)
    free_memory(device)
    say("the process trains on after it", ok=outcome(events_of(scale, short(scale)))["bits"]["weights"] is not None)


def capture(scale: Scale) -> None:
    """A network that no graph can hold trains to the bits of plain steps, dropout included."""
    from torch import Tensor, nn

    from cifarsweep.training import state

    def treated(*arguments: Any) -> nn.Module:
        class Asks(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.net = build(*arguments)

            def forward(self, images: Tensor) -> Tensor:
                found: Tensor = self.net(images * (1 + 0 * images[0, 0, 0, 0].item()))
                return found

        return Asks()

    good, build = outcome(events_of(scale, short(scale), graphs=False)), state.build
    state.build = treated  # type: ignore[assignment]
    plain = outcome(events_of(scale, short(scale), graphs=False))
    graph = outcome(events_of(scale, short(scale)))
    state.build = build
    say("a forced failure is told once", ok=graph["failed"] == 1)
    say("after a forced failure: bits of plain steps", ok=graph["bits"] == plain["bits"])
    # No check: torch releases before the middle of 2026 fail here, which is why a worker takes a new process.
    try:
        same = outcome(events_of(scale, short(scale)))["bits"] == good["bits"]
        say("another trial in the same process", same_bits=same)
    except Exception as error:  # noqa: BLE001 - whatever it raises is the finding
        say("another trial in the same process", error=f"{type(error).__name__}: {error}"[:300])


def rates(scale: Scale) -> None:
    """Images/s of a small network: graph and plain x recipes x determinism, and the careful loop."""
    import torch

    images = scale.steps * scale.batch_size
    torch.backends.cudnn.benchmark = True
    say("images/s: careful loop, crop, flip, fast", images_per_s=images / seconds_of(careful(scale), scale))
    for determinism in ("exact", "fast"):
        for name, recipe in RECIPES.items():
            for graphs in (True, False):
                turns = ours(scale, graphs, augment=recipe, determinism=determinism)
                label = f"images/s: {'graph' if graphs else 'plain'}, {name}, {determinism}"
                say(label, images_per_s=images / seconds_of(turns, scale))


def devices(scale: Scale) -> None:
    """Images/s of a trial on one device and on all, ours and as torch's tutorial writes it."""
    import tempfile

    import several_devices
    import torch

    count = 2 if scale.dry else torch.cuda.device_count()
    numbers = (count,) if scale.dry else (1, count)
    if count < 2:
        say("several devices: not tried, since torch sees fewer than two GPUs here", gpus=count)
        return
    where = "cpu" if scale.dry else ",".join(map(str, range(count)))
    settings = json.loads(settings_of(scale, dataset="digits", steps=10**6, eval_every=10**6).model_dump_json())
    with tempfile.TemporaryDirectory() as root:
        found = several_devices.rates(settings, numbers, where, Path(root), scale.turns, scale.dry)
    for (name, number), rates in found.items():
        speed = statistics.median(rate.by_clock for rate in rates)
        say(f"images/s: {name}, devices {number}", images_per_s=speed, of_each=speed / number)


class Children:
    """Processes that each train a seed of their own, `serve` below, when told to by a line."""

    def __init__(self, scale: Scale, count: int) -> None:
        command = [
            sys.executable,
            str(Path(__file__).with_name("gpu.py")),
            *(["--dry-run"] if scale.dry else []),
            "--serve",
        ]
        self._all = [
            subprocess.Popen([*command, str(seed)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for seed in range(count)
        ]

    def ask(self, count: int, task: str) -> list[str]:
        """Let the first `count` do a task at once; return their answers. RuntimeError where one has died."""
        for child in self._all[:count]:
            assert child.stdin is not None
            child.stdin.write(f"{task}\n")
            child.stdin.flush()
        answers = [child.stdout.readline() for child in self._all[:count] if child.stdout is not None]
        if not all(answers):
            raise RuntimeError("a child of benchmarks/gpu.py died; its words are above")
        return answers

    def turns(self, count: int) -> Iterator[None]:
        """A turn of `count` of them for each item."""
        while True:
            self.ask(count, "turn")
            yield

    def __enter__(self) -> Children:
        return self

    def __exit__(self, *_: object) -> None:
        for child in self._all:
            child.kill()
            child.communicate()


def serve(scale: Scale, seed: int) -> None:
    """Do what each line of stdin asks for."""
    for answer in answers(map(str.strip, sys.stdin), scale, seed):
        print(answer, flush=True)


def answers(tasks: Iterable[str], scale: Scale, seed: int) -> Iterator[str]:
    """The bits of a trial, or a turn of an endless one."""
    turns: Iterator[None] | None = None
    for task in tasks:
        if task == "bits":
            yield json.dumps(outcome(events_of(scale, short(scale), seed=seed))["bits"])
            continue
        turns = turns or ours(scale, seed=seed)
        next(turns)
        yield "done"


def slots(scale: Scale) -> None:
    """Several processes at once: the bits of each alone, and images/s of all together."""
    alone = outcome(events_of(scale, short(scale)))["bits"]
    with Children(scale, max(scale.slots)) as children:
        together = [json.loads(answer) for answer in children.ask(max(scale.slots), "bits")]
        say(f"bits of {max(scale.slots)} processes: first = alone", ok=together[0] == alone)
        for count in scale.slots:
            images = scale.steps * scale.batch_size * count
            rate = images / seconds_of(children.turns(count), scale)
            say(f"images/s: {count} processes together", images_per_s=rate)


def epoch(scale: Scale) -> None:
    """Seconds of an epoch's training of ResNet-18 at batch 256, without evaluation: the second epoch's."""
    from cifarsweep.spec.metrics import ELAPSED
    from cifarsweep.training.events import Metrics

    batch = min(256, scale.images // 2)
    settings = settings_of(scale, model=scale.deep, epochs=2, batch_size=batch, log_every=10**9)
    events = [event for event in events_of(scale, settings, images=scale.images) if isinstance(event, Metrics)]
    seconds = [row.value for event in events for row in event.rows if row.name == ELAPSED]
    say("an epoch of ResNet-18", seconds=seconds[1] - seconds[0])


def smi() -> dict[str, float]:
    """What nvidia-smi says of the first GPU, by our names and in our units."""
    query = f"--query-gpu={','.join(name for name, _, _ in SMI.values())}"
    command = ["nvidia-smi", query, "--format=csv,noheader,nounits", "-i", "0"]
    words = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split(",")
    return {ours: float(word) * unit for (ours, (_, unit, _)), word in zip(SMI.items(), words, strict=True)}


def telemetry(scale: Scale) -> None:
    """Our readings beside nvidia-smi's while a trial trains."""
    from cifarsweep.worker.child.trainer import DeviceTrainer
    from cifarsweep.worker.sensors import GpuSensor

    (address,) = DeviceTrainer(DEVICE, "").gpus
    assert address is not None
    readings: list[tuple[dict[str, float], dict[str, float]]] = []
    with Children(scale, 1) as children, contextlib.closing(GpuSensor(address)) as sensor:
        for _ in range(5):
            training = threading.Thread(target=children.ask, args=(1, "turn"))
            training.start()
            readings.append((dict(sensor.read()[0]), smi()))
            training.join()
    for name, (_, _, apart) in SMI.items():
        mine, its = (statistics.median(pair[side][name] for pair in readings) for side in (0, 1))
        say(f"{name} beside nvidia-smi", ok=abs(mine - its) <= apart * its, ours=mine, nvidia_smi=its)
