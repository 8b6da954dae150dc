"""Puts reported numbers beside what was found: sentences, rows of the page, fields of the JSON."""

from __future__ import annotations

from typing import Any

from cifarsweep.analysis.outcomes import FallenOut
from cifarsweep.analysis.reported import ReportedAndFound, Standing
from cifarsweep.analysis.study import StudyAnalysis
from cifarsweep.formatting import (
    duration,
    keep_together,
    labelled,
    margin_text,
    mean_text,
    metric_label,
    moment_text,
    plural,
    target_text,
    value_text,
)
from cifarsweep.report.outcome_text import fell_out_text
from cifarsweep.report.reported_runs import run_length, run_notes, run_view
from cifarsweep.report.sort_values import sort_value
from cifarsweep.spec.metrics import ELAPSED, UNITS, is_loss, is_share
from cifarsweep.spec.reported import Reported
from cifarsweep.text import one_line

_DASH = "\N{EN DASH}"
#: A half width for which a per cent gets two decimals: near an end of the interval one would hide on which side it is.
_FINE = 0.0005


def reported_sentence(held: ReportedAndFound) -> str:
    """Say what was reported, what was found, and how the two stand to each other."""
    fact = held.reported
    reported = f"reported is {_exact(held)} {_from_named_run(held) or _from_runs(fact)}"
    parts = [
        f"{one_line(fact.cell)}, {_quantity(fact)}: {reported}; {_found(held)}.",
        _best_of_several(fact),
        *_care(held),
    ]
    return " ".join(part for part in parts if part)


@labelled
def reported_lines(analysis: StudyAnalysis) -> list[str]:
    """A sentence for each reported number, and what a reader has to know of reported runs."""
    return [*map(reported_sentence, analysis.reported), *run_notes(analysis.runs)]


def reported_view(analysis: StudyAnalysis) -> dict[str, Any] | None:
    """The variables of the section "Reported and found"; None for a study without reported numbers and runs."""
    if not analysis.reported and not analysis.runs:
        return None
    rows = [_row(held) for held in analysis.reported]
    return {"rows": rows, "expected": _expected_outside(analysis), **run_view(analysis.runs)}


def source_text(held: ReportedAndFound) -> str | None:
    """The source that the study gives, or the run and its study."""
    return f"run {one_line(held.of_run.run)} of {held.of_run.study}" if held.of_run else held.reported.source


def reported_fields(held: ReportedAndFound) -> dict[str, Any]:
    """A reported number and what was found, as plain values."""
    fact, found, interval = held.reported, held.found, held.interval
    return {
        **fact.model_dump(mode="json", exclude={"value"}),
        "reported": fact.value,
        "run": held.of_run.run if held.of_run else None,
        "source": source_text(held),
        "found": found.mean if found else None,
        "n": found.n if found else 0,
        "sd": found.sd if found else None,
        "prediction_interval": [interval.low, interval.high] if interval else None,
        "standing": held.standing,
        "fell_out": held.fell_out.count,
        "without_value": held.without_value,
        "open_trials": held.open_trials,
        "sentence": reported_sentence(held),
    }


def _row(held: ReportedAndFound) -> dict[str, Any]:
    fact = held.reported
    return {
        "cell": fact.cell,
        "quantity": _quantity(fact),
        "reported": _exact(held),
        "runs": _from_runs(fact),
        "found": _mean(held) or _DASH,
        "n": held.found.n if held.found else 0,
        "interval": keep_together(_interval(held)) if held.interval else _DASH,
        "standing": _standing(held) or _no_interval(held),
        "outside": held.standing in (Standing.HIGHER, Standing.LOWER),
        "care": " ".join(_care(held)),
        "why": keep_together(_why_not_told_apart(held)),
        "source": source_text(held),
        "setting": run_length(held.of_run) if held.of_run else fact.setting,
        "sort": {
            "reported": sort_value(fact.value),
            "found": sort_value(held.found.mean if held.found else None),
            "interval": sort_value(held.interval.low if held.interval else None),
        },
    }


def _quantity(fact: Reported) -> str:
    label = metric_label(fact.metric)
    label = label[:1].lower() + label[1:] if label != fact.metric else label
    if fact.of == "best":
        return f"best {label} " + ("of training" if fact.at is None else f"until {moment_text(fact.at)}")
    if fact.mean_of is not None:
        until = "" if fact.at is None else f" until {moment_text(fact.at)}"
        return f"{label}, mean of the last {plural(fact.mean_of, 'evaluation')}{until}"
    return f"{label} at {moment_text(fact.at)}"


