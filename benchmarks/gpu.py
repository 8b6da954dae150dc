"""Everything that only a GPU can show, in one command: the same bits first, then the time.

    python benchmarks/gpu.py --out reports/gpu            about 20 minutes on one H200, with cifar10-jpeg installed
    python benchmarks/gpu.py --out FOLDER --dry-run       seconds on a processor: tiny, and its times mean nothing

Checks that graphs and plain steps, several slots and one, interrupted and undisturbed runs end in the same bits. Times
{usual loop with a DataLoader, data on the device, + CUDA graph} x {1, 2, 4, 8 slots}, an epoch of ResNet-18 and
ResNet-50, and ResNet-18 until 94 %. Writes gpu.json and gpu.md; exits with 1 where bits differ.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from cifarsweep.training.process import prepare_process

SIDES = ("usual", "device", "graph")
#: Steps of a turn, and turns that count; a median of them is the result.
STEPS, TURNS = 200, 5


@dataclass(frozen=True)
class Scale:
    """How large everything is. `settings` go to every run, over what it sets itself."""

    dataset: str
    device: str
    steps: int
    turns: int
    slots: tuple[int, ...]
    settings: dict[str, Any]
    deep: dict[str, dict[str, Any]]
    epochs_to_goal: int
    goal: float

    def slots_of(self, side: str) -> tuple[int, ...]:
        """The numbers of slots that a side is timed with; a dry run spares itself the processes."""
        return self.slots if side == "graph" or self.device != "cpu" else (1,)


def full() -> Scale:
    """A real GPU and the data set of the project's figures."""
    deep = {"resnet18": {"name": "resnet18"}, "resnet50": {"name": "resnet50"}}
    model = {"name": "convnet", "widths": [32, 64, 128, 256, 256]}
    return Scale("cifar10-jpeg", "cuda:0", STEPS, TURNS, (1, 2, 4, 8), {"model": model}, deep, 30, 0.94)


def tiny() -> Scale:
    """What a processor does in seconds: every line of this file runs, and nothing is learnt about speed."""
    model = {"name": "convnet", "widths": [4, 8], "convs_per_stage": 1}
    return Scale("digits", "cpu", 2, 1, (1, 2), {"model": model, "batch_size": 512}, {"resnet18": model}, 1, 0.05)


def settings_of(scale: Scale, **changes: Any) -> Any:
    """Settings as a trial would have them; dotted keys are not needed here."""
    from cifarsweep.spec.settings import Settings

    return Settings.model_validate_json(json.dumps({"dataset": scale.dataset, **scale.settings, **changes}))


def run_of(scale: Scale, settings: Any, folder: Path, **options: Any) -> Any:
    """A run of the real loop."""
    from cifarsweep.data.dataset import load, split
    from cifarsweep.training.folder import CheckpointFolder
    from cifarsweep.training.loop import Run

    images = load(settings.dataset)
    parts = split(images, settings.validation)
    options = {"device": scale.device, "seed": 0, **options}
    return Run(settings, options.pop("seed"), parts, len(images.classes), CheckpointFolder(folder), **options)


def outcome(events: Iterator[Any]) -> dict[str, Any]:
    """What must be the same bits: the weights' digest and every row that is not a time."""
    from cifarsweep.spec.words import TIMING_METRICS
    from cifarsweep.training.events import Finished, Metrics

    rows, digest = {}, None
    for event in events:
        if isinstance(event, Metrics):
            kept = [row for row in event.rows if row.name not in TIMING_METRICS]
            rows |= {f"{row.name} {row.step}": row.value.hex() for row in kept}
        elif isinstance(event, Finished):
            digest = event.result.weights_sha256
    return {"weights": digest, "rows": rows}


