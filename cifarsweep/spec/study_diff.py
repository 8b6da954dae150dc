"""Compares two studies, and decides which differences `extend` may store."""

from __future__ import annotations

import difflib
import json

from cifarsweep.errors import StudyExists
from cifarsweep.spec.program import Program
from cifarsweep.spec.program_reader import changed_files
from cifarsweep.spec.search_space import Search
from cifarsweep.spec.settings import flatten
from cifarsweep.spec.study import Study, cell_json


def difference(old: Study, new: Study) -> str:
    """Return a unified diff of two studies, empty if they are equal."""
    return "\n".join(difflib.unified_diff(_pretty(old), _pretty(new), "in the database", "now", lineterm="", n=1))


def _pretty(study: Study) -> list[str]:
    """Return one line per fact for a diff; cells by name and settings."""
    lines = [f"question = {study.question!r}", f"source = {study.source!r}", f"cost = {study.cost!r}"]
    lines += [f"factors.{key} = {json.dumps(levels)}" for key, levels in study.factors.items()]
    lines += [f"seeds = {list(study.seeds)}", f"final = {study.final.model_dump_json()}"]
    lines += [f"expected_sd = {study.expected_sd}"] if study.expected_sd is not None else []
    lines += [f"hypothesis = {h.model_dump_json()}" for h in study.hypotheses]
    lines += [f"reported = {fact.model_dump_json(exclude_none=True)}" for fact in study.reported]
    lines += [f"code {file.path} = {file.sha256}" for file in (study.code.files if study.code else ())]
    if study.reported_runs:
        lines.append(f"reported_runs = {study.reported_runs.model_dump_json(exclude_none=True)}")
    lines += _program_lines(study.program) if study.program else []
    if study.search:
        parts = study.search.model_dump().items()
        return lines + [f"search.{key} = {json.dumps(value, sort_keys=True)}" for key, value in parts]
    for cell in study.cells:
        lines.append(f"cell {cell.name!r}" + (" with unknown settings" if cell.trained_with is None else ""))
        known = cell.own_settings.model_dump() if cell.own_settings else dict(sorted((cell.parameters or {}).items()))
        lines += [f"  {key} = {json.dumps(value)}" for key, value in flatten(known).items()]
    return lines


def _program_lines(program: Program) -> list[str]:
    described = program.model_dump(exclude={"files"}, exclude_defaults=True)
    lines = [f"program.{key} = {json.dumps(value)}" for key, value in described.items()]
    return lines + [f"program.files: {file.path} {file.sha256}" for file in program.files]


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
    lost = [cell.name for cell in old.cells if cell_json(cell) not in kept_cells]
    lost += [f"seed {seed}" for seed in old.seeds if seed not in new.seeds]
    changed = [key for key in ("question", "source", "hypotheses", "final") if getattr(old, key) != getattr(new, key)]
    changed += ["program"] if (old.program is None) != (new.program is None) else []
    changed += _search_changes(old.search, new.search)
    if lost or changed:
        raise StudyExists(
            f"study {new.name!r} can't be extended: {', '.join(changed + lost)} changed or went away, and --extend "
            "only adds cells, seeds, trials of a search or what others reported. Create it under another name with "
            "--as NAME.\n"
            f"{difference(old, new)}"
        )


def changed_code(old: Study, new: Study) -> list[str]:
    """Return the files of the user's code that are not the same in both."""
    first, second = ({file.path: file.sha256 for file in (each.code.files if each.code else ())} for each in (old, new))
    return sorted(path for path in first.keys() | second.keys() if first.get(path) != second.get(path))


def _search_changes(old: Search | None, new: Search | None) -> list[str]:
    if old is None or new is None:
        return [] if old is new else ["search"]
    same = old.model_copy(update={"n_trials": new.n_trials}) == new
    return ([] if same else ["search"]) + (["search.n_trials"] if new.n_trials < old.n_trials else [])
