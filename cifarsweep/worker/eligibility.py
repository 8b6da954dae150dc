"""Which studies this machine can train: those with work left whose images are here, and are those of the study."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence

from cifarsweep.data.catalog import DataSetInfo
from cifarsweep.errors import DataError, StudyRefused, UnreadableStudy
from cifarsweep.spec.study import datasets
from cifarsweep.spec.types import FINAL_STATES
from cifarsweep.store import Store

logger = logging.getLogger(__name__)


class EligibleStudies:
    """Picks studies from a store. `require` raises DataError for a data set that is not on this machine, or damaged.

    It is asked at every look, as files come, go and change. `digests` holds the content digest of every data set that
    was found so far, by name; with `other_data`, studies whose trials train on other images are no exception.
    """

    def __init__(
        self,
        store: Store,
        require: Callable[[str], DataSetInfo],
        *,
        other_data: bool = False,
    ) -> None:
        self._store, self._require = store, require
        self.other_data = other_data
        self.digests: dict[str, str] = {}
        #: Whether something was heard since the last look that makes it outdated.
        self.outdated = False
        self._datasets: dict[str, set[str]] = {}
        self._found: dict[str, DataSetInfo] = {}
        self._rejected: dict[str, tuple[DataSetInfo | None, str]] = {}
        self._logged: set[str] = set()

    def __call__(self, asked: Sequence[str]) -> list[str]:
        """The studies, among those asked for or among all, that have trials left and can be trained here.

        A study that can't is noted once and left to other workers. Raises DataError or UnreadableStudy where none
        can, UnknownStudy where a name is not in the database.
        """
        self.outdated = False
        left = self._unfinished(asked)
        errors = self._errors(left)
        trainable = [name for name in left if name not in errors]
        # The last one is raised, and not noted as well.
        alone = None if trainable or not left else left[0]
        for name, error in errors.items():
            if name != alone:
                self.log_once(f"study {name!r} is left to other workers: {error}")
        if alone is not None:
            raise errors[alone]
        return trainable

    def data_set(self, dataset: str) -> DataSetInfo | None:
        """The data set as it was at the last look."""
        return self._found.get(dataset)

    def is_unchanged(self, dataset: str, before: DataSetInfo | None) -> bool:
        """Whether the data set is what it was, by a look at its file now."""
        try:
            return before is None or self._require(dataset) == before
        except DataError:
            return False

    def reject_data(self, dataset: str, before: DataSetInfo | None, reason: str) -> None:
        """Leave the data set alone for as long as its file stays as it was: a child could not use it."""
        self._rejected[dataset] = before, reason
        self.outdated = True

    def on_refused(self, refused: StudyRefused) -> None:
        """Look again at a study that refused a claim: by its first trials, or by a cell that came to it."""
        self._datasets.get(refused.study, set()).add(refused.dataset)
        self.outdated = True

    def _unfinished(self, asked: Sequence[str]) -> list[str]:
        found = (
            [each for name in asked for each in self._store.studies.status(name)]
            if asked
            else self._store.studies.status()
        )
        return [
            each.study
            for each in found
            if each.to_ask or any(count for state, count in each.trials.items() if state not in FINAL_STATES)
        ]

    def _errors(self, names: Iterable[str]) -> Mapping[str, DataError | UnreadableStudy]:
        """Why studies can't be trained here."""
        errors: dict[str, DataError | UnreadableStudy] = {}
        mine: dict[str, dict[str, str]] = {}
        for name in names:
            try:
                mine[name] = {dataset: self._verified(dataset) for dataset in sorted(self._datasets_of(name))}
            except (DataError, UnreadableStudy) as error:
                errors[name] = error
        if not self.other_data:
            errors |= self._store.queue.refused(mine)
        for name in mine.keys() - errors.keys():
            self.digests |= mine[name]
        return errors

    def _datasets_of(self, name: str) -> set[str]:
        if name not in self._datasets:
            self._datasets[name] = set(datasets(self._store.studies.get(name).spec))
        return self._datasets[name]

    def _verified(self, dataset: str) -> str:
        found = self._found[dataset] = self._require(dataset)
        before, reason = self._rejected.get(dataset, (None, ""))
        if before == found:
            raise DataError(reason)
        return found.sha256

    def log_once(self, text: str) -> None:
        """Note what has not been noted before."""
        if text not in self._logged:
            self._logged.add(text)
            logger.warning(text)
