"""Puts into words what trials took over from others, and what that means for the numbers of a page."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from cifarsweep.analysis.records import ReportStudy, ReportTrial
from cifarsweep.analysis.reuse import STEPS, Totals, totals
from cifarsweep.formatting import duration, magnitude, plural
from cifarsweep.spec.metrics import ELAPSED, ENERGY, FLOPS

#: Of more trials than this, the rest is counted.
_NAMED = 12


def reuse_notes(report: ReportStudy) -> Iterator[str]:
    """Say how many steps were trained for the study and how many were taken over; nothing if none were."""
    found = totals(report)
    if not found.reused:
        return
    trained, taken = found.trained[STEPS], found.reused[STEPS]
    own = (
        f"{trained:,.0f} were trained for this study ({_cost(found.trained)})"
        if trained
        else "none was trained for this study"
    )
    yield (
        f"Of the {trained + taken:,.0f} steps of the trials that are done, {own} and {taken:,.0f} were taken over, bit "
        f"for bit, from trials that had trained them before ({_cost(found.reused)}): {_which(found)}."
    )
    yield (
        "Steps, time, energy and FLOPs of a trial, and the means of its cell, count what it took over, as if it had "
        "trained alone."
    )


def _cost(amounts: Mapping[str, float]) -> str:
    """`2 h 05 min, 1.2 PFLOP, 3.4 MJ`; FLOPs and energy where they are known."""
    parts = [duration(amounts[ELAPSED])]
    parts += [_flops(amounts[FLOPS])] if FLOPS in amounts else []
    parts += [f"{magnitude(amounts[ENERGY])}J"] if ENERGY in amounts else []
    return ", ".join(parts)


def _flops(count: float) -> str:
    return f"{count / 1e15:,.3g} PFLOP" if count >= 1e15 else f"{magnitude(count)}FLOP"


def _which(found: Totals) -> str:
    parts = []
    if found.whole:
        parts.append(f"{plural(found.whole, 'trial')} took over all of {_their(found.whole)} steps")
    if found.begun:
        parts.append(f"{plural(found.begun, 'trial')} took over the first ones of {_their(found.begun)} steps")
    return ", ".join(parts)


def _their(count: int) -> str:
    return "its" if count == 1 else "their"


def reused_text(report: ReportStudy) -> str:
    """Name the trials that took steps over and their sources, the first ones of many; empty if none did."""
    told = [f"trial {trial.number}: {trial.reused_text}" for trial in report.trials if trial.reuse]
    more = [f"and {len(told) - _NAMED} more, as table 2 says"] if len(told) > _NAMED else []
    listed = "; ".join([*told[:_NAMED], *more])
    return (
        f"{listed}. `cifarsweep replay` trains such a trial in full, and says whether it is the same." if told else ""
    )


def reused_from(trial: ReportTrial, report: ReportStudy, listed: Collection[ReportTrial]) -> dict[str, Any] | None:
    """What a trial took over, as variables of a template, with the source's number if it is listed on the page."""
    if trial.reuse is None:
        return None
    names = {f"{report.study.name}/{each.number}": each.number for each in listed}
    return {"text": trial.reused_text, "number": names.get(trial.reuse.sources[0].name)}
