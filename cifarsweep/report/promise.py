"""What is promised of all verdicts of a study together, in words."""

from __future__ import annotations

from cifarsweep.analysis.records import ReportStudy
from cifarsweep.spec.study import Study
from cifarsweep.spec.types import TrialState
from cifarsweep.stats.multiplicity import ERROR_RATE
from cifarsweep.stats.plans import Plans, bound, levels


def plan_text(plans: Plans) -> str:
    """`3, 6, 12 seeds, each at 5 % / 3`, or every look with its level where there are several plans."""
    if len(plans) == 1:
        return f"{', '.join(map(str, plans[0]))} seeds, each at {_percent(ERROR_RATE)} / {len(plans[0])}"
    each = [f"{seeds} seeds at {_percent(level)}" for seeds, level in levels(plans).items()]
    return ", ".join(each)


def warnings(report: ReportStudy) -> list[str]:
    """Why the chance of a false verdict may be higher than it should be, in sentences; none where the promise holds."""
    found = (promise(report.study, report.plans), _cut_short(report))
    return [text for text in found if text]


def most_false(report: ReportStudy) -> float | None:
    """The chance of any false verdict is at most this; None where nobody can say."""
    return None if _cut_short(report) else bound(report.plans)


def _cut_short(report: ReportStudy) -> str | None:
    count = sum(trial.state == TrialState.CANCELLED for trial in report.trials)
    if not count or not report.study.hypotheses:
        return None
    were = "1 trial was" if count == 1 else f"{count} trials were"
    return (
        f"{were} cancelled: if somebody did that in view of the numbers, the chance of a false verdict is more than "
        f"{_percent(bound(report.plans))}."
    )


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
