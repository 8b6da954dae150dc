"""The proof that nothing is lost: every campaign of tests/chaos in full, on SQLite and on a PostgreSQL of its own.

    python benchmarks/chaos.py                            everything: some 30 minutes on two cores
    python benchmarks/chaos.py --quick                    the short forms, as the tests run them
    python benchmarks/chaos.py --only random-kills --seed 7 --json chaos.json

Prints a line per campaign: what was reached beside the goal. The exit code says whether every promise was kept; a
broken one names its seed, which repeats the campaign's choices, and the folder with the logs of all workers.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path[:0] = [str(_TESTS), str(_TESTS / "chaos"), str(_TESTS / "store")]

#: Steps of the state machine of tests/store/test_queue_state_machine.py.
_MACHINE_STEPS, _QUICK_MACHINE_STEPS = 10_000, 300


@dataclass(frozen=True)
class Report:
    """What one campaign reached on one backend."""

    campaign: str
    backend: str
    seed: int
    counts: dict[str, int]
    goals: dict[str, int]
    seconds: float
    broken: str = ""

    @property
    def missed(self) -> list[str]:
        """The goals that were not reached."""
        return [name for name, goal in self.goals.items() if self.counts.get(name, 0) < goal]

    @property
    def verdict(self) -> str:
        """One word."""
        return "BROKEN" if self.broken else "missed" if self.missed else "kept"


class Run:
    """All campaigns with one PostgreSQL server, which starts when it is needed."""

    def __init__(self, seed: int, quick: bool) -> None:
        self.seed, self.quick = seed, quick
        self.folder = Path(tempfile.mkdtemp(prefix="cs-chaos-"))
        self._server: Any = None

    def close(self) -> None:
        """Stop the server; the logs stay."""
        if self._server is not None:
            self._server.close()

    def place(self, name: str, backend: str, **more: Any) -> Any:
        """A fresh database and folder."""
        from places import Postgres, postgres_place, sqlite_place

        folder = self.folder / f"{name}-{backend}"
        folder.mkdir()
        if backend == "sqlite":
            return sqlite_place(folder, self.seed, **more)
        if self._server is None:
            self._server = Postgres(Path(tempfile.mkdtemp(prefix="cs-chaos-pg-")))
        return postgres_place(folder, self.seed, self._server, **more)

    def reports(self, only: list[str]) -> Iterator[Report]:
        """Run the campaigns of these names, or all."""
        from campaigns import CAMPAIGNS

        for name, campaign in CAMPAIGNS.items():
            for backend in campaign.backends if not only or name in only else ():
                place = self.place(name, backend, tables=campaign.tables, lease_s=campaign.lease_s)
                sizes = campaign.short if self.quick else campaign.full
                goals = {} if self.quick else dict(campaign.goals)
                yield self._timed(name, backend, goals, lambda c=campaign, p=place, s=sizes: c.run(p, **s))
        for backend in ("sqlite", "postgresql") if not only or "state-machine" in only else ():
            steps = _QUICK_MACHINE_STEPS if self.quick else _MACHINE_STEPS
            place = self.place("state-machine", backend)
            yield self._timed("state-machine", backend, {"steps": steps}, lambda p=place, n=steps: state_machine(p, n))

    def _timed(self, name: str, backend: str, goals: dict[str, int], run: Any) -> Report:
        began, counts, broken = time.monotonic(), {}, ""
        try:
            counts = run()
        except PermissionError as error:
            counts, goals = {f"skipped, {error}": 1}, {}
        except Exception as error:  # noqa: BLE001 - whatever breaks, the other campaigns still run
            broken = f"{type(error).__name__}: {error}"
        return Report(name, backend, self.seed, counts, goals, time.monotonic() - began, broken)


def state_machine(place: Any, steps: int) -> dict[str, int]:
    """Random orders of claim, write, expire, wake and finish against a model, each looked at after every step."""
    import test_queue_state_machine

    taken = 0

    class Counted(test_queue_state_machine.Workers):
        def check_invariants(self, *arguments: Any, **more: Any) -> None:
            nonlocal taken
            taken += 1
            super().check_invariants(*arguments, **more)

    test_queue_state_machine.Workers = Counted
    with place.open() as store:
        while taken < steps:
            test_queue_state_machine.run_machine(store, max_examples=min(100, steps // 30), stateful_step_count=30)
        end_all(store)
        if findings := store.admin.check():
            raise AssertionError(f"findings: {findings}")
    return {"steps": taken}


def end_all(store: Any) -> None:
    """Let every lease that is left run out and cancel what is open, so that nothing is to be found."""
    from sqlalchemy import update

    from cifarsweep.store.schema import trial

    store._db.write(lambda conn: conn.execute(update(trial).values(lease_until=0.0)))
    for study in store.studies.all():
        store.control.cancel(study.name)


def line(report: Report) -> str:
    """One row of the table."""
    counts = ", ".join(f"{count:,} {name}" for name, count in report.counts.items())
    goals = ", ".join(f"{goal:,} {name}" for name, goal in report.goals.items()) or "the oracle"
    row = f"| {report.campaign} | {report.backend} | {goals} | {counts} | {report.seconds:.0f} s | {report.verdict} |"
    return row if not report.broken else f"{row}\n{report.broken}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="this campaign; repeat for more")
    parser.add_argument("--quick", action="store_true", help="the short forms")
    parser.add_argument("--seed", type=int, default=int(time.time()) % 100_000)
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the counts there as well")
    asked = parser.parse_args()
    run = Run(asked.seed, asked.quick)
    print(f"seed {asked.seed}, logs in {run.folder}\n")
    print("| campaign | database | goal | reached | time | promise |\n|---|---|---|---|---|---|", flush=True)
    reports = []
    try:
        for report in run.reports(asked.only):
            reports.append(report)
            print(line(report), flush=True)
    finally:
        run.close()
    if asked.json:
        asked.json.write_text(json.dumps([asdict(report) for report in reports], indent=1))
    sys.exit(any(report.verdict != "kept" for report in reports))


if __name__ == "__main__":
    main()
