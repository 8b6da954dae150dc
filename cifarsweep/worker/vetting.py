"""What only the images or timm can tell of a study, said before anything is written.

`vet` imports no torch. Where a study has models of timm it asks one child process, which is this module's `main`:
cells as JSON on stdin, complaints as JSON on stdout.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import TypedDict

from cifarsweep.data.catalog import BUILT_IN, DataSetInfo, info
from cifarsweep.errors import CifarsweepError, SpecError
from cifarsweep.spec.settings import Settings, Timm
from cifarsweep.spec.study import Cell, Study
from cifarsweep.training.budget import Budget
from cifarsweep.training.schedules import warmup_steps
from cifarsweep.worker.errand import run_module


class Complaint(TypedDict):
    """A cell and the sentence that its settings got."""

    cell: str
    text: str


def vet(study: Study) -> None:
    """Raise SpecError that names the study, the cells, the key and the reason of everything that could not train.

    What depends on images is checked where the data set is built in or on this machine.
    """
    here = {name: info(name) for name in {cell.settings.dataset for cell in study.cells}}
    complaints: list[Complaint] = []
    for cell in study.cells:
        images = training_images(cell.settings, here[cell.settings.dataset])
        text = _misfit(cell.settings, images) if images is not None else None
        complaints += [Complaint(cell=cell.name, text=text)] if text else []
    complaints += _of_timm([cell for cell in study.cells if isinstance(cell.settings.model, Timm)], here)
    if complaints:
        raise SpecError("\n".join(_sentences(study.name, complaints)))


def training_images(settings: Settings, found: DataSetInfo | None) -> int | None:
    """How many images an epoch has, the held-out ones left out; None where nobody here knows."""
    known = found or BUILT_IN.get(settings.dataset)
    if known is None:
        return None
    held_out = settings.validation.fraction if settings.validation.split == "holdout" else 0
    return known.train - round(held_out * known.train)


def _misfit(settings: Settings, images: int) -> str | None:
    try:
        budget = Budget.of(settings, images)
        warmup_steps(settings.schedule, budget.total_steps, budget.steps_per_epoch)
    except SpecError as error:
        return str(error)
    return None


def _of_timm(cells: list[Cell], here: dict[str, DataSetInfo | None]) -> list[Complaint]:
    """Ask a child once for all cells."""
    if not cells:
        return []
    questions = []
    for cell in cells:
        found = here[cell.settings.dataset]
        images = training_images(cell.settings, found)
        classes = len(found.classes) if found is not None else 10
        questions.append([cell.name, cell.settings.model_dump_json(), classes, images])
    answer: list[Complaint] = json.loads(run_module(__name__, stdin=json.dumps(questions)))
    return answer


def _sentences(study: str, complaints: list[Complaint]) -> Iterator[str]:
    """One sentence for each different mistake."""
    cells: dict[str, list[str]] = {}
    for complaint in complaints:
        cells.setdefault(complaint["text"], []).append(complaint["cell"])
    for text, names in cells.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        yield f"study {study!r}, cell {names[0]!r}{more}: {text}"


def _complain(settings: Settings, classes: int, images: int | None) -> None:
    """Raise what a worker would raise when it begins this cell. Imports torch."""
    from cifarsweep.models import cost, smallest_batch
    from cifarsweep.models.timm_nets import check_weights

    assert isinstance(settings.model, Timm)
    cost(settings.model, classes)
    if images is not None and images >= settings.batch_size:
        Budget.of(settings, images, smallest_batch(settings.model))
    if settings.model.pretrained:
        check_weights(settings.model)


def main() -> None:
    """Answer the questions on stdin."""
    complaints: list[Complaint] = []
    for cell, settings, classes, images in json.load(sys.stdin):
        try:
            _complain(Settings.model_validate_json(settings), classes, images)
        except CifarsweepError as error:
            complaints.append(Complaint(cell=cell, text=str(error)))
    json.dump(complaints, sys.stdout)


if __name__ == "__main__":
    main()
