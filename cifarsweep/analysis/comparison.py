"""Compares two studies, or one study in two databases: matches their cells and tests the differences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cifarsweep.analysis.confounds import devices
from cifarsweep.analysis.floors import accuracy_floor
from cifarsweep.analysis.new_images import images_known, of_difference
from cifarsweep.analysis.outcomes import compared_runs
from cifarsweep.analysis.records import ReportStudy, ReportTrial
from cifarsweep.analysis.results import CellResult, cell_results
from cifarsweep.analysis.reuse import same_training
from cifarsweep.errors import SpecError
from cifarsweep.spec.levels import level_text
from cifarsweep.spec.metrics import is_share
from cifarsweep.spec.study import Cell
from cifarsweep.spec.types import DATA_VERSION
from cifarsweep.stats import Interval
from cifarsweep.stats.estimate import FEWEST_SEEDS, Estimate, Sample, difference
from cifarsweep.stats.hits import NewImages
from cifarsweep.stats.multiplicity import ERROR_RATE, holm

#: In the place of a setting that one side does not have.
ABSENT = "not there"


@dataclass(frozen=True, slots=True)
class Match:
    """A cell that both studies have."""

    a: CellResult
    b: CellResult
    estimate: Estimate | None
    """Accuracy of b minus that of a; None if a side has no result."""
    corrected: float
    """The two-sided p of no difference, corrected by Holm over all matched cells."""
    new_images: NewImages | None
    """The difference for new images too; None unless all runs kept their hits, on images of one digest."""
    copies: int = 0
    """Seeds of which both sides are one training, taken over bit for bit: they are equal by construction."""

    @property
    def interval(self) -> Interval | None:
        """The 95 % interval of the difference; None with fewer seeds than a test takes."""
        if self.estimate is None or self.estimate.n < FEWEST_SEEDS:
            return None
        found = self.estimate.interval()
        return found.within(-1.0, 1.0) if found and is_share(self.a.metric) else found

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
class Difference:
    """Something that the two sides differ in, as texts."""

    what: str
    a: str
    b: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two studies compared by what both are about, at the end of training."""

    a: ReportStudy
    b: ReportStudy
    matches: tuple[Match, ...]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    differences: tuple[Difference, ...]
    """Settings, devices and versions that differ."""
    same_devices: bool
    """Whether all trials ran on one model of device, so that times compare."""


def compare(a: ReportStudy, b: ReportStudy) -> Comparison:
    """Match the cells of `a` with those of `b`: by settings, else by levels, else by name.

    Accuracies, or what else both are about, are compared by Welch's test. Raises SpecError for two different metrics.
    """
    if a.study.metric != b.study.metric:
        raise SpecError(
            f"{a.study.name!r} is about {a.study.metric} and {b.study.name!r} about {b.study.metric}: studies of two "
            "metrics can't be compared"
        )
    left, right = cell_results(a), cell_results(b)
    pairs = _pairs(left, right)
    estimates = [difference([_accuracies(in_b, b)], [_accuracies(in_a, a)]) for in_a, in_b in pairs]
    corrected = holm([_p(estimate) for estimate in estimates])
    matched_a, matched_b = {cell.cell.name for cell, _ in pairs}, {cell.cell.name for _, cell in pairs}
    sides = devices(_done(left)), devices(_done(right))
    return Comparison(
        a=a,
        b=b,
        matches=tuple(
            Match(in_a, in_b, estimate, p, _new_images(estimate, (in_b, b), (in_a, a)), _copies((in_a, a), (in_b, b)))
            for (in_a, in_b), estimate, p in zip(pairs, estimates, corrected, strict=True)
        ),
        only_a=tuple(result.cell.name for result in left if result.cell.name not in matched_a),
        only_b=tuple(result.cell.name for result in right if result.cell.name not in matched_b),
        differences=(*_settings(pairs), *_environment(left, right)),
        same_devices=sides[0] == sides[1] and len(sides[0]) == 1,
    )


