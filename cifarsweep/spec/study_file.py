"""The tables of a study file, and what is read in the same way whatever its trials run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Annotated, Any, TypeGuard

from pydantic import Field

from cifarsweep.errors import SpecError
from cifarsweep.spec.final import Final
from cifarsweep.spec.hypothesis import Hypothesis
from cifarsweep.spec.levels import cell_name, crossed, same_level
from cifarsweep.spec.overrides import frozen, parse_none
from cifarsweep.spec.own_reader import CodeFiles, own_tables
from cifarsweep.spec.reported import Reported
from cifarsweep.spec.reported_runs import ReportedRuns
from cifarsweep.spec.settings import Frozen, flatten
from cifarsweep.spec.shown import shown
from cifarsweep.spec.study import check_trial_count
from cifarsweep.spec.types import Value
from cifarsweep.spec.validation import Table, check_keys, nearest

#: Returns what a file means by a value of a key.
Level = Callable[[str, Any], Any]

#: Default number of seeds; that of a search is 1.
_SEEDS = 5


class Arm(Frozen):
    """A cell by name."""

    name: Annotated[str, Field(min_length=1, max_length=120, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]
    set: dict[str, Any]


class StudyFile(Frozen):
    """The top level of a study file."""

    name: str
    question: str
    source: str = ""
    cost: str = ""
    settings: dict[str, Any] = {}
    factors: dict[str, Any] = {}
    arms: tuple[Arm, ...] = ()
    exclude: tuple[dict[str, Any], ...] = ()
    seeds: Any = None
    hypotheses: tuple[Hypothesis, ...] = ()
    reported: tuple[Reported, ...] = ()
    reported_runs: ReportedRuns | None = None
    search: dict[str, Any] | None = None
    program: dict[str, Any] | None = None
    final: Final | None = None
    expected_sd: float | None = None
    code: CodeFiles | None = None

    @property
    def own(self) -> frozenset[str]:
        """The tables of settings with parts of the user's own."""
        space = (self.search or {}).get("space")
        chosen = (
            {key.removesuffix(".choices"): each for key, each in flatten(space).items()} if _is_table(space) else {}
        )
        return own_tables([self.settings, self.factors, chosen, *(arm.set for arm in self.arms)])

    def check_settings(self, keys: Iterable[str], where: str) -> None:
        """Raise SpecError for a key that is no setting, nor a keyword argument of an own part."""
        check_keys(keys, where, self.own)


def _is_table(value: object) -> TypeGuard[Table]:
    return isinstance(value, dict)


def seeds_of(file: StudyFile, where: str) -> tuple[int, ...]:
    """Return the seeds: 0..n-1 for a count n, or those of a list. Raises SpecError."""
    given = file.seeds if file.seeds is not None else 1 if file.search is not None else _SEEDS
    if isinstance(given, int) and not isinstance(given, bool) and given >= 1:
        check_trial_count(given, where)
        return tuple(range(given))
    listed = given if isinstance(given, list) else []
    whole = [seed for seed in listed if isinstance(seed, int) and not isinstance(seed, bool) and 0 <= seed < 2**32]
    if not listed or len(whole) != len(listed) or len(set(listed)) != len(listed):
        raise SpecError(
            f"{where}: seeds: must be a count of at least 1, or a list of different whole numbers "
            f"from 0 to 2^32 - 1, not {shown(given)}"
        )
    return tuple(whole)


def check_search_alone(file: StudyFile, where: str) -> None:
    """Raise SpecError for a search beside what compares."""
    for table in ("factors", "arms", "exclude", "hypotheses", "reported", "reported_runs"):
        if getattr(file, table):
            raise SpecError(
                f"{where}: {table}: a study either searches or compares; leave out search, or {table}. What a search "
                "finds is tested in a study with arms and seeds of its own"
            )


def factors_of(
    file: StudyFile, where: str, check: Callable[[Iterable[str], str], None] = check_keys, level: Level = parse_none
) -> dict[str, tuple[Value, ...]]:
    """Return the levels of every factor by dotted key. Raises SpecError, also where `check` does so for the keys."""
    factors = flatten(file.factors)
    check(factors, f"{where}: factors")
    size = 1
    for key, levels in factors.items():
        if not isinstance(levels, list | tuple):
            raise SpecError(f"{where}: factors.{key}: must be a list of levels, not {shown(levels)}")
        if not levels:
            raise SpecError(f"{where}: factors.{key}: is empty; list at least one level or remove the factor")
        size *= len(levels)
        check_trial_count(size, where)
    return {key: tuple(frozen(level(key, each)) for each in levels) for key, levels in factors.items()}


def planned_cells(
    file: StudyFile,
    factors: Mapping[str, tuple[Value, ...]],
    where: str,
    *,
    level: Level,
    arm_levels: Callable[[Arm], Table],
) -> list[tuple[str, Table]]:
    """Return the name and levels of every cell: those that cross factors, then the arms. Raises SpecError."""
    rules = _exclusions(file, factors, where, level)
    kept = [
        levels
        for levels in crossed(factors)
        if not any(all(same_level(levels.get(k), v) for k, v in rule.items()) for rule in rules)
    ]
    arms = [(arm.name, arm_levels(arm)) for arm in file.arms]
    if not kept and not arms:
        if factors:
            raise SpecError(f"{where}: exclude: leaves no cell of the factors")
        kept = [{}]
    names = _crossed_names(kept, list(factors), {name for name, _ in arms}, where)
    return [*zip(names, map(dict, kept), strict=True), *arms]


def _crossed_names(crossed: list[dict[str, Value]], keys: list[str], arms: Collection[str], where: str) -> list[str]:
    """Return the names of cells that cross factors: those of earlier versions if an arm has the name of one.

    So its file makes the study that it made. Raises SpecError for an arm whose name was that of another cell.
    """
    names = [cell_name(levels, keys) for levels in crossed]
    if not arms:
        return names
    before = [cell_name(levels, keys, as_before=True) for levels in crossed]
    if any(name in arms for name in names):
        return before
    for name, earlier in zip(names, before, strict=True):
        if earlier in arms:
            raise SpecError(f"{where}: arm {earlier!r}: earlier versions call the cell {name!r} so; rename the arm")
    return names


def _exclusions(file: StudyFile, factors: Mapping[str, tuple[Value, ...]], where: str, parse: Level) -> list[Table]:
    rules = [{key: parse(key, level) for key, level in hashable(flatten(rule)).items()} for rule in file.exclude]
    for number, rule in enumerate(rules, start=1):
        for key, level in rule.items():
            if key not in factors:
                raise SpecError(
                    f"{where}: exclude {number}: {key!r} is no factor.{nearest(key, factors)} "
                    f"The factors are: {', '.join(factors) or 'none'}."
                )
            if not any(same_level(level, one) for one in factors[key]):
                raise SpecError(
                    f"{where}: exclude {number}: {shown(level)} is no level of {key}: {shown(factors[key])}"
                )
        if not rule:
            raise SpecError(f"{where}: exclude {number}: is empty; name at least one factor and its level")
    return rules


def hashable(levels: Table) -> dict[str, Value]:
    """Return the levels with tuples in the place of lists."""
    return {key: frozen(level) for key, level in levels.items()}
