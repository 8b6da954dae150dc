"""`benchmarks/gpu.py` on a processor: every part of it runs; its times mean nothing there."""

import json
import subprocess
import sys
from pathlib import Path

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "gpu.py"


def test_a_dry_run_checks_the_bits_and_writes_both_files(tmp_path, monkeypatch):
    monkeypatch.setenv("CIFARSWEEP_DATA", str(tmp_path / "data"))
    command = [sys.executable, str(BENCHMARK), "--dry-run", "--out", str(tmp_path)]

    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)

    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert len(found["bits"]) == 4 and all(found["bits"].values())
    assert all(rate > 0 for row in found["images_per_s"].values() for rate in row.values())
    assert "| graph |" in (tmp_path / "gpu.md").read_text()
