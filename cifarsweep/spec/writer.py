"""Writes a study as TOML, with every setting, so that it can be created again."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

import tomli_w

from cifarsweep.spec.cell_names import is_named_as_before
from cifarsweep.spec.hypothesis import Hypothesis
from cifarsweep.spec.levels import cell_name, crossed
from cifarsweep.spec.own import CODE
from cifarsweep.spec.program import Program
from cifarsweep.spec.search_space import Search
from cifarsweep.spec.settings import NONE, OPTIONAL_KEYS, Validation
from cifarsweep.spec.study import Cell, Study
from cifarsweep.spec.types import Value


def study_toml(study: Study) -> str:
    """Return the study as a file of TOML 1.0 (https://toml.io/en/v1.0.0).

    Reading it gives a study of the same hash if crossed cells come before the arms, as in every study file, and have
    the names of this version.
    """
    if study.search is not None:
        return "\n".join([*_head(study), *_program(study.program), *_search(study.search, study.program)]) + "\n"
    is_crossed = _is_crossed(study)
    by_levels = {_key(cell.levels, study.factors): cell for cell in study.cells if is_crossed(cell)}
    arms = [cell for cell in study.cells if not is_crossed(cell)]
    base = next(iter(by_levels.values()), study.cells[0])
    lines = [*_head(study), *_program(study.program), "", "[settings]"]
    lines += _pairs((k, v) for k, v in _fixed(study, base, bool(by_levels)).items() if v is not None)
    if study.factors:
        lines += ["", "[factors]", *_pairs(study.factors.items())]
    for levels in crossed(study.factors):
        if _key(levels, study.factors) not in by_levels:
            lines += ["", "[[exclude]]", *_pairs(levels.items())]
    for cell in arms:
        if cell.levels or cell.name != "base":
            given = {key: level for key, level in cell.levels.items() if level is not None or key in OPTIONAL_KEYS}
            lines += ["", "[[arms]]", f"name = {_value(cell.name)}", f"set = {_value(given)}"]
    for hypothesis in study.hypotheses:
        lines += ["", "[[hypotheses]]", *_pairs(hypothesis.model_dump().items(), bare=True)]
    for fact in study.reported:
        lines += ["", "[[reported]]", *_pairs(fact.model_dump(exclude_defaults=True).items(), bare=True)]
    if study.reported_runs:
        lines += ["", "[reported_runs]", *_pairs(study.reported_runs.model_dump(exclude_none=True).items(), bare=True)]
    return "\n".join(lines) + "\n"


def hypothesis_toml(hypothesis: Hypothesis, notes: Mapping[str, str] = MappingProxyType({})) -> str:
    """Return a hypothesis as a table of a study's file, with notes behind some of its keys."""
    lines = ["[[hypotheses]]"]
    for key, value in hypothesis.model_dump(exclude_defaults=True).items():
        note = f"  # {notes[key]}" if key in notes else ""
        lines.append(f"{key} = {_value(value)}{note}")
    return "\n".join(lines) + "\n"


def _head(study: Study) -> list[str]:
    lines = [f"{key} = {_value(getattr(study, key))}" for key in ("name", "question", "source", "cost")]
    if study.expected_sd is not None:
        lines.append(f"expected_sd = {_value(study.expected_sd)}")
    if study.code is not None:
        lines.append(f"code = {_value({'files': [file.path for file in study.code.files]})}")
    # Said in any case: what a file leaves out has a default that depends on its settings.
    return [*lines, f"seeds = {_value(study.seeds)}", f"final = {_value(study.final.model_dump())}"]


def _program(program: Program | None) -> list[str]:
    """Return the table of a program; none without one. Files stand by their paths, whatever patterns matched them."""
    if program is None:
        return []
    described = program.model_dump(exclude={"command", "files"}, exclude_defaults=True)
    files = [glob.escape(file.path) for file in program.files]
    known = {"command": program.command, "files": files, **described}
    return ["", "[program]", *_pairs(known.items(), bare=True)]


def _search(search: Search, program: Program | None) -> list[str]:
    described = search.model_dump(exclude={"space", "fixed"})
    fixed = {key: value for key, value in search.fixed.items() if program or not _is_filled_in(key)}
    settings = fixed if program else _validation(search) | fixed
    lines = ["", "[settings]", *_pairs(settings.items()), "", "[search]", *_pairs(described.items(), bare=True)]
    space = {key: each.model_dump(exclude_defaults=True) for key, each in search.space.items()}
    return [*lines, "", "[search.space]", *_pairs(space.items())]


def _validation(search: Search) -> dict[str, Value]:
    """Return the defaults of `Validation` that a search leaves out, as a file that leaves them out means others."""
    given = {*search.fixed, *search.space}
    if "validation.split" not in given:
        return {"validation.split": Validation().split}
    unused = search.fixed.get("validation.split") == "test"
    return {} if unused or "validation.fraction" in given else {"validation.fraction": Validation().fraction}


def _is_crossed(study: Study) -> Callable[[Cell], bool]:
    """Return what tells whether a cell crosses factors: its name then consists of its levels."""
    keys, as_before = list(study.factors), is_named_as_before(study)

    def is_crossed(cell: Cell) -> bool:
        # An arm whose model is of another family lacks some of the factors.
        has_all = bool(keys) and cell.levels.keys() >= study.factors.keys()
        return has_all and cell.name == cell_name(cell.levels, keys, as_before=as_before)

    return is_crossed


def _fixed(study: Study, base: Cell, has_crossed: bool) -> dict[str, Value]:
    """Return the settings that no factor sets; those that only arms set have the value of the crossed cells."""
    varied = set(study.factors) if has_crossed else set().union(*(cell.levels for cell in study.cells))
    # A setting that another family of models lacks is not set for all: it is a default, or an arm sets it.
    common = set(base.flat).intersection(*(cell.flat for cell in study.cells))
    fixed = {key: value for key, value in base.flat.items() if key in common - varied}
    return {key: value for key, value in fixed.items() if study.program or not _is_filled_in(key)}


def _is_filled_in(key: str) -> bool:
    """Whether `create` fills in the setting: a file must not give it."""
    return key.rpartition(".")[2] == CODE


def _key(levels: Mapping[str, Value], factors: Iterable[str]) -> str:
    return repr([levels.get(key) for key in factors])


def _pairs(items: Iterable[tuple[str, Any]], *, bare: bool = False) -> list[str]:
    return [f"{key if bare else _value(key)} = {_value(value)}" for key, value in items]


def _value(value: Any) -> str:
    if value is None:
        return _value(NONE)
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_value(key)} = {_value(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    return tomli_w.dumps({"": value}).removeprefix('"" = ').removesuffix("\n")
