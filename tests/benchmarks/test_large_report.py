"""`benchmarks/bench_report.py --large` in small: the sizes of what a report leaves; its times mean nothing here."""

import re
import subprocess
import sys
from pathlib import Path

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "bench_report.py"


def test_a_report_of_half_a_million_rows_stays_small():
    command = [sys.executable, str(BENCHMARK), "--large", "--trials", "100"]

    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)

    assert done.returncode == 0, done.stderr
    assert "100 trials and 500,000 rows" in done.stdout
    memory, page = (float(number) for number in re.findall(r"([\d.]+) MB; goal", done.stdout))
    assert 50 < memory < 500
    assert 0.1 < page < 1.6  # a tenth of the trials of the goal, and no figure is thinned away
