"""Which trials a verdict may rest on: those of a look, all of them final.

Whoever watches the numbers come in, and takes the moment at which they please, finds differences that are not there. So
a hypothesis is tested on the seeds of a look that was planned, and only when no trial of its cells is open among them.
"""

from __future__ import annotations

from collections.abc import Collection

from cifarsweep.analysis.records import ReportStudy
from cifarsweep.analysis.samples import Done
from cifarsweep.spec.study import Study
from cifarsweep.spec.types import FINAL_STATES


def seed_order(study: Study, count: int) -> tuple[int, ...]:
    """The seeds of the study, and after them whole numbers that none of them is."""
    following = range(max(study.seeds) + 1, max(study.seeds) + 1 + max(0, count - len(study.seeds)))
    return (*study.seeds, *following)


def at_look(cells: Collection[str], done: Done, report: ReportStudy) -> Done | None:
    """The trials to test a hypothesis on these cells on; None where it has to wait.

    Under a plan those of the last look that is complete, whatever has come since: what decides at a number of seeds
    that nobody planned may be decided otherwise at the next look. Without one, all of them.
    """
    open_seeds = {trial.seed for trial in report.trials if trial.cell in cells and trial.state not in FINAL_STATES}
    if not report.looks:
        return None if open_seeds else done
    there = {(trial.cell, trial.seed) for trial in report.trials}
    for look in reversed(report.looks):
        seeds = seed_order(report.study, look)[:look]
        if open_seeds.isdisjoint(seeds) and there.issuperset((cell, seed) for cell in cells for seed in seeds):
            return {
                cell: {seed: trial for seed, trial in trials.items() if seed in seeds} for cell, trials in done.items()
            }
    return None
