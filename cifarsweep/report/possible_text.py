"""Hypotheses for a study that has none, to copy into its file."""

from __future__ import annotations

from typing import Any

from cifarsweep.analysis.records import ReportStudy
from cifarsweep.analysis.samples import seed_order
from cifarsweep.spec.possible import Possible, possible_hypotheses
from cifarsweep.spec.writer import hypothesis_toml
from cifarsweep.stats.estimate import FEWEST_SEEDS
from cifarsweep.text import escape_controls


def possible_view(report: ReportStudy) -> dict[str, Any] | None:
    """The variables of `possible.html`; None for a study that has a hypothesis, or crosses no factors."""
    study = report.study
    found = [] if study.hypotheses else possible_hypotheses(study)
    # A page shows signs in the place of controls, which a file could not be read with.
    tables = [one for one in map(_toml, found) if escape_controls(one) == one]
    if not tables:
        return None
    known = any(trial.done for trial in report.trials)
    seeds = list(seed_order(study, len(study.seeds) + max(len(study.seeds), FEWEST_SEEDS))[len(study.seeds) :])
    return {
        "count": "one hypothesis" if len(tables) == 1 else f"{len(tables)} hypotheses",
        "toml": "\n".join(tables),
        "known": known,
        "seeds": f"seeds = {seeds}",
    }


def _toml(one: Possible) -> str:
    return hypothesis_toml(one.hypothesis, one.notes)
