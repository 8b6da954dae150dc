"""`benchmarks/gpu.py` on a pretended GPU: every stage runs and finds what holds; its times mean nothing there."""

import json
import subprocess
import sys
import threading
from pathlib import Path
from unittest import mock

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import gpu

    return gpu


def findings(text):
    return {found.pop("what"): found for found in map(json.loads, text.splitlines())}


class Inside:
    """Does in this process what the children of a stage do; that of `telemetry` has a real one below."""

    def __init__(self, scale, count):
        self.tasks = [[] for _ in range(count)]
        self.answers = [gpu_stages().answers(iter(each.pop, None), scale, seed) for seed, each in enumerate(self.tasks)]

    def ask(self, count, task):
        for each in self.tasks[:count]:
            each.append(task)
        return [next(each) for each in self.answers[:count]]

    def turns(self, count):
        while True:
            yield self.ask(count, "turn")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for each in self.answers:
            each.close()


def gpu_stages():
    return sys.modules["gpu_stages"]


@pytest.mark.parametrize("name", ["bits", "leak", "oom", "capture", "rates", "slots", "epoch"])
def test_every_stage_runs_and_its_checks_hold(gpu, capsys, monkeypatch, name):
    stage, _ = gpu.STAGES[name]
    monkeypatch.setattr("gpu_stages.Children", Inside)
    with gpu.pretended():
        stage(gpu.TINY)

    found = findings(capsys.readouterr().out)
    assert found and all(each.get("ok", True) for each in found.values())
    assert all(each["images_per_s"] > 0 for what, each in found.items() if what.startswith("images/s"))
    checks = {name for name, each in found.items() if "ok" in each}
    assert checks or name in ("rates", "epoch")


def test_a_graph_that_trains_to_other_bits_is_found(gpu, capsys, monkeypatch):
    from gpu_dry_run import Gpu

    monkeypatch.setattr(Gpu, "replay", lambda gpu, tape: None)
    monkeypatch.setattr("gpu_stages.CASES", {"the defaults": {}})
    with gpu.pretended():
        gpu.STAGES["bits"][0](gpu.TINY)

    assert findings(capsys.readouterr().out)["bits of the defaults: graph = plain"]["ok"] is False


KILLED = """
import os, signal
print('{"what": "first"}', flush=True)
print('a word of a library\\n{"what": "sec', end="", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_stage_that_is_killed_at_its_limit_leaves_what_it_found_and_the_next_one_runs(gpu, monkeypatch, tmp_path):
    plain, limits = subprocess.Popen, []
    monkeypatch.setattr(subprocess, "Popen", lambda command, **options: plain([command[0], "-c", KILLED], **options))
    monkeypatch.setattr(threading, "Timer", lambda seconds, kill: limits.append(seconds) or mock.Mock())
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--out", str(tmp_path), "--stages", "bits", "leak"])

    assert gpu.main() == 1

    kept = [json.loads(line) for line in (tmp_path / "gpu.jsonl").read_text().splitlines()]
    stages = [
        (stage, what)
        for stage in ("bits", "leak")
        for what in ("first", "no finding", "no finding", "the stage itself")
    ]
    assert [(each["stage"], each["what"]) for each in kept] == stages
    assert not kept[3]["ok"] and not kept[7]["ok"]
    assert [each["text"] for each in kept[1:3]] == ["a word of a library", '{"what": "sec']
    assert "| leak | first |" in (tmp_path / "gpu.md").read_text()
    assert limits == [gpu.STAGES["bits"][1], gpu.STAGES["leak"][1]]


def test_the_stages_take_eight_minutes_at_most(gpu):
    assert sum(seconds for _, seconds in gpu.STAGES.values()) <= 480
    assert list(gpu.STAGES) == ["bits", "leak", "oom", "capture", "rates", "slots", "epoch", "telemetry"]


@pytest.mark.long
def test_a_trial_on_several_devices_is_measured_beside_plain_ddp(gpu, capsys):
    with gpu.pretended():
        gpu.MORE["devices"][0](gpu.TINY)

    found = findings(capsys.readouterr().out)
    assert set(found) == {f"images/s: {side}, devices 2" for side in ("ours", "plain DDP")}
    assert all(each["images_per_s"] > 0 for each in found.values())


def test_the_script_runs_a_stage_as_a_process(tmp_path):
    command = [sys.executable, str(BENCHMARKS / "gpu.py"), "--dry-run", "--out", str(tmp_path), "--stages", "telemetry"]

    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)

    assert done.returncode == 0, done.stderr
    found = findings(done.stdout)
    assert len(found) == 4 and all(each["ok"] for each in found.values())
