"""Names of cells that are made of levels, in the words of this version and in those of earlier ones.

Of a factor `optimizer.name` a name says `optimizer=adamw`. Earlier versions said the last part of every key, as in
`name=adamw`. A study that one of them stored keeps its names, and files may name a cell in either words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from cifarsweep.errors import SpecError
from cifarsweep.spec.hypothesis import Hypothesis, selectors
from cifarsweep.spec.levels import short_keys, shown_keys, words_in
from cifarsweep.spec.settings import flatten
from cifarsweep.spec.study import Cell, Study, check_unique
from cifarsweep.spec.study_file import StudyFile

_Named = TypeVar("_Named", Study, StudyFile)


def is_named_as_before(study: Study) -> bool:
    """Whether its cells have names in the words of earlier versions, and this one has others."""
    keys = _varied(study)
    return _words_differ(keys) and words_in((cell.name for cell in study.cells), keys) == short_keys(keys)


def named_as(spec: Study, stored: Study) -> Study:
    """Return `spec`, as its file was read, with the words of `stored` in the names of cells.

    Raises SpecError if two cells then have one name.
    """
    if not is_named_as_before(stored):
        return spec
    keys, known = _varied(spec), {cell.name for cell in stored.cells}
    renamed = {
        cell.name: name
        for cell in spec.cells
        if cell.name not in known and (name := respelled(cell.name, shown_keys(keys), short_keys(keys)))
    }
    cells = tuple(cell.model_copy(update={"name": renamed.get(cell.name, cell.name)}) for cell in spec.cells)
    check_unique(cells, spec.name)
    return _with_references(spec.model_copy(update={"cells": cells}), lambda name: renamed.get(name, name))


def other_names(study: Study) -> dict[str, str]:
    """Return by its name what else a cell may be called: the same in the other words."""
    keys = _varied(study)
    if not _words_differ(keys):
        return {}
    names = dict.fromkeys(cell.name for cell in study.cells)
    found = ((name, other) for name in names for other in _respelled_both_ways(name, keys))
    return {name: other for name, other in found if other not in names}


def with_names_of(file: StudyFile, cells: Iterable[Cell], where: str) -> StudyFile:
    """Return the file with the names that the cells have, where it calls them in the words of earlier versions.

    Raises SpecError if it gives runs to one cell by two names.
    """
    keys, names = list(flatten(file.factors)), {cell.name for cell in cells}

    def name_of(written: str) -> str:
        if written in names:
            return written
        return next((name for name in _respelled_both_ways(written, keys) if name in names), written)

    by_name: dict[str, str] = {}
    for written in file.reported_runs.runs if file.reported_runs else ():
        if (first := by_name.setdefault(name_of(written), written)) != written:
            raise SpecError(f"{where}: reported_runs.runs: {first!r} and {written!r} are one cell; name it once")
    return _with_references(file, name_of)


def respelled(name: str, words: Mapping[str, str], others: Mapping[str, str]) -> str | None:
    """Return a name in other words for its factors; None if it is not made of levels in these, in their order."""
    rest, texts = f", {name}", []
    for word in words.values():
        text, found, rest = rest.partition(f", {word}=")
        if not found:
            return None
        texts.append(text)
    before, *levels = [*texts, rest]
    if before or not levels:
        return None
    return ", ".join(f"{others[key]}={level}" for key, level in zip(words, levels, strict=True))


def _respelled_both_ways(name: str, keys: Iterable[str]) -> list[str]:
    now, before = shown_keys(keys), short_keys(keys)
    found = (respelled(name, *words) for words in ((before, now), (now, before)))
    return [other for other in found if other is not None and other != name]


def _varied(study: Study) -> list[str]:
    return list(study.search.space if study.search else study.factors)


def _words_differ(keys: Iterable[str]) -> bool:
    return shown_keys(keys) != short_keys(keys)


def _with_references(of: _Named, name_of: Callable[[str], str]) -> _Named:
    """Return a study, or its file, with other names where it refers to cells by name."""
    runs = of.reported_runs
    if runs is not None:
        runs = runs.model_copy(update={"runs": {name_of(cell): each for cell, each in runs.runs.items()}})
    return of.model_copy(
        update={
            "hypotheses": tuple(_about(hypothesis, name_of) for hypothesis in of.hypotheses),
            "reported": tuple(fact.model_copy(update={"cell": name_of(fact.cell)}) for fact in of.reported),
            "reported_runs": runs,
        }
    )


def _about(hypothesis: Hypothesis, name_of: Callable[[str], str]) -> Hypothesis:
    named = {role: name_of(each) for role, each in selectors(hypothesis).items() if isinstance(each, str)}
    return hypothesis.model_copy(update=named)
