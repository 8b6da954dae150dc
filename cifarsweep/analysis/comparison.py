"""Two studies, or one study in two databases, side by side: their cells matched, the differences with intervals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cifarsweep.analysis.confounds import devices
from cifarsweep.analysis.records import ReportStudy, ReportTrial
from cifarsweep.analysis.results import CellResult, cell_results
from cifarsweep.spec.metrics import VAL_ACCURACY
from cifarsweep.spec.settings import flat_settings
from cifarsweep.spec.study import Cell, level_text
from cifarsweep.spec.types import DATA_VERSION
from cifarsweep.stats.estimate import FEWEST_SEEDS, Estimate, difference
from cifarsweep.stats.multiplicity import ERROR_RATE, holm

#: A setting that one side does not have.
ABSENT = "not there"


@dataclass(frozen=True, slots=True)
class Match:
    """One cell that both studies have."""

    a: CellResult
    b: CellResult
    estimate: Estimate | None
    """Accuracy of b minus that of a; None where a side has no result, or one seed that the other does not have."""
    corrected: float
    """p of no difference, two-sided, corrected by Holm over all matched cells."""

    @property
    def finding(self) -> str:
        """`higher` or `lower` in b, `no difference shown`, or what is missing."""
        if not self.a.accuracy or not self.b.accuracy:
            return "no result yet"
        if self.estimate is None or self.estimate.n < FEWEST_SEEDS:
            return "too few seeds"
        if self.corrected > ERROR_RATE:
            return "no difference shown"
        return "higher" if self.estimate.value > 0 else "lower"


@dataclass(frozen=True, slots=True)
class Unlike:
    """Something that the two sides differ in, as texts."""

    what: str
    a: str
    b: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """All that a page of a comparison says. It is about validation accuracy at the end of training."""

    a: ReportStudy
    b: ReportStudy
    matches: tuple[Match, ...]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    unlike: tuple[Unlike, ...]
    """Settings, devices and versions that are one thing in a and another in b."""
    same_devices: bool
    """Whether times can be compared."""


def compare(a: ReportStudy, b: ReportStudy) -> Comparison:
    """Match the cells of `a` with those of `b`: by their settings, else by levels, else by name.

    Values of the same seed are paired; where the sides share no seed, Welch's test is used.
    """
    left, right = cell_results(a), cell_results(b)
    pairs = _pairs(left, right)
    found = [_difference(one, other) for one, other in pairs]
    corrected = holm([_p(estimate) for estimate in found])
    matched = [{one.cell.name for one, _ in pairs}, {other.cell.name for _, other in pairs}]
    sides = devices(_done(left)), devices(_done(right))
    return Comparison(
        a=a,
        b=b,
        matches=tuple(Match(*pair, estimate, p) for pair, estimate, p in zip(pairs, found, corrected, strict=True)),
        only_a=tuple(one.cell.name for one in left if one.cell.name not in matched[0]),
        only_b=tuple(one.cell.name for one in right if one.cell.name not in matched[1]),
        unlike=(*_settings(pairs), *_surroundings(left, right)),
        same_devices=sides[0] == sides[1] and len(sides[0]) == 1,
    )


def _pairs(left: Sequence[CellResult], right: Sequence[CellResult]) -> list[tuple[CellResult, CellResult]]:
    """Each cell of the left with at most one of the right; the surest ways of matching go first."""
    found: dict[str, CellResult] = {}
    for key in (_by_settings, _by_levels, _by_name):
        taken = {other.cell.name for other in found.values()}
        free = {key(other.cell): other for other in reversed(right) if other.cell.name not in taken}
        for one in left:
            if one.cell.name not in found and (match := free.pop(key(one.cell), None)):
                found[one.cell.name] = match
    return [(one, found[one.cell.name]) for one in left if one.cell.name in found]


def _by_settings(cell: Cell) -> str:
    # Those of imported cells are not known, so that they match none.
    return cell.own_settings.model_dump_json() if cell.own_settings is not None else f"imported {cell.name}"


def _by_levels(cell: Cell) -> str:
    # A study without factors has a cell without levels: that it has no levels either matches nothing.
    return repr(sorted((key, repr(level)) for key, level in cell.levels.items())) if cell.levels else cell.name


def _by_name(cell: Cell) -> str:
    return cell.name


def _difference(a: CellResult, b: CellResult) -> Estimate | None:
    return difference(_accuracies(b), _accuracies(a))


def _accuracies(result: CellResult) -> dict[int, float]:
    return {trial.seed: value for trial in result.trials if (value := trial.last(VAL_ACCURACY)) is not None}


def _p(estimate: Estimate | None) -> float:
    """Two-sided, of no difference; 1 where there are too few seeds to test it."""
    if estimate is None or estimate.n < FEWEST_SEEDS:
        return 1.0
    return min(1.0, 2 * min(estimate.above(0.0), estimate.above(0.0, -1)))


def _settings(pairs: Sequence[tuple[CellResult, CellResult]]) -> Iterator[Unlike]:
    """Each setting that differs in any matched pair, with the values that it has there; of imports none is known."""
    known = [(one.cell.own_settings, other.cell.own_settings) for one, other in pairs]
    cells = [(flat_settings(a), flat_settings(b)) for a, b in known if a is not None and b is not None]
    for key in dict.fromkeys(key for pair in cells for settings in pair for key in settings):
        texts = [tuple(level_text(side[key]) if key in side else ABSENT for side in pair) for pair in cells]
        if unlike := [pair for pair in texts if pair[0] != pair[1]]:
            yield Unlike(key, *(", ".join(dict.fromkeys(side)) for side in zip(*unlike, strict=True)))


def _surroundings(left: Sequence[CellResult], right: Sequence[CellResult]) -> Iterator[Unlike]:
    a, b = _found(left), _found(right)
    for what in dict.fromkeys([*a, *b]):
        texts = [", ".join(sorted(side.get(what, ()))) or "none" for side in (a, b)]
        if texts[0] != texts[1] and a and b:
            yield Unlike(what, *texts)


def _found(results: Sequence[CellResult]) -> Mapping[str, set[str]]:
    """Devices and versions of the trials that are done."""
    trials = _done(results)
    found: dict[str, set[str]] = {"device": devices(trials)} if trials else {}
    for trial in trials:
        for key, version in (item for versions in trial.environments for item in versions.items()):
            name = f"images of {key.removeprefix(DATA_VERSION)}" if key.startswith(DATA_VERSION) else key
            found.setdefault(name, set()).add(version)
    return found


def _done(results: Sequence[CellResult]) -> list[ReportTrial]:
    return [trial for result in results for trial in result.trials if trial.done]
