"""Reads `[code]` of a study file, and fills in which code the own parts of its settings are of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from cifarsweep.errors import DataError, SpecError
from cifarsweep.spec.code import Code, module_name, names_code, read_code
from cifarsweep.spec.frozen import Frozen
from cifarsweep.spec.own import CODE
from cifarsweep.spec.packages import GROUPS, entry_point, is_installed, package_code
from cifarsweep.spec.settings import flatten
from cifarsweep.spec.validation import Table, nearest

_NAME = "name"


class CodeFiles(Frozen):
    """`[code]` of a study file."""

    files: Annotated[tuple[str, ...], Field(min_length=1)]


def own_tables(settings: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """Return the tables, by dotted key, that any of these settings let be a part of the user's own."""
    found: set[str] = set()
    for flat in map(flatten, map(dict, settings)):
        for key, value in flat.items():
            table, _, last = key.rpartition(".")
            levels = value if isinstance(value, list | tuple) else [value]
            if last == _NAME and table in GROUPS and any(":" in each for each in levels if isinstance(each, str)):
                found.add(table)
    return frozenset(found)


class CodeReader:
    """The code of one study file. Files are read when the first part of them is named."""

    def __init__(self, table: CodeFiles | None, folder: Path, where: str) -> None:
        self._table, self._folder, self._where = table, folder, where
        self._is_used = False

    def after(self, fit: Callable[..., Table]) -> Callable[..., Table]:
        """Return `fit`, which changes settings by dotted key, followed by `filled_in`."""
        return lambda flat, **options: self.filled_in(fit(flat, **options))

    def filled_in(self, flat: Table) -> Table:
        """Return settings by dotted key with the digests of the code of their own parts. Raises SpecError."""
        codes = {
            f"{table}.{CODE}": self._code(table, flat[f"{table}.{_NAME}"])
            for table in GROUPS
            if names_code(flat.get(f"{table}.{_NAME}"))
        }
        if isinstance(measured := flat.get("metrics.own"), list | tuple):
            found = {self._code("metrics", reference) for reference in measured if names_code(reference)}
            codes |= {f"metrics.{CODE}": "; ".join(sorted(found))} if found else {}
        return flat | codes

    def of_search(self, space: Mapping[str, Table]) -> Table:
        """Return the digests of code that all points have, where parts are varied by their names. Raises SpecError."""
        found: Table = {}
        for table in GROUPS:
            choices = space.get(f"{table}.{_NAME}", {}).get("choices")
            names = [each for each in choices if names_code(each)] if isinstance(choices, list) else []
            codes = {self._code(table, name) for name in names}
            if names and (len(codes) > 1 or len(names) < len(choices or ())):
                raise SpecError(
                    f"{self._where}: search.space.{table}.{_NAME}: a search varies parts of your own by name where all "
                    "of them are of one code: of [code], or of one package; compare others as factors or [[arms]]"
                )
            found |= {f"{table}.{CODE}": code for code in codes}
        return found

    def used(self, note: Callable[[str], None]) -> Code | None:
        """Return the files, if a part is of them; `note` gets a sentence where there are files and no part is."""
        if self._table is not None and not self._is_used:
            note(f"no setting names a part of [code] (as {self._example!r}); its files belong to nothing")
        return self._files if self._is_used else None

    @property
    def _example(self) -> str:
        return f"{module_name(self._files.files[0].path)}:NAME" if self._files else "nets:Wide"

    @cached_property
    def _files(self) -> Code | None:
        if self._table is None:
            return None
        try:
            return read_code(self._table.files, self._folder, f"{self._where}: code.files")
        except DataError as error:
            raise SpecError(f"{self._where}: code.files: {error}") from None

    def _code(self, table: str, reference: str) -> str:
        name = reference.partition(":")[0]
        modules = [module_name(file.path) for file in self._files.files] if self._files else []
        if self._files is not None and name in modules:
            self._is_used = True
            return self._files.sha256
        if not is_installed(name):
            missing = f"no file {name}.py under [code] and no installed package {name!r}"
            near = nearest(name, modules)
            raise SpecError(f"{self._where}: {table}.name: {reference!r}: there is {missing}.{near}")
        try:
            entry_point(table, reference)
            return package_code(name)
        except DataError as error:
            raise SpecError(f"{self._where}: {table}.name: {error}") from None
