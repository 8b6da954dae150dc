"""A study: a question, its cells and its seeds."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Self, TypeVar

from pydantic import Field, NonNegativeInt, model_validator

from cifarsweep.errors import SpecError
from cifarsweep.spec.code import Code
from cifarsweep.spec.final import Final
from cifarsweep.spec.hypothesis import Hypothesis, Selector, moment_of, selectors
from cifarsweep.spec.levels import same_level, words_in
from cifarsweep.spec.metrics import SINGLE, VAL_ACCURACY
from cifarsweep.spec.moments import beyond_budget
from cifarsweep.spec.program import ParameterName, Parameters, Program
from cifarsweep.spec.reported import Reported
from cifarsweep.spec.reported_runs import ReportedRuns
from cifarsweep.spec.search_space import Search
from cifarsweep.spec.settings import Frozen, Settings, flat_settings
from cifarsweep.spec.shown import shown
from cifarsweep.spec.tested import never_measured
from cifarsweep.spec.types import NAME_PATTERN, Value
from cifarsweep.spec.validation import unknown_metric

Prose = Annotated[str, Field(max_length=4000, pattern=r"^[^\x00-\x08\x0b-\x1f\x7f-\x9f]*$")]

#: More cells or trials than this are a mistake in the file rather than a plan.
MOST_TRIALS = 100_000

_Held = TypeVar("_Held")


class Cell(Frozen):
    """One combination of levels: an arm of the experiment."""

    name: Annotated[str, Field(min_length=1, max_length=300)]
    levels: dict[str, Value]
    """The value of every setting that any cell of the study varies, by dotted key."""
    own_settings: Settings | None = Field(alias="settings")
    """None in an imported study, whose logs do not tell them, and in one of a program, which has parameters."""
    parameters: dict[ParameterName, Value] | None = None
    """What a program is started with; None in other studies."""

    later: ClassVar[frozenset[str]] = frozenset({"parameters"})

    @property
    def settings(self) -> Settings:
        """All settings. Raises SpecError if there are none; check `Study.imported` and `Study.program` first."""
        if self.parameters is not None:
            raise SpecError(f"cell {self.name!r} is of a program, which has parameters and no settings")
        if self.own_settings is None:
            raise SpecError(f"cell {self.name!r} was imported from logs, which do not say what it was trained with")
        return self.own_settings

    @property
    def trained_with(self) -> Settings | Parameters | None:
        """Its settings or its parameters, which tell cells apart; None where it was imported."""
        # Sorted, as the JSON of a study that is stored has them: the digest of a cell is the same before and after.
        return self.own_settings if self.parameters is None else Parameters.of(self.parameters)

    @property
    def flat(self) -> dict[str, Value]:
        """Every setting by its dotted key, or every parameter; the levels alone where it was imported."""
        if self.own_settings is not None:
            return flat_settings(self.own_settings)
        return dict(self.levels if self.parameters is None else self.parameters)


@dataclass(frozen=True, slots=True)
class PlannedTrial:
    """One cell with one seed."""

    cell: Cell
    seed: int


class Study(Frozen):
    """A question with everything that its trials need. Equal contents have equal hashes."""

    name: Annotated[str, Field(pattern=f"^{NAME_PATTERN.pattern}$")]
    question: Annotated[Prose, Field(min_length=1)]
    source: Prose = ""
    """The source of the question: a paper, a report, a page."""
    cost: Prose = ""
    """The cost of the whole study, and the machine it was measured on."""
    factors: dict[str, tuple[Value, ...]] = {}
    cells: Annotated[tuple[Cell, ...], Field(min_length=1)]
    """For a search: the ends of its space, which are checked as samples of its points, and not trained."""
    seeds: Annotated[tuple[NonNegativeInt, ...], Field(min_length=1)]
    hypotheses: tuple[Hypothesis, ...] = ()
    reported: tuple[Reported, ...] = ()
    reported_runs: ReportedRuns | None = None
    search: Search | None = None
    final: Final = Final()
    expected_sd: Annotated[float, Field(gt=0, lt=1)] | None = None
    """The standard deviation of the accuracies of a cell's seeds that its author plans with; None if not stated."""
    imported: bool = False
    """Whether its trials were read from logs of other programs, so that their settings are unknown."""
    program: Program | None = None
    """The user's own program that its trials run; None where they train in our own loop."""
    code: Code | None = None
    """The files of the user's own network, optimizer and other parts; None where all are ours or of packages."""

    @model_validator(mode="after")
    def _settings_are_known(self) -> Self:
        if any((cell.own_settings is not None) == (self.imported or self.program is not None) for cell in self.cells):
            raise ValueError("cells: have settings, or none in a study that is imported or of a program")
        if any((cell.parameters is None) == (self.program is not None) for cell in self.cells):
            raise ValueError("cells: have parameters in a study of a program, and only there")
        return self

    @property
    def metric(self) -> str:
        """What verdicts, pages and searches quote."""
        return VAL_ACCURACY if self.program is None else self.program.metric

    def trials(self) -> Iterator[PlannedTrial]:
        """Yield every cell with the first seed, then every cell with the second, so that early results cover all cells.

        A search yields none: its points are not known yet.
        """
        for seed in self.seeds:
            for cell in () if self.search else self.cells:
                yield PlannedTrial(cell, seed)

    @property
    def planned(self) -> int:
        """The number of trials in the end."""
        return (self.search.points if self.search else len(self.cells)) * len(self.seeds)

    def canonical(self) -> str:
        """Return the study as JSON with sorted keys, as the database keeps it and the hash covers it."""
        # Omit what earlier versions did not have, so that their studies keep their hash.
        unused = {
            key
            for key in ("search", "imported", "program", "code", "reported", "reported_runs")
            if not getattr(self, key)
        }
        unused |= {"final"} if self.final == Final() else set()
        unused |= {"expected_sd"} if self.expected_sd is None else set()
        contents = self.model_dump(mode="json", exclude=unused)
        return json.dumps(contents, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @property
    def sha256(self) -> str:
        """The digest of `canonical()`."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()

    @classmethod
    def from_canonical(cls, text: str) -> Self:
        """Parse the text of `canonical()`, with the factors in the order of the study's file."""
        study = cls.model_validate_json(text)
        # The sorted keys of JSON have lost it, and names have kept it.
        order = list(words_in((cell.name for cell in study.cells), study.factors) or study.factors)
        if order == list(study.factors):
            return study
        cells = tuple(cell.model_copy(update={"levels": _ordered(cell.levels, order)}) for cell in study.cells)
        return study.model_copy(update={"factors": _ordered(study.factors, order), "cells": cells})


def _ordered(of: Mapping[str, _Held], first: Sequence[str]) -> dict[str, _Held]:
    """Return the mapping with the keys of `first` in front."""
    return {key: of[key] for key in dict.fromkeys((*first, *of)) if key in of}


def own_metrics(study: Study) -> list[str]:
    """Return the metrics that its settings ask for beside loss and accuracy, on validation and test images."""
    names = (name for cell in study.cells if cell.own_settings for name in cell.own_settings.metrics.names)
    return [f"{part}/{name}" for name in dict.fromkeys(names) for part in ("val", "test")]


def datasets(study: Study) -> set[str]:
    """Return the names of the data sets of its cells; none for an imported study, which does not tell them."""
    return {cell.own_settings.dataset for cell in study.cells if cell.own_settings is not None}


def select(cells: tuple[Cell, ...], selector: Selector) -> list[Cell]:
    """Return the cells that match a selector."""
    if isinstance(selector, str):
        return [cell for cell in cells if cell.name == selector]
    return [
        cell
        for cell in cells
        if all(key in cell.levels and same_level(cell.levels[key], value) for key, value in selector.items())
    ]


def cell_json(cell: Cell) -> str:
    """Return what tells the cells of a study apart: their settings or parameters, or the names of imported ones."""
    known = cell.trained_with
    return json.dumps(cell.name) if known is None else known.model_dump_json()


def check_unique(cells: tuple[Cell, ...], where: str) -> None:
    """Raise SpecError if two cells have the same settings or the same name."""
    seen: dict[str, str] = {}
    names: set[str] = set()
    for cell in cells:
        key = cell_json(cell)
        if key in seen:
            raise SpecError(f"{where}: the cells {seen[key]!r} and {cell.name!r} are duplicates; remove one of them")
        if cell.name in names:
            raise SpecError(f"{where}: two cells are named {cell.name!r}; give one of them another name")
        seen[key] = cell.name
        names.add(cell.name)


def check_hypotheses(study: Study, where: str) -> None:
    """Raise SpecError if a hypothesis refers to a cell, factor or level that the study does not have."""
    for number, hypothesis in enumerate(study.hypotheses, start=1):
        problem = _missing_reference(study, hypothesis)
        if study.program is None:
            problem = problem or unknown_metric(hypothesis.metric, own_metrics(study))
        elif hypothesis.kind == "at_chance":
            problem = "kind: at_chance needs the classes of the images, which a program has for itself; use reaches"
        if problem:
            raise SpecError(f"{where}: hypothesis {number}: {problem}")
        if hypothesis.kind == "at_chance" and not hypothesis.metric.endswith("accuracy"):
            raise SpecError(
                f"{where}: hypothesis {number}: metric = {hypothesis.metric!r}: at_chance is about an accuracy, and a "
                "guess has no other number; for a loss use reaches, with the loss of a guess as the target"
            )
        single = study.program is None and hypothesis.metric in SINGLE
        if single and (moment_of(hypothesis) or hypothesis.kind == "faster"):
            key = "kind" if hypothesis.kind == "faster" else "at"
            remedy = "choose another kind" if hypothesis.kind == "faster" else "leave out at"
            problem = f"{key}: a trial has one value of {hypothesis.metric!r}; {remedy}"
        if problem := problem or ends_before(study.cells, hypothesis) or unmeasured(study.cells, hypothesis):
            raise SpecError(f"{where}: hypothesis {number}: {problem}")
        factor = getattr(hypothesis, "factor", None)
        if factor is not None and len(study.factors[factor]) < 2:
            raise SpecError(
                f"{where}: hypothesis {number}: {factor!r} has one level, so that there is nothing to compare it with; "
                "add another"
            )


def dangling(study: Study) -> str | None:
    """Return what a stored study refers to and does not have; None if nothing is missing."""
    names = Counter(cell.name for cell in study.cells)
    if twice := [name for name, count in names.items() if count > 1]:
        return f"two cells are named {twice[0]!r}"
    if empty := [factor for factor, levels in study.factors.items() if not levels]:
        return f"factors.{empty[0]} has no level"
    for number, hypothesis in enumerate(study.hypotheses, start=1):
        if problem := _missing_reference(study, hypothesis):
            return f"hypothesis {number}: {problem}"
    if lost := [fact.cell for fact in study.reported if fact.cell not in names]:
        return f"reported: there is no cell {lost[0]!r}"
    runs = study.reported_runs.runs if study.reported_runs else {}
    if lost := [cell for cell in runs if cell not in names]:
        return f"reported_runs: there is no cell {lost[0]!r}"
    return None


def _missing_reference(study: Study, hypothesis: Hypothesis) -> str | None:
    chosen = {key: select(study.cells, selector) for key, selector in selectors(hypothesis).items()}
    for key, selector in selectors(hypothesis).items():
        if not chosen[key]:
            listed = "; ".join(cell.name for cell in study.cells)
            return f"{key} = {shown(selector)} selects no cell; the cells are: {listed}"
    if both := overlap(*chosen.values()):
        return f"a and b both select {both[0].name!r}; let them name different cells"
    factor = getattr(hypothesis, "factor", None)
    if factor is not None and factor not in study.factors:
        return f"{factor!r} is no factor; the factors are: {', '.join(study.factors) or 'none'}"
    if hypothesis.kind == "best" and not any(same_level(hypothesis.level, x) for x in study.factors[hypothesis.factor]):
        return f"{shown(hypothesis.level)} is no level of {hypothesis.factor}"
    return None


def ends_before(cells: tuple[Cell, ...], hypothesis: Hypothesis) -> str | None:
    """Say which cell ends before the moment that the hypothesis names; None if none does, as far as settings tell."""
    at = moment_of(hypothesis)
    if at is None:
        return None
    problems = [beyond_budget(at, cell.settings, cell.name) for cell in _compared(cells, hypothesis)]
    return next(filter(None, problems), None)


def unmeasured(cells: tuple[Cell, ...], hypothesis: Hypothesis) -> str | None:
    """Say which cell never has the metric of the hypothesis; None if all have it, as far as settings tell."""
    problems = [never_measured(hypothesis.metric, cell.settings, cell.name) for cell in _compared(cells, hypothesis)]
    return next(filter(None, problems), None)


def _compared(cells: tuple[Cell, ...], hypothesis: Hypothesis) -> list[Cell]:
    """Return the cells that a hypothesis is about, as far as their settings are known."""
    chosen = [select(cells, selector) for selector in selectors(hypothesis).values()] or [list(cells)]
    return [cell for side in chosen for cell in side if cell.own_settings is not None]


def overlap(a: Sequence[Cell] = (), b: Sequence[Cell] = ()) -> list[Cell]:
    """Return the cells on both sides of a comparison."""
    names = {cell.name for cell in b}
    return [cell for cell in a if cell.name in names]


def check_trial_count(trials: int, where: str) -> None:
    """Raise SpecError for more trials than a study may have."""
    if trials > MOST_TRIALS:
        raise SpecError(f"{where}: that is {trials:,} trials or more; a study has at most {MOST_TRIALS:,}")
