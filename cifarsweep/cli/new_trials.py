"""What `create` and `extend` plan for new trials, and what they say of them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from cifarsweep.spec.links import Planner
    from cifarsweep.spec.study import Study
    from cifarsweep.store import Store
    from cifarsweep.store.records import Created
    from cifarsweep.worker.known_here import KnownHere

NoReuse = Annotated[
    bool, typer.Option("--no-reuse", help="Plan no shared steps: new trials train all of their steps themselves.")
]


def planner_for(known: KnownHere, no_reuse: bool) -> Planner:
    """Plan with what this machine knows of the images; nothing with `no_reuse`."""
    from cifarsweep.spec.links import Plan
    from cifarsweep.training.sharing import plan

    return (lambda candidates: Plan()) if no_reuse else partial(plan, images=known.images)


def workload_text(store: Store, known: KnownHere, created: Created) -> list[str]:
    """Say what the new trials are to train; nothing where there are none, or where their images are unknown."""
    from cifarsweep.analysis.workload import workload
    from cifarsweep.report.workload_text import workload_lines

    if not created.new:
        return []
    work = workload(created.new, created.plan, known.images, known.flops, store.trials.times())
    if work is None:
        return []
    return list(workload_lines(work, store.trials.environments(list(created.plan.known.values()))))


def few_seeds_notes(store: Store, study: Study) -> list[str]:
    """Say whether compared cells have so few seeds, or so unlike ones, that false verdicts are more frequent."""
    from collections import Counter

    from cifarsweep.analysis.few_seeds import planned_few_seeds
    from cifarsweep.report.few_seeds_text import planned_few_seeds_text
    from cifarsweep.spec.types import FINAL_STATES, TrialState

    if not study.hypotheses:
        return []
    trials = store.trials.all(study.name)
    seeds = Counter(trial.cell for trial in trials if trial.state is TrialState.DONE or trial.state not in FINAL_STATES)
    # A study of an earlier version has other names of cells than its file.
    stored = store.studies.get(study.name).spec
    few = planned_few_seeds(stored, seeds, store.studies.plans(study.name))
    return [planned_few_seeds_text(few, study.name)] if few else []
