"""Compares two studies, and decides which differences `extend` may store."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from cifarsweep.errors import StudyExists
from cifarsweep.spec.cell_names import named_as
from cifarsweep.spec.final import default_final
from cifarsweep.spec.frozen import EVERY_FIELD
from cifarsweep.spec.program_reader import changed_files
from cifarsweep.spec.search_space import Search
from cifarsweep.spec.settings import flatten
from cifarsweep.spec.study import Cell, Study, cell_json

#: What stands for a value that is not there, and how many cells are named.
_NONE, _SHOWN = "none", 6


def as_stored(spec: Study, old: Study) -> Study:
    """Return `spec` with what `old` has of an earlier version, where `spec` has the defaults for new studies.

    That is the words in names of cells, and what counts as a final value. Raises SpecError as `named_as` does.
    """
    spec = named_as(spec, old)
    # An imported study and one of a program have no default that settings decide.
    known = [one.own_settings for one in spec.cells if one.own_settings is not None]
    is_default = known and not spec.search and spec.final == default_final(known)
    return spec.model_copy(update={"final": old.final}) if is_default else spec


def difference(old: Study, new: Study) -> str:
    """Return a line for each thing that differs, `KEY: BEFORE -> NOW`; empty if the studies are equal.

    A setting that differs in the same way in several cells has one line, which says in how many.
    """
    lines = _changed(_facts(old), _facts(new))
    for what, of in (("hypothesis", _hypotheses), ("reported", _reported)):
        lines += _entries(what, of(old), of(new))
    return "\n".join(lines + ([] if old.search and new.search else _cells(old, new)))


def _changed(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    keys = [key for key in dict.fromkeys((*old, *new)) if old.get(key) != new.get(key)]
    return [f"{key}: {old.get(key, _NONE)} -> {new.get(key, _NONE)}" for key in keys]


def _facts(study: Study) -> dict[str, str]:
    """Return what is of the study as a whole, as texts by key."""
    facts: dict[str, Any] = {"question": study.question, "source": study.source, "cost": study.cost}
    facts |= {f"factors.{key}": levels for key, levels in study.factors.items()}
    facts |= {"seeds": study.seeds} | _flat("final", study.final)
    facts |= {"expected_sd": study.expected_sd} if study.expected_sd is not None else {}
    facts |= _flat("program", study.program, exclude={"files"}) | _flat("search", study.search)
    facts |= _flat("reported_runs", study.reported_runs)
    facts |= {f"code {file.path}": file.sha256 for file in (study.code.files if study.code else ())}
    facts |= {f"program.files: {file.path}": file.sha256 for file in (study.program.files if study.program else ())}
    return {key: json.dumps(value, ensure_ascii=False) for key, value in facts.items()}


def _flat(name: str, part: BaseModel | None, exclude: set[str] | None = None) -> dict[str, Any]:
    if part is None:
        return {}
    found = flatten(part.model_dump(mode="json", exclude=exclude, exclude_none=True, context=EVERY_FIELD))
    return {f"{name}.{key}": value for key, value in found.items()}


def _hypotheses(study: Study) -> list[dict[str, Any]]:
    return [one.model_dump(mode="json", context=EVERY_FIELD) for one in study.hypotheses]


def _reported(study: Study) -> list[dict[str, Any]]:
    return [one.model_dump(mode="json", exclude_none=True) for one in study.reported]


def _entries(what: str, old: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[str]:
    """Return what differs in a list: by key where it has as many entries as before, else entries that went or came."""
    if len(old) != len(new):
        gone, came = ([one for one in a if one not in b] for a, b in ((old, new), (new, old)))
        texts = [f"{what} gone: {json.dumps(one, ensure_ascii=False)}" for one in gone]
        return texts + [f"{what} new: {json.dumps(one, ensure_ascii=False)}" for one in came]
    lines = []
    for number, pair in enumerate(zip(old, new, strict=True), 1):
        before, now = ({key: json.dumps(value) for key, value in flatten(one).items()} for one in pair)
        lines += [f"{what} {number}: {line}" for line in _changed(before, now)]
    return lines


def _cells(old: Study, new: Study) -> list[str]:
    """Return which cells went or came, and of the others which settings differ, with the cells where they do."""
    before, now = ({cell.name: cell for cell in study.cells} for study in (old, new))
    both = [name for name in before if name in now]
    where: dict[str, list[str]] = {}
    for name in both:
        for line in _changed(_settings(before[name]), _settings(now[name])):
            where.setdefault(line, []).append(name)
    lines = [] if both == [name for name in now if name in before] else ["the cells come in another order"]
    for line, names in where.items():
        of = f"all {len(both)} cells" if len(names) == len(both) else f"{len(names)} of {len(both)} cells"
        lines.append(f"{line} in {of}" + (f": {_named(names)}" if len(names) < len(both) else ""))
    for what, names in (("gone", [n for n in before if n not in now]), ("new", [n for n in now if n not in before])):
        lines += [f"{len(names)} cell{'s' * (len(names) > 1)} {what}: {_named(names)}"] if names else []
    return lines


def _settings(cell: Cell) -> dict[str, str]:
    own = cell.own_settings
    known = dict(cell.parameters or {}) if own is None else own.model_dump(mode="json", context=EVERY_FIELD)
    return {key: json.dumps(value, ensure_ascii=False) for key, value in flatten(known).items()}


def _named(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:_SHOWN])
    return shown + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def check_extends(old: Study, new: Study, made_on: str = "") -> None:
    """Raise StudyExists unless `new` is `old` with more cells, seeds or trials to search, and nothing else changed.

    What others reported may change too: it is neither trained nor tested, and may be found after the first results.
    `made_on` is the date of `old`.
    """
    if old.imported:
        raise StudyExists(f"study {old.name!r} was imported: its trials were trained elsewhere, so none can be added")
    if old.program is not None and new.program is not None and (differ := changed_files(old.program, new.program)):
        raise StudyExists(
            f"study {new.name!r} can't be extended: its program is not the one that it was created with{made_on} "
            f"({', '.join(differ)}), and trials of two programs can't be compared. Put it back, or create the study "
            "under another name with --as NAME."
        )
    if code := changed_code(old, new):
        raise StudyExists(
            f"study {new.name!r} can't be extended: its code is not the one that it was created with{made_on} "
            f"({', '.join(code)}), and trials of two codes can't be compared. Put it back, or create the study under "
            "another name with --as NAME."
        )
    kept_cells = {cell_json(cell) for cell in new.cells}
    lost = _lost_cells([cell.name for cell in old.cells if cell_json(cell) not in kept_cells], new)
    lost += [f"seed {seed}" for seed in old.seeds if seed not in new.seeds]
    changed = [key for key in ("question", "source", "hypotheses", "final") if getattr(old, key) != getattr(new, key)]
    changed += ["program"] if (old.program is None) != (new.program is None) else []
    changed += _search_changes(old.search, new.search)
    if lost or changed:
        raise StudyExists(
            f"study {new.name!r} can't be extended: {', '.join(changed + lost)} changed or went away, and --extend "
            "only adds cells, seeds, trials of a search or what others reported. Create it under another name with "
            "--as NAME. What was stored -> what is asked for now:\n"
            f"{difference(old, new)}"
        )


def _lost_cells(lost: list[str], new: Study) -> list[str]:
    """Say which cells went away, and how many are there with other settings."""
    there = {cell.name for cell in new.cells}
    gone, others = ([name for name in lost if (name in there) is known] for known in (False, True))
    return ([f"cells {_named(gone)}"] if gone else []) + ([f"settings of {len(others)} cells"] if others else [])


def changed_code(old: Study, new: Study) -> list[str]:
    """Return the files of the user's code that are not the same in both."""
    first, second = ({file.path: file.sha256 for file in (each.code.files if each.code else ())} for each in (old, new))
    return sorted(path for path in first.keys() | second.keys() if first.get(path) != second.get(path))


def _search_changes(old: Search | None, new: Search | None) -> list[str]:
    if old is None or new is None:
        return [] if old is new else ["search"]
    same = old.model_copy(update={"n_trials": new.n_trials}) == new
    return ([] if same else ["search"]) + (["search.n_trials"] if new.n_trials < old.n_trials else [])
