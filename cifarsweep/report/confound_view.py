"""The list of what differs beside the factors, for the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cifarsweep.analysis.confounds import Confound, confounds, spread_text, timing_note
from cifarsweep.analysis.results import CellResult
from cifarsweep.formatting import plural, prose, visible
from cifarsweep.spec.study import Study

#: More cells than this are counted rather than named.
_NAMED = 4


def confound_view(study: Study, results: Sequence[CellResult]) -> dict[str, Any]:
    """The rows of the table, its sentence, and what is to be said of times."""
    found = confounds(study, results)
    note = timing_note(results)
    return {
        "rows": [_row(confound, len(results)) for confound in found],
        "sentence": prose(_sentence(study, found, results)),
        "timing": visible(note) if note else None,
    }


def _sentence(study: Study, found: Sequence[Confound], results: Sequence[CellResult]) -> str:
    if not any(result.done for result in results):
        return "Nothing is known of this yet: no trial is done."
    if study.imported and not found:
        return "The imported logs do not say what their trials ran with."
    cells = len(results)
    if cells == 1 and not found:
        return "There is one cell only, and all of its trials ran in the same surroundings."
    if not found:
        return (
            "Nothing: steps, time (within 10 %), parameters, FLOPs, devices and versions are the same in all cells, "
            "as far as they are recorded."
        )
    return (
        "A difference in results may come from these as well, unless a factor brings them about. Steps, times and "
        "sizes are means over the seeds that trained to their end; times are listed from a difference of 10 % on."
    )


def _row(confound: Confound, cells: int) -> dict[str, Any]:
    groups = [
        {"value": visible(group.value), "cells": _cells(group.cells, cells), "all": visible(", ".join(group.cells))}
        for group in confound.groups
    ]
    return {"what": visible(confound.what), "groups": groups, "spread": spread_text(confound)}


def _cells(names: Sequence[str], of: int) -> str:
    if len(names) == of and of > 1:
        return "mixed in all cells"
    return visible(" / ".join(names)) if len(names) <= _NAMED else plural(len(names), "cell")