def _from_runs(fact: Reported) -> str:
    return "from one run" if fact.runs == 1 else f"as the mean of {fact.runs:,} runs"


def _from_named_run(held: ReportedAndFound) -> str:
    if held.of_run is None:
        return ""
    runs, name = held.reported.runs, one_line(held.of_run.run)
    return f"from the run {name}" if runs == 1 else f"as the mean of {runs:,} runs {name}"


def _found(held: ReportedAndFound) -> str:
    fact, found = held.reported, held.found
    if found is None or held.interval is None:
        ours = f"found is {_mean(held)}, " if found else ""
        return f"{ours}{_no_interval(held)}"
    ours = f"found is {_mean(held)} over {plural(found.n, 'seed')}"
    runs = "one run" if fact.runs == 1 else f"a mean of {fact.runs:,} runs"
    text = f"{ours}, and {runs} of ours would give {_interval(held)}"
    if held.standing in (Standing.HIGHER, Standing.LOWER):
        return f"{text}: the report is {_standing(held)}"
    why = _why_not_told_apart(held)
    return f"{text}: {held.standing}{f', for {why}' if why else ''}"


def _standing(held: ReportedAndFound) -> str:
    runs = held.reported.runs
    of_ours = "a run of ours" if runs == 1 else f"a mean of {runs:,} runs of ours"
    return held.standing.replace("a run of ours", of_ours) if held.standing else ""


def _no_interval(held: ReportedAndFound) -> str:
    found = held.found
    if found is None:
        return "no trial has such a value" if held.without_value else "no trial is done yet"
    if found.n == 1:
        return "one seed, which gives no interval"
    return f"all {found.n} seeds alike, which gives no interval"


def _why_not_told_apart(held: ReportedAndFound) -> str:
    fact = held.reported
    if held.standing is not Standing.NOT_TOLD_APART:
        return ""
    if fact.tolerance is None:
        return "no tolerance is given"
    return f"the interval is wider than the tolerance of {margin_text(fact.tolerance, fact.metric)}"


def _best_of_several(fact: Reported) -> str:
    better = "higher" if is_share(fact.metric) else "lower" if is_loss(fact.metric) else ""
    return f"It is one run: a best of several is expected to be {better}." if fact.runs == 1 and better else ""


def _care(held: ReportedAndFound) -> list[str]:
    """What a reader has to know of the trials."""
    said = []
    if held.fell_out.count:
        said.append(f"{fell_out_text(held.fell_out).capitalize()}; the mean is of {_whose(held.fell_out)}.")
    if held.without_value and held.found:
        lacks = "has" if held.without_value == 1 else "have"
        said.append(f"{plural(held.without_value, 'trial')} {lacks} no such value.")
    if held.open_trials:
        are = "is" if held.open_trials == 1 else "are"
        said.append(f"{plural(held.open_trials, 'trial')} {are} not finished, so this is preliminary.")
    return said


def _whose(fell_out: FallenOut) -> str:
    return "what they ended with" if fell_out.every else "those that trained"


def _expected_outside(analysis: StudyAnalysis) -> str:
    """How many reported numbers lie outside by chance."""
    count = sum(held.interval is not None for held in analysis.reported)
    return f"Of {plural(count, 'such interval')}, {0.05 * count:.2g} are expected to miss." if count > 1 else ""


def _exact(held: ReportedAndFound) -> str:
    """The reported number with all its digits; that of a run, which has as many as a computer gives, rounded."""
    fact = held.reported
    if held.of_run is not None:
        return value_text(fact.value, fact.metric, _FINE)
    return target_text(fact.value, fact.metric) if _is_plain(fact.metric) else _with_unit(fact.value, fact.metric)


def _mean(held: ReportedAndFound) -> str:
    found, metric = held.found, held.reported.metric
    if found is None:
        return ""
    return mean_text(found, metric) if _is_plain(metric) else _with_unit(found.mean, metric)


def _interval(held: ReportedAndFound) -> str:
    interval, metric = held.interval, held.reported.metric
    if interval is None:
        return ""
    if not _is_plain(metric):
        return f"{_with_unit(interval.low, metric)} to {_with_unit(interval.high, metric)}"
    low, high = value_text(interval.low, metric, _FINE), value_text(interval.high, metric, _FINE)
    return f"{low.removesuffix('%').rstrip() if is_share(metric) else low} to {high}"


def _is_plain(metric: str) -> bool:
    return metric != ELAPSED and metric not in UNITS


def _with_unit(value: float, metric: str) -> str:
    if metric == ELAPSED:
        return duration(value)
    unit, one = UNITS[metric]
    return f"{value / one:.4g} {unit}"
