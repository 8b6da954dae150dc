"""Checks of a study's own code, made in a process of its own before anything is written.

`check_own_parts` imports no torch. It runs this module's `main`, which may: what it needs as JSON on stdin, problems as
JSON on stdout. The code is that beside the study's file, which the user has named.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cifarsweep.errors import CifarsweepError
from cifarsweep.files import scratch
from cifarsweep.own_code import allow, know
from cifarsweep.spec.code import codes_of
from cifarsweep.spec.image_shape import ImageShape
from cifarsweep.spec.own import OwnModel
from cifarsweep.spec.settings import Optimizer, Settings
from cifarsweep.spec.study import Cell, Study
from cifarsweep.worker.check_process import Answer, Problem, run_module
from cifarsweep.worker.code_here import files_of


def with_own_parts(study: Study) -> list[Cell]:
    """Return the cells with a part that is the user's own, or an optimizer that only its package knows."""
    return [cell for cell in study.cells if cell.own_settings is not None and _needs_check(cell.own_settings)]


def _needs_check(settings: Settings) -> bool:
    return bool(codes_of(settings)) or not isinstance(settings.optimizer, Optimizer)


def check_own_parts(study: Study, folder: Path, images: Mapping[str, tuple[int, ImageShape]]) -> Answer:
    """Return problems, notes and costs of the cells with own parts, whose files are in `folder`.

    `images` has the number of classes and the shape of the images of each data set.
    """
    cells = with_own_parts(study)
    if not cells:
        return Answer(problems=[], notes=[], flops={})
    asked = []
    for cell in cells:
        classes, shape = images[cell.settings.dataset]
        asked.append((cell.name, cell.settings.model_dump_json(), classes, shape.side, shape.channels))
    packages = {code.partition(" ")[0] for cell in cells for code in codes_of(cell.settings) if " " in code}
    question = {
        "sources": [str(folder.resolve()), *sorted(packages)],
        "files": list(files_of(study)),
        "cells": asked,
    }
    answer: Answer = json.loads(run_module(__name__, stdin=json.dumps(question)))
    return answer


def _check(settings: Settings, classes: int, shape: ImageShape) -> tuple[list[str], int]:
    """Return notes, and the FLOPs of one image forward. Imports torch."""
    from cifarsweep.models import cost
    from cifarsweep.training.first_steps import check_first_steps

    with scratch() as folder:
        notes = check_first_steps(settings, classes, shape, folder)
    return notes, cost(settings.model, classes, shape).flops_per_image


def _alike(settings: Settings) -> str:
    """Return a text that is equal for settings whose own parts need one check."""
    parts: dict[str, Any] = settings.model_dump(mode="json")
    parts["optimizer"].pop("lr", None)
    keys = ("model", "optimizer", "loss", "augment", "metrics", "determinism", "precision", "threads")
    kept = {key: parts[key] for key in keys if key in parts}
    return json.dumps(kept)


def main() -> None:
    """Answer the question on stdin."""
    question = json.load(sys.stdin)
    answer = Answer(problems=[], notes=[], flops={})
    allow(question["sources"])
    know([(path, sha256) for path, sha256 in question["files"]])
    found: dict[str, tuple[list[str], int] | CifarsweepError] = {}
    for cell, text, classes, side, channels in question["cells"]:
        settings, shape = Settings.model_validate_json(text), ImageShape(side, channels)
        key = f"{classes} {shape} {_alike(settings)}"
        if key not in found:
            try:
                # What the user's code prints is no answer.
                with contextlib.redirect_stdout(sys.stderr):
                    found[key] = _check(settings, classes, shape)
            except CifarsweepError as error:
                found[key] = error
        outcome = found[key]
        if isinstance(outcome, CifarsweepError):
            answer["problems"].append(Problem(cell=cell, text=str(outcome)))
            continue
        answer["notes"] += [Problem(cell=cell, text=note) for note in outcome[0]]
        if isinstance(settings.model, OwnModel):
            answer["flops"][cell] = outcome[1]
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