def solo(scale: Scale, seed: int = 0, **options: Any) -> dict[str, Any]:
    """One short trial, alone."""
    from cifarsweep.training.loop import train

    settings = settings_of(scale, steps=scale.steps, log_every=max(1, scale.steps // 4), eval_every=scale.steps)
    with tempfile.TemporaryDirectory() as folder:
        return outcome(train(run_of(scale, settings, Path(folder), seed=seed, **options)))


def interrupted(scale: Scale) -> dict[str, Any]:
    """The same trial, stopped half way and taken up from its checkpoint."""
    from cifarsweep.training.events import Metrics, Saved
    from cifarsweep.training.loop import train

    settings = settings_of(scale, steps=scale.steps, log_every=max(1, scale.steps // 4), eval_every=scale.steps)
    asked = iter(range(10**9))
    with tempfile.TemporaryDirectory() as folder:
        half = run_of(scale, settings, Path(folder), should_stop=lambda: next(asked) >= scale.steps // 2)
        first = list(train(half))
        saved = next(event.checkpoint for event in reversed(first) if isinstance(event, Saved))
        again = train(run_of(scale, settings, Path(folder), resume=(saved,)))
        return outcome(iter([*(event for event in first if isinstance(event, Metrics)), *again]))


class Children:
    """Processes that each train one side with a seed of their own, `serve` below, when told to by a line."""

    def __init__(self, scale: Scale, side: str, count: int) -> None:
        command = [sys.executable, __file__, *(["--dry-run"] if scale.device == "cpu" else []), "--child", side]
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

    def close(self) -> None:
        """End them."""
        for child in self._all:
            child.kill()
            child.communicate()


def check_bits(scale: Scale, children: Children) -> dict[str, bool]:
    """Compare what must be equal."""
    alone = [solo(scale, seed) for seed in range(max(scale.slots))]
    found = {"graph = plain step": alone[0] == solo(scale, graphs=False), "again": alone[0] == solo(scale)}
    found["interrupted = undisturbed"] = alone[0] == interrupted(scale)
    for slots in scale.slots[1:]:
        answers = children.ask(slots, "bits")
        found[f"{slots} slots = alone"] = [json.loads(answer) for answer in answers] == alone[:slots]
    return found


def ours(scale: Scale, side: str, seed: int) -> Iterator[None]:
    """Train for ever, one turn for each item."""
    from cifarsweep.training.events import Metrics
    from cifarsweep.training.loop import train

    settings = settings_of(scale, steps=10**9, log_every=scale.steps, eval_every=10**9)
    with tempfile.TemporaryDirectory() as folder:
        run = run_of(scale, settings, Path(folder), seed=seed, save_every_s=1e9, graphs=side == "graph")
        for event in train(run):
            if isinstance(event, Metrics):
                yield


def usual(scale: Scale) -> Iterator[None]:
    """The loop of most tutorials, with workers that load where there is a GPU."""
    from usual_loop import usual_loop

    workers = 0 if scale.device == "cpu" else 2
    return usual_loop(settings_of(scale, steps=1), scale.steps, device=scale.device, workers=workers)


def rate(scale: Scale, children: Children, slots: int) -> float:
    """Images per second of all slots together: the median of some turns, in which all of them train."""
    images = scale.steps * slots * settings_of(scale, steps=1).batch_size
    seconds = []
    for _ in range(scale.turns + 2):
        began = time.perf_counter()
        children.ask(slots, "turn")
        seconds.append(time.perf_counter() - began)
    return images / statistics.median(seconds[2:])  # the first ones warm up and capture


def rates(scale: Scale, side: str, children: Children) -> dict[str, float]:
    """That rate for each number of slots."""
    return {str(slots): rate(scale, children, slots) for slots in scale.slots_of(side)}


def epoch_seconds(scale: Scale, model: dict[str, Any]) -> float:
    """Seconds of an epoch's training at batch 256, without evaluation: the second epoch's, warm-up being done."""
    from cifarsweep.spec.words import ELAPSED
    from cifarsweep.training.events import Metrics
    from cifarsweep.training.loop import train

    settings = settings_of(scale, model=model, epochs=2, batch_size=256, log_every=10**9)
    with tempfile.TemporaryDirectory() as folder:
        events = train(run_of(scale, settings, Path(folder), save_every_s=1e9))
        rows = [row for event in events if isinstance(event, Metrics) for row in event.rows]
    seconds = [row.value for row in rows if row.name == ELAPSED]
    return seconds[1] - seconds[0]


def time_to_goal(scale: Scale) -> dict[str, float | None]:
    """ResNet-18 with SGD, cosine and warm-up: seconds and best accuracy when the goal was reached, or at the end."""
    from cifarsweep.spec.words import VAL_ACCURACY
    from cifarsweep.training.events import Metrics
    from cifarsweep.training.loop import train

    optimizer = {"name": "sgd", "lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}
    schedule = {"name": "cosine", "warmup_epochs": 0.2 * scale.epochs_to_goal}
    settings = settings_of(
        scale,
        model=scale.deep["resnet18"],
        epochs=scale.epochs_to_goal,
        batch_size=256,
        optimizer=optimizer,
        schedule=schedule,
    )
    best, began = 0.0, time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for event in train(run_of(scale, settings, Path(folder), save_every_s=1e9)):
            if isinstance(event, Metrics):
                best = max([best, *(row.value for row in event.rows if row.name == VAL_ACCURACY)])
            if best >= scale.goal:
                return {"seconds": time.perf_counter() - began, "accuracy": best, "goal": scale.goal}
    return {"seconds": None, "accuracy": best, "goal": scale.goal}


def measure(scale: Scale) -> dict[str, Any]:
    """Do everything; bits first, for times of other numbers would mean nothing."""
    import torch

    name = torch.cuda.get_device_name(0) if scale.device != "cpu" else "processor (dry run: the times mean nothing)"
    found: dict[str, Any] = {
        "device": name,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "host": platform.platform(),
        "date": time.strftime("%Y-%m-%d"),
        "scale": asdict(scale),
        "images_per_s": {},
    }
    for side in reversed(SIDES):
        children = Children(scale, side, max(scale.slots_of(side)))
        try:
            if side == "graph":
                found["bits"] = check_bits(scale, children)
            found["images_per_s"][side] = rates(scale, side, children)
        finally:
            children.close()
    found["epoch_s"] = {name: epoch_seconds(scale, model) for name, model in scale.deep.items()}
    found["to_goal"] = time_to_goal(scale)
    return found


def table(found: dict[str, Any]) -> str:
    """The results as Markdown."""
    slots = list(found["images_per_s"]["graph"])
    base = found["images_per_s"]["usual"]["1"]
    lines = [f"{found['date']}, {found['device']}, torch {found['torch']}, CUDA {found['cuda']}", ""]
    lines += [
        "| images/s together | " + " | ".join(f"{k} slots" for k in slots) + " |",
        "|---" * (len(slots) + 1) + "|",
    ]
    for side in SIDES:
        row = found["images_per_s"][side]
        cells = " | ".join(f"{row[k]:,.0f} ({row[k] / base:.1f}x)" if k in row else "" for k in slots)
        lines.append(f"| {side} | {cells} |")
    lines += ["", "| check | same bits |", "|---|---|"]
    lines += [f"| {what} | {'yes' if same else 'NO'} |" for what, same in found["bits"].items()]
    lines += ["", "| network | seconds an epoch |", "|---|---|"]
    lines += [f"| {name} | {seconds:.2f} |" for name, seconds in found["epoch_s"].items()]
    goal = found["to_goal"]
    reached = "not reached" if goal["seconds"] is None else f"{goal['seconds']:.1f} s"
    return "\n".join([*lines, "", f"ResNet-18 to {goal['goal']:.0%}: {reached} (best {goal['accuracy']:.2%})", ""])


def serve(scale: Scale, side: str, seed: int) -> None:
    """Do what each line of stdin asks for: the bits of a trial, or a turn of an endless one."""
    turns: Iterator[None] | None = None
    for task in sys.stdin:
        if task.strip() == "bits":
            print(json.dumps(solo(scale, seed)), flush=True)
            continue
        turns = turns or (usual(scale) if side == "usual" else ours(scale, side, seed))
        next(turns)
        print("done", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("reports/gpu"), help="folder of gpu.json and gpu.md")
    parser.add_argument("--dry-run", action="store_true", help="tiny, on the processor")
    parser.add_argument("--turns", type=int, help="turns that count for each rate")
    parser.add_argument("--child", nargs=2, metavar=("SIDE", "SEED"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    scale = tiny() if options.dry_run else full()
    if options.child:
        serve(scale, options.child[0], int(options.child[1]))
        return 0
    found = measure(replace(scale, turns=options.turns or scale.turns))
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "gpu.json").write_text(json.dumps(found, indent=1) + "\n")
    (options.out / "gpu.md").write_text(table(found))
    print(table(found))
    return 0 if all(found["bits"].values()) else 1


if __name__ == "__main__":
    prepare_process()
    sys.exit(main())
