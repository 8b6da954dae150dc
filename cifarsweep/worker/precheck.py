"""Checks of a study that need its images or timm, made before anything is written.

`check_trainable` imports no torch. For models of timm it runs this module's `main` in one child process: cells as JSON
on stdin, problems as JSON on stdout.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from cifarsweep.data.catalog import BUILT_IN, DataSetInfo, info
from cifarsweep.errors import CifarsweepError, SpecError
from cifarsweep.spec.devices import device_notes
from cifarsweep.spec.image_shape import CIFAR, ImageShape
from cifarsweep.spec.misfits import OF_SHAPE, misfit
from cifarsweep.spec.moments import beyond_budget
from cifarsweep.spec.search_reader import point_cell
from cifarsweep.spec.search_space import Range
from cifarsweep.spec.settings import Model, Settings, Timm
from cifarsweep.spec.study import Cell, Study, datasets, ends_before
from cifarsweep.spec.validation import Table, nested, validated
from cifarsweep.training.equal_cells import equal_cells, unread_settings
from cifarsweep.training.schedule import Budget, warmup_steps
from cifarsweep.worker.check_process import Answer, Problem, run_module
from cifarsweep.worker.own_check import check_own_parts, with_own_parts

#: What the child has counted in the life of this process, by network, classes and shape of the images.
_counted: dict[tuple[Model, int, ImageShape], int] = {}


def check_trainable(study: Study, *, as_written: bool = False, code: Path = Path()) -> list[str]:
    """Raise SpecError that names study, cells, key and reason of everything that can't train.

    Settings that depend on images are checked if the data set is built in or on this machine. Returns a
    sentence on cells that train on a processor and not on a GPU, on each setting that no cell reads, on each cell that
    trains the same bits as another, and on each hypothesis about a moment after the end. A study `as_written`, with no
    setting overridden, is refused for the last. Nothing is known of what a program trains. The user's own code is run
    from the folder `code`, in another process.
    """
    if study.program is not None:
        return []
    here = {name: info(name) for name in {cell.settings.dataset for cell in study.cells}}
    problems: list[Problem] = []
    known = {cell.name: training_images(cell.settings, here[cell.settings.dataset]) for cell in study.cells}
    for cell in study.cells:
        images = known[cell.name]
        text = misfit(cell.settings, shape_of(cell.settings, here[cell.settings.dataset]))
        text = text or _phase_problem(cell.settings, images)
        text = text or (_budget_problem(cell.settings, images) if images is not None else None)
        problems += [Problem(cell=cell.name, text=text)] if text else []
    problems = problems or list(_inside_of_ranges(study, here))
    answer = _ask_child([cell for cell in study.cells if isinstance(cell.settings.model, Timm)], here)
    problems += answer["problems"]
    if not problems:
        own = _check_own(study, code, here)
        problems += own["problems"]
        answer["notes"] += own["notes"]
    if problems:
        raise SpecError("\n".join(_sentences(study.name, problems)))
    late = list(_moments_after_the_end(study, known))
    if late and as_written:
        raise SpecError("\n".join(f"study {study.name!r}: {text}" for text in late))
    answer["notes"] += [Problem(cell=cell.name, text=text) for cell in study.cells for text in device_notes(cell)]
    of_cells = [*unread_settings(study), *equal_cells(study, known)]
    return [*_sentences(study.name, answer["notes"]), *of_cells, *late]


def _inside_of_ranges(study: Study, here: Mapping[str, DataSetInfo | None]) -> Iterator[Problem]:
    """Yield the first point inside of each range of a search that the images can't have; its ends are cells."""
    if study.search is None:
        return
    first = study.cells[0]
    shape = shape_of(first.settings, here[first.settings.dataset])
    for key in OF_SHAPE:
        values = study.search.space.get(key)
        for value in (values.all() or ()) if isinstance(values, Range) else ():
            with suppress(SpecError):  # of data sets known by name, the search itself goes past such points
                point = point_cell(study.search, first.levels | {key: value}, study.name)
                if text := misfit(point.settings, shape):
                    yield Problem(cell=point.name, text=f"{text}, as choices of search.space.{key}")
                    break


