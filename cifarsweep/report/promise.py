"""What is promised of all verdicts of a study together, in words."""

from __future__ import annotations

from cifarsweep.spec.study import Study
from cifarsweep.stats.decision import ERROR_RATE
from cifarsweep.stats.plans import Plans, bound, levels


def plan_text(plans: Plans) -> str:
    """`3, 6, 12 seeds, each at 5 % / 3`, or every look with its level where there are several plans."""
    if len(plans) == 1:
        return f"{', '.join(map(str, plans[0]))} seeds, each at {_percent(ERROR_RATE)} / {len(plans[0])}"
    each = [f"{seeds} seeds at {_percent(level)}" for seeds, level in levels(plans).items()]
    return ", ".join(each)


def promise(study: Study, plans: Plans) -> str | None:
    """What is left of the promise where a look was taken that nobody had planned; None where it holds."""
    if not study.hypotheses or bound(plans) <= ERROR_RATE * (1 + 1e-9):
        return None
    return (
        "This study was extended after a look that was not planned: the chance of a false verdict is at most "
        f"{_percent(bound(plans))}, not {_percent(ERROR_RATE)}; plan before the first look to keep "
        f"{_percent(ERROR_RATE)}."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
