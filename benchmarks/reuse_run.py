"""Train two shipped studies, shrunk, with two workers, with reuse and without: the same rows, and what it saves.

The studies keep their arms, seeds and how rates and batches relate; a tenth of the epochs, small networks and the 1,442
digits stand for the rest. Rows but for times, results and weights must be the same bits. CPU time is that of both
workers and their children.

    python benchmarks/reuse_run.py            about 5 minutes on two idle cores
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

import tomli_w

from cifarsweep.spec.metrics import TIMING_METRICS
from cifarsweep.spec.reader import find
from cifarsweep.store import Store

STUDIES = ("resnet18-phases-study", "batch-size-study")
WORKERS = 2
#: Epochs, also those of phases, are divided by this.
SHRINK = 10
MODEL = {"name": "convnet", "widths": [8, 16], "convs_per_stage": 1}
_COMMAND = (sys.executable, "-m", "cifarsweep.cli")


def shrunk(name: str) -> dict[str, Any]:
    """The TOML of a study with less of everything, and without what was reported or is claimed."""
    study = tomllib.loads(find(name).read_text())
    for key in ("hypotheses", "reported", "reported_runs"):
        study.pop(key, None)
    _shrink(study["settings"])
    study["settings"] |= {"dataset": "digits", "log_every": 5, "model": MODEL}
    for arm in study["arms"]:
        _shrink(arm["set"])
    return study


def _shrink(settings: dict[str, Any]) -> None:
    if "epochs" in settings:
        settings["epochs"] //= SHRINK
    settings.pop("eval_every", None)  # steps of an epoch of other images
    for schedule in [settings["schedule"]] if "schedule" in settings else []:
        schedule["phases"] = [_shrunk_phase(phase) for phase in schedule.get("phases", [])]


def _shrunk_phase(phase: str) -> str:
    """`50-100 x5` as `5-10 x5`."""
    epochs, factor = phase.split()
    first, last = (int(epoch) // SHRINK for epoch in epochs.split("-"))
    return f"{first}-{last} {factor}"


def train(folder: Path, *options: str) -> tuple[dict[Any, Any], float]:
    """Train the studies with two workers; what each trial came to, and the CPU seconds that it took."""
    url = f"sqlite:///{folder}/test.db"
    for name in STUDIES:
        file = folder / f"{name}.toml"
        file.write_text(tomli_w.dumps(shrunk(name)))
        subprocess.run([*_COMMAND, "create", str(file), "--db", url, *options], check=True)
    before = _children_cpu_s()
    work = [*_COMMAND, "worker", "--cpu", "--db", url, "--artifacts", str(folder / "artifacts"), *options]
    workers = [subprocess.Popen(work, stdout=subprocess.DEVNULL) for _ in range(WORKERS)]
    codes = [worker.wait() for worker in workers]
    cpu_s = _children_cpu_s() - before
    if any(codes):
        raise SystemExit(f"the workers ended with {codes}")
    return _results(url), cpu_s


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _results(url: str) -> dict[Any, Any]:
    """What each trial came to, times left out: by study, cell and seed."""
    found = {}
    with Store.open(url) as store:
        for name in STUDIES:
            trials = store.trials.all(name)
            metrics = {metric for trial in trials for metric in trial.final} - TIMING_METRICS
            rows: dict[int, dict[str, Any]] = {}
            for (number, metric), (steps, values) in store.metrics.read(name, metrics).items():
                rows.setdefault(number, {})[metric] = (steps.tolist(), [value.hex() for value in values.tolist()])
            for trial in trials:
                key = name, trial.cell, trial.seed
                found[key] = trial.state, trial.outcome, trial.weights_sha256, rows[trial.number], trial.reused_steps
    return found


def main() -> None:
    """Print what was the same and what it took."""
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        shared, shared_s = train(Path(one))
        plain, plain_s = train(Path(other), "--no-reuse")
    different = [key for key in plain if shared[key][:-1] != plain[key][:-1]]
    steps = sum(max(steps[-1] for steps, _ in rows.values()) for *_, rows, _ in plain.values())
    reused = sum(trial[-1] for trial in shared.values())
    print(f"{len(plain)} trials, {len(different)} of them with other rows, results or weights than without reuse")
    print(f"steps: {steps:,}, of which {reused:,} were taken from another trial ({reused / steps:.0%})")
    print(f"CPU: {shared_s:.0f} s with reuse, {plain_s:.0f} s without: ratio {shared_s / plain_s:.2f}")
    if different:
        raise SystemExit(f"not the same: {different}")


if __name__ == "__main__":
    main()
