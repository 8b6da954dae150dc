"""`benchmarks/fleet.py` with small numbers: what it counts must be right; its times mean nothing here."""

import json
import subprocess
import sys
from pathlib import Path

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "fleet.py"


def test_no_trial_of_ours_is_claimed_twice_and_nobody_sees_an_error(tmp_path):
    command = [sys.executable, str(BENCHMARK), "--quick", "--out", str(tmp_path / "fleet.json")]

    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)

    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "fleet.json").read_text())["figures"]
    counted = [row for row in figures if row["claimed_twice"] is not None]
    ours = [row for row in counted if row["where"] in ("SQLite", "PostgreSQL")]
    assert {(row["claimed_twice"], row["errors"]) for row in ours} == {(0, 0)}
    assert {row["where"] for row in counted} - {"SQLite", "PostgreSQL"} == {
        "Optuna, SQLite",
        "Optuna, PostgreSQL",
        "Optuna, journal file",
    }
    assert all(row["value"] > 0 for row in figures)
