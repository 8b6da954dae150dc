"""Workers in a real Slurm that end at their time limit again and again: nothing is lost, to the last bit.

    python benchmarks/slurm_limit.py               about six minutes; needs root, Debian's slurm-wlm and munge
    python benchmarks/slurm_limit.py --limit 4     minutes; Slurm warns 90 s before the limit, or up to 60 s earlier

The tests send the signals by hand; here nobody does but Slurm. The same study is trained first without disturbance.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path[:0] = [str(_TESTS), *(str(_TESTS / room) for room in ("chaos", "store", "worker"))]

#: Some 90 seconds of training in all: more than two jobs have time for before they are warned.
STUDY = ["demo", "--seeds", "2", "--set", "epochs=75"]
GIVE_UP_S = 1800.0


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "cifarsweep.cli", *arguments]


def run(*arguments: str) -> str:
    """The output of a command of cifarsweep that must succeed."""
    return subprocess.run(command(*arguments), check=True, capture_output=True, text=True).stdout


def in_peace(url: str) -> None:
    """Train everything by two workers that nobody disturbs."""
    run("create", *STUDY, "--db", url)
    workers = [subprocess.Popen(command("worker", "--cpu", "--db", url), stdout=subprocess.DEVNULL) for _ in range(2)]
    assert not any(worker.wait() for worker in workers), "the undisturbed run failed"


def in_slurm(url: str, limit: int, logs: Path) -> None:
    """Train everything by a job array of two whose elements have so many minutes at a time."""
    run("create", *STUDY, "--db", url)
    array = ["--workers", "2", "--gpus-per-worker", "0", "--cpus-per-worker", "1", "--mem", "0"]
    said = run("launch", "--slurm", *array, "--time", f"00:{limit:02}:00", "--logs", str(logs), "--db", url)
    job = re.search(r"job (\d+)", said)
    assert job, said
    give_up = time.monotonic() + GIVE_UP_S
    while subprocess.run(["squeue", "-h", "-j", job[1]], capture_output=True, text=True, check=False).stdout.strip():
        assert time.monotonic() < give_up, f"job {job[1]} never ended; logs in {logs}"
        time.sleep(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, default=3, metavar="MINUTES")
    limit = parser.parse_args().limit
    import slurm_cluster
    from oracle import complaints, recorded

    from cifarsweep.store import Store

    if reason := slurm_cluster.missing():
        sys.exit(f"no Slurm: {reason}")
    folder = Path(tempfile.mkdtemp(prefix="cs-slurm-"))
    calm, disturbed = (f"sqlite:///{folder}/{name}.db" for name in ("calm", "disturbed"))
    in_peace(calm)
    (folder / "slurm").mkdir()
    began = time.monotonic()
    with slurm_cluster.cluster(folder / "slurm") as environment:
        os.environ.update(environment)
        in_slurm(disturbed, limit, folder / "logs")
    seconds = time.monotonic() - began
    warnings = sum(path.read_text().count("time is up") for path in (folder / "logs").rglob("*_log.out"))
    with Store.open(calm) as there, Store.open(disturbed) as here:
        broken = complaints(here, "demo", recorded(there, "demo"))
        attempts = [len(row.attempts) for row in here.trials.all("demo")]
    print(
        f"{len(attempts)} trials by 2 jobs of {limit} minutes: {warnings} time limits, {sum(attempts)} attempts, "
        f"{seconds:.0f} s, {len(broken)} complaints"
    )
    print(*broken, sep="\n")
    sys.exit(bool(broken) or warnings == 0)


if __name__ == "__main__":
    main()