def _pairs(left: Sequence[CellResult], right: Sequence[CellResult]) -> list[tuple[CellResult, CellResult]]:
    """Match each cell of the left with at most one of the right; the surest way of matching goes first."""
    matches: dict[str, CellResult] = {}
    for key in (_by_settings, _by_levels, _by_name):
        taken = {match.cell.name for match in matches.values()}
        free = {key(result.cell): result for result in reversed(right) if result.cell.name not in taken}
        for result in left:
            if result.cell.name not in matches and (match := free.pop(key(result.cell), None)):
                matches[result.cell.name] = match
    return [(result, matches[result.cell.name]) for result in left if result.cell.name in matches]


def _by_settings(cell: Cell) -> str:
    # The settings of imported cells are unknown, so that they match none.
    return f"imported {cell.name}" if cell.trained_with is None else cell.trained_with.model_dump_json()


def _by_levels(cell: Cell) -> str:
    # Two cells without levels do not match by having none.
    return repr(sorted((key, repr(level)) for key, level in cell.levels.items())) if cell.levels else cell.name


def _by_name(cell: Cell) -> str:
    return cell.name


def _accuracies(result: CellResult, report: ReportStudy) -> Sample:
    values = [trial.accuracy for trial in compared_runs(result.trials)]
    known = tuple(value for value in values if value is not None)
    return Sample(known, accuracy_floor(result.trials, report) if is_share(result.metric) else 0.0)


def _p(estimate: Estimate | None) -> float:
    """The two-sided p of no difference; 1 with too few seeds."""
    if estimate is None or estimate.n < FEWEST_SEEDS:
        return 1.0
    return min(1.0, 2 * min(estimate.above(0.0), estimate.above(0.0, -1)))


def _new_images(estimate: Estimate | None, *cells: tuple[CellResult, ReportStudy]) -> NewImages | None:
    """For the first cell minus the second one."""
    a, b = ((report, compared_runs(result.trials)) for result, report in cells)
    return of_difference(estimate, [a], [b]) if estimate and images_known(*a) and images_known(*b) else None


def _copies(*cells: tuple[CellResult, ReportStudy]) -> int:
    """How many seeds of two cells are the same training; none of two databases, which know nothing of each other."""
    if len({report.database for _, report in cells}) > 1 or len({report.study.name for _, report in cells}) == 1:
        return 0
    a, b = ({trial.seed: trial for trial in compared_runs(result.trials) if trial.done} for result, _ in cells)
    names = (cells[0][1].study.name, cells[1][1].study.name)
    return sum(same_training(a[seed], b[seed], names) for seed in a.keys() & b.keys())


def _settings(pairs: Sequence[tuple[CellResult, CellResult]]) -> Iterator[Difference]:
    """Settings that differ in any matched pair, with their values there; those of imports are unknown."""
    known = [(in_a.cell, in_b.cell) for in_a, in_b in pairs]
    cells = [(a.flat, b.flat) for a, b in known if a.trained_with is not None and b.trained_with is not None]
    for key in dict.fromkeys(key for pair in cells for settings in pair for key in settings):
        texts = [tuple(level_text(side[key]) if key in side else ABSENT for side in pair) for pair in cells]
        if differing := [pair for pair in texts if pair[0] != pair[1]]:
            yield Difference(key, *(", ".join(dict.fromkeys(side)) for side in zip(*differing, strict=True)))


def _environment(left: Sequence[CellResult], right: Sequence[CellResult]) -> Iterator[Difference]:
    a, b = _versions(left), _versions(right)
    for what in dict.fromkeys([*a, *b]):
        texts = [", ".join(sorted(side.get(what, ()))) or "none" for side in (a, b)]
        if texts[0] != texts[1] and a and b:
            yield Difference(what, *texts)


def _versions(results: Sequence[CellResult]) -> Mapping[str, set[str]]:
    """Devices and versions of the trials that are done."""
    trials = _done(results)
    versions_of: dict[str, set[str]] = {"device": devices(trials)} if trials else {}
    for trial in trials:
        for key, version in (item for versions in trial.environments for item in versions.items()):
            name = f"images of {key.removeprefix(DATA_VERSION)}" if key.startswith(DATA_VERSION) else key
            versions_of.setdefault(name, set()).add(version)
    return versions_of


def _done(results: Sequence[CellResult]) -> list[ReportTrial]:
    return [trial for result in results for trial in result.trials if trial.done]
