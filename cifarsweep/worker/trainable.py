"""Which studies this machine can train: those with work left whose data sets are here."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cifarsweep.data.catalog import DataSetInfo
from cifarsweep.errors import DataError
from cifarsweep.spec.words import FINAL_STATES
from cifarsweep.store import Store


class Trainable:
    """Picks studies from a store. `require` raises DataError for a data set that is not on this machine.

    `digests` holds the content digest of every data set that was asked for, by name.
    """

    def __init__(self, store: Store, note: Callable[[str], None], require: Callable[[str], DataSetInfo]) -> None:
        self._store, self._note, self._require = store, note, require
        self.digests: dict[str, str] = {}
        self._checked: dict[str, DataError | None] = {}

    def __call__(self, asked: Sequence[str]) -> list[str]:
        """The studies, among those asked for or among all, that have trials left and can be trained here.

        A study that can't is noted once and left to other workers. Raises DataError where it was asked for by name, or
        where there is no other; UnknownStudy where a name is not in the database.
        """
        left = self._with_work_left(asked)
        errors = {name: self._absent(name) for name in left}
        missing = [error for error in errors.values() if error is not None]
        if missing and (asked or len(missing) == len(left)):
            raise missing[0]
        return [name for name, error in errors.items() if error is None]

    def _with_work_left(self, asked: Sequence[str]) -> list[str]:
        found = [each for name in asked for each in self._store.status(name)] if asked else self._store.status()
        return [
            each.study
            for each in found
            if each.to_ask or any(count for state, count in each.trials.items() if state not in FINAL_STATES)
        ]

    def _absent(self, name: str) -> DataError | None:
        if name not in self._checked:
            self._checked[name] = self._find(name)
        return self._checked[name]

    def _find(self, name: str) -> DataError | None:
        try:
            for dataset in sorted({cell.settings.dataset for cell in self._store.study(name).spec.cells}):
                self.digests[dataset] = self._require(dataset).sha256
        except DataError as error:
            self._note(f"study {name!r} is left to other workers: {error}")
            return error
        return None
