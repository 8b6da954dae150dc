"""Everything that only a GPU can show, in stages that take 8 minutes at most together.

    python benchmarks/gpu.py --out reports/gpu            on the first GPU of this machine
    python benchmarks/gpu.py --stages bits leak           some of the stages
    python benchmarks/gpu.py --out FOLDER --dry-run       on a processor: every line runs, and its times mean nothing

In this order: the same bits of graphs and plain steps; memory over six trials of one process; memory that runs out; a
capture that fails; images/s of graphs, plain steps and a careful loop; several processes at once; an epoch of
ResNet-18; our telemetry beside nvidia-smi. Only where it is asked for (`--stages devices`): a trial on one GPU and on
all of them, beside plain DDP; it needs psutil too. Each stage is a process with a time limit of its own, and prints a
line of JSON for each thing it finds, at once, so that a run that is cut off still tells. gpu.jsonl holds the lines,
gpu.md a table of them. The exit code is 1 where a check fails or a stage dies.

The images are random, as many as CIFAR-10 has, so none need be carried to the GPU. The machine needs a checkout, torch,
torchvision, numpy, pydantic and platformdirs, for the last stage also nvidia-ml-py. Where it has no network, fetch what
is missing elsewhere, for its version of Python and its processor, carry the folder there and install from it:

    pip download --only-binary=:all: --python-version 3.12 -d wheels pydantic platformdirs
    pip install --no-index --find-links wheels --target site pydantic platformdirs
    PYTHONPATH=.:site python benchmarks/gpu.py
"""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gpu_stages
from gpu_runs import FULL, TINY, Scale, say

from cifarsweep.worker.child.main import prepare_process

#: What is done, in this order, and the most seconds that each may take: 480 together.
STAGES: dict[str, tuple[Callable[[Scale], None], int]] = {
    "bits": (gpu_stages.bits, 80),
    "leak": (gpu_stages.leak, 40),
    "oom": (gpu_stages.oom, 60),
    "capture": (gpu_stages.capture, 40),
    "rates": (gpu_stages.rates, 110),
    "slots": (gpu_stages.slots, 80),
    "epoch": (gpu_stages.epoch, 40),
    "telemetry": (gpu_stages.telemetry, 30),
}


#: What is done where it is asked for.
MORE: dict[str, tuple[Callable[[Scale], None], int]] = {"devices": (gpu_stages.devices, 300)}
KNOWN = STAGES | MORE


def run_stage(name: str, dry: bool) -> list[dict[str, Any]]:
    """Run a stage in a process of its own; its findings, printed as they come, and how it ended."""
    command = [sys.executable, __file__, "--stage", name, *(["--dry-run"] if dry else [])]
    began, limit = time.perf_counter(), KNOWN[name][1] * (4 if dry else 1)
    found = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        alarm = threading.Timer(limit, process.kill)
        alarm.start()
        assert process.stdout is not None
        for line in process.stdout:
            found.append({"stage": name, **_finding(line)})
            print(json.dumps(found[-1]), flush=True)
        code = process.wait()
        alarm.cancel()
    seconds = time.perf_counter() - began
    end = {"stage": name, "what": "the stage itself", "ok": code == 0, "exit_code": code, "seconds": seconds}
    print(json.dumps(end), flush=True)
    return [*found, end]


def _finding(line: str) -> dict[str, Any]:
    """A line of a stage; libraries may print as well, and a process that is killed may leave a part of a line."""
    try:
        return dict(json.loads(line))
    except (ValueError, TypeError):
        return {"what": "no finding", "text": line.strip()}


def surroundings() -> None:
    """Say what this is measured on."""
    import torch

    say(
        "measured on",
        device=torch.cuda.get_device_name(0),
        torch=torch.__version__,
        cuda=torch.version.cuda,
        host=platform.platform(),
        date=time.strftime("%Y-%m-%d"),
    )


def table(found: list[dict[str, Any]]) -> str:
    """The findings as Markdown."""
    lines = ["| stage | finding | |", "|---|---|---|"]
    for each in found:
        rest = {key: value for key, value in each.items() if key not in ("stage", "what", "ok")}
        verdict = {True: "yes", False: "NO"}.get(each.get("ok", ""), "")
        values = ", ".join(f"{k} {v:,.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in rest.items())
        lines.append(f"| {each['stage']} | {each['what']} | {' '.join([verdict, values]).strip()} |")
    return "\n".join([*lines, ""])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("reports/gpu"), help="folder of gpu.jsonl and gpu.md")
    parser.add_argument("--dry-run", action="store_true", help="tiny, on a pretended GPU")
    parser.add_argument("--stages", nargs="+", choices=KNOWN, default=list(STAGES), help="only these")
    parser.add_argument("--stage", choices=KNOWN, help=argparse.SUPPRESS)
    parser.add_argument("--serve", type=int, metavar="SEED", help=argparse.SUPPRESS)
    options = parser.parse_args()
    scale = TINY if options.dry_run else FULL
    if options.stage or options.serve is not None:
        with pretended() if options.dry_run else contextlib.nullcontext():
            if options.serve is not None:
                gpu_stages.serve(scale, options.serve)
                return 0
            if options.stage == next(iter(STAGES)):
                surroundings()
            KNOWN[options.stage][0](scale)
        return 0
    options.out.mkdir(parents=True, exist_ok=True)
    found: list[dict[str, Any]] = []
    for name in options.stages:
        found += run_stage(name, options.dry_run)
        (options.out / "gpu.jsonl").write_text("".join(json.dumps(each) + "\n" for each in found))
        (options.out / "gpu.md").write_text(table(found))
    return 0 if all(each.get("ok", True) for each in found) else 1


def pretended() -> contextlib.AbstractContextManager[object]:
    """The machine of a dry run."""
    from gpu_dry_run import pretended_machine

    return pretended_machine()


if __name__ == "__main__":
    prepare_process()
    sys.exit(main())