def _moments_after_the_end(study: Study, images: Mapping[str, int | None]) -> Iterator[str]:
    """Yield a sentence on each hypothesis or reported number about a moment after the last step."""
    cells = tuple(
        cell.model_copy(update={"own_settings": _both_budgets(cell, images[cell.name])}) for cell in study.cells
    )
    for hypothesis in study.hypotheses:
        if problem := ends_before(cells, hypothesis):
            yield f"the hypothesis {hypothesis.claim!r} will stay undecided: {problem}"
    by_name = {cell.name: cell for cell in cells}
    for fact in study.reported:
        settings = by_name[fact.cell].settings
        if problem := beyond_budget(fact.at, settings, fact.cell) if fact.at else None:
            yield f"the reported {fact.metric} of {fact.cell!r} will have no number of ours beside it: {problem}"


def _both_budgets(cell: Cell, images: int | None) -> Settings:
    """The settings with the budget in steps and in epochs, where the number of images is known."""
    if images is None:
        return cell.settings
    budget = Budget.of(cell.settings, images)
    epochs = round(budget.total_steps / budget.steps_per_epoch, 4)
    return cell.settings.model_copy(update={"steps": budget.total_steps, "epochs": epochs})


def training_images(settings: Settings, found: DataSetInfo | None) -> int | None:
    """Return the images of an epoch, without held-out ones; None if unknown here."""
    known = found or BUILT_IN.get(settings.dataset)
    if known is None:
        return None
    held_out = settings.validation.fraction if settings.validation.split == "holdout" else 0
    return known.train - round(held_out * known.train)


def shape_of(settings: Settings, found: DataSetInfo | None) -> ImageShape | None:
    """Return the shape of the images; None if the data set is not known here."""
    if found is not None:
        return found.shape
    return CIFAR if settings.dataset in BUILT_IN else None


def images_to_train(study: Study) -> int | None:
    """Return the training images of all trials, repetitions included; None if a data set is not known here, or none.

    Those of a search, whose trials may end early, are an upper bound, counted at the first end of its space.
    """
    if not datasets(study):
        return None
    of_search = (study.cells[0].settings for _ in range(study.planned if study.search else 0))
    total = 0
    for settings in (*of_search, *(trial.cell.settings for trial in study.trials())):
        images = training_images(settings, info(settings.dataset))
        if images is None:
            return None
        budget = Budget.of(settings, images)
        total += budget.images_seen(budget.total_steps)
    return total


def epoch_steps(flat: Table) -> int | None:
    """Return the steps of an epoch with these settings by dotted key; None if the data set is not known here."""
    try:
        settings = validated(Settings, nested(flat, "settings"), "settings")
    except SpecError:
        return None  # the reader will say what is wrong
    images = training_images(settings, info(settings.dataset))
    return None if images is None else Budget(images, settings.batch_size, 0).steps_per_epoch


def _phase_problem(settings: Settings, images: int | None) -> str | None:
    epochs = settings.epochs
    if settings.steps is not None and images is not None:
        epochs = -(-settings.steps // Budget(images, settings.batch_size, settings.steps).steps_per_epoch)
    last = max((end for _, end, _ in settings.schedule.phase_ranges()), default=0)
    if epochs is None or last <= epochs:
        return None
    return (
        f"schedule.phases: the last one ends at epoch {last}, beyond the budget of {epochs} epochs; let it end by "
        "then, or raise epochs or steps"
    )


def _budget_problem(settings: Settings, images: int) -> str | None:
    try:
        budget = Budget.of(settings, images)
        warmup_steps(settings.schedule, budget.total_steps, budget.steps_per_epoch)
    except SpecError as error:
        return str(error)
    return None


def _ask_child(cells: list[Cell], here: dict[str, DataSetInfo | None]) -> Answer:
    """Check all cells in one child process."""
    if not cells:
        return Answer(problems=[], notes=[], flops={})
    questions: list[tuple[str, str, int, int | None, int, int]] = []
    for cell in cells:
        found = here[cell.settings.dataset]
        images = training_images(cell.settings, found)
        classes = len(found.classes) if found is not None else 10
        shape = shape_of(cell.settings, found) or CIFAR
        questions.append((cell.name, cell.settings.model_dump_json(), classes, images, shape.side, shape.channels))
    answer: Answer = json.loads(run_module(__name__, stdin=json.dumps(questions)))
    for cell, (name, _, classes, _, *sizes) in zip(cells, questions, strict=True):
        if name in answer["flops"]:
            _counted[cell.settings.model, classes, ImageShape(*sizes)] = answer["flops"][name]
    return answer


def _check_own(study: Study, folder: Path, here: dict[str, DataSetInfo | None]) -> Answer:
    """Check the user's own parts, and remember what networks cost."""
    known = {
        name: (len(found.classes) if found else 10, found.shape if found else CIFAR) for name, found in here.items()
    }
    answer = check_own_parts(study, folder, known)
    for cell in with_own_parts(study):
        if cell.name in answer["flops"]:
            _counted[cell.settings.model, *known[cell.settings.dataset]] = answer["flops"][cell.name]
    return answer


def counted_flops(model: Model, classes: int, shape: ImageShape = CIFAR) -> int | None:
    """Return the FLOPs of one image, forward, of a model of timm; None unless `check_trainable` has counted it."""
    return _counted.get((model, classes, shape))


def _sentences(study: str, problems: list[Problem]) -> Iterator[str]:
    """Yield one sentence for each different problem."""
    cells: dict[str, list[str]] = {}
    for problem in problems:
        cells.setdefault(problem["text"], []).append(problem["cell"])
    for text, names in cells.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        yield f"study {study!r}, cell {names[0]!r}{more}: {text}"


def _check_timm(settings: Settings, classes: int, shape: ImageShape, images: int | None) -> None:
    """Raise what a worker would raise at the start of this cell. Imports torch."""
    from cifarsweep.models import cost, smallest_batch
    from cifarsweep.models.timm_models import check_weights

    assert isinstance(settings.model, Timm)
    cost(settings.model, classes, shape)
    if images is not None and images >= settings.batch_size:
        Budget.of(settings, images, smallest_batch(settings.model, shape))
    if settings.model.pretrained:
        check_weights(settings.model)


def _timm_flops(settings: Settings, classes: int, shape: ImageShape) -> int:
    """Return the FLOPs of one image, forward. Imports torch."""
    from cifarsweep.models import cost

    return cost(settings.model, classes, shape).flops_per_image


def _gpu_warning(settings: Settings, classes: int, shape: ImageShape) -> str | None:
    """Return what a GPU would refuse; only the worker may have one. Imports torch."""
    from cifarsweep.models.determinism import inexact_on_gpu

    assert isinstance(settings.model, Timm)
    found = inexact_on_gpu(settings.model, classes, shape) if settings.determinism == "exact" else ()
    if not found:
        return None
    return (
        f'a GPU can\'t train {settings.model.name} under determinism = "exact" ({", ".join(found)} gives other bits '
        "each time): add --set determinism=fast, or train on processors only (worker --cpu)"
    )


def main() -> None:
    """Answer the questions on stdin."""
    answer = Answer(problems=[], notes=[], flops={})
    for cell, text, classes, images, side, channels in json.load(sys.stdin):
        settings, shape = Settings.model_validate_json(text), ImageShape(side, channels)
        try:
            _check_timm(settings, classes, shape, images)
            warning = _gpu_warning(settings, classes, shape)
            answer["flops"][cell] = _timm_flops(settings, classes, shape)
        except CifarsweepError as error:
            answer["problems"].append(Problem(cell=cell, text=str(error)))
            continue
        if warning:
            answer["notes"].append(Problem(cell=cell, text=warning))
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
