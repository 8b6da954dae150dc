"""Which studies this machine can train: those with work left whose images, code and GPUs are here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence

from cifarsweep.data.catalog import DataSetInfo
from cifarsweep.errors import DataError, StudyRefused, UnreadableStudy
from cifarsweep.spec.study import datasets
from cifarsweep.store import Store
from cifarsweep.store.records import Lease, StoredStudy
from cifarsweep.worker.child.protocol import Ready
from cifarsweep.worker.code_here import CodeHere, files_of
from cifarsweep.worker.gpus_here import GpusHere
from cifarsweep.worker.programs_here import ProgramsHere

logger = logging.getLogger(__name__)


class EligibleStudies:
    """Picks studies from a store. `require` raises DataError for a data set that is missing here or damaged.

    It is called at every poll, since files come, go and change. `digests` holds the content digest of every data set
    found so far, by name. With `other_data`, studies whose trials trained on other images are eligible too. `code` and
    `programs` are what may run of users' own, `gpus` what a trial trains on.
    """

    def __init__(
        self,
        store: Store,
        require: Callable[[str], DataSetInfo],
        *,
        other_data: bool = False,
        code: CodeHere | None = None,
        programs: ProgramsHere | None = None,
        gpus: int | None = None,
    ) -> None:
        self._store, self._require = store, require
        self._code, self._programs = code or CodeHere(), programs or ProgramsHere()
        self.gpus = GpusHere(gpus)
        self.other_data = other_data
        self.digests: dict[str, str] = {}
        #: Whether something has happened since the last call that may change its result.
        self.outdated = False
        self._datasets: dict[str, set[str]] = {}
        self._studies: dict[str, StoredStudy] = {}
        self._found: dict[str, DataSetInfo] = {}
        self._rejected: dict[str, tuple[DataSetInfo | None, str]] = {}
        self._logged: set[str] = set()

    def __call__(self, asked: Sequence[str]) -> list[str]:
        """Return the studies, of those asked for or of all, that have trials left and can be trained here.

        A study that can't be trained here is logged once. Raises DataError or UnreadableStudy if none can be, and
        UnknownStudy if a name is not in the database.
        """
        self.outdated = False
        left = [name for name in self._store.queue.studies_left(asked) if asked or self._concerns(name)]
        errors = self._errors(left)
        trainable = [name for name in left if name not in errors]
        # Its error is raised and so need not be logged as well.
        alone = None if trainable or not left else left[0]
        for name in trainable:
            if note := self.gpus.idle_note(self._study(name).spec):
                self.log_once(note)
        for name, error in errors.items():
            if name != alone:
                why = str(error).removeprefix(f"study {name!r}: ")
                self.log_once(f"study {name!r} is left to other workers: {why}")
        if alone is not None:
            raise errors[alone]
        return trainable

    def data_set(self, dataset: str | None) -> DataSetInfo | None:
        """Return the data set as it was at the last call."""
        return None if dataset is None else self._found.get(dataset)

    def is_unchanged(self, dataset: str, before: DataSetInfo | None) -> bool:
        """Return whether the data set's file is unchanged now."""
        try:
            return before is None or self._require(dataset) == before
        except DataError:
            return False

    def reject_data(self, dataset: str, before: DataSetInfo | None, reason: str) -> None:
        """Refuse a data set that a child could not use, until its file changes."""
        self._rejected[dataset] = before, reason
        self.outdated = True

    def on_ready(self, ready: Ready) -> None:
        """Learn from a child how many GPUs it has."""
        count = len(ready.gpus) or None
        self.outdated = self.outdated or count != self.gpus.count
        self.gpus.count = count

    def has_gpus_for(self, lease: Lease) -> bool:
        """Return whether a claimed trial can be trained here: larger ones may have been added to its study since."""
        fits = self.gpus.suffice(lease.devices)
        if not fits:
            self.forget(lease.study)
        return fits

    def on_refused(self, refused: StudyRefused) -> None:
        """Check a study again that refused a claim because its data sets had changed."""
        self._datasets.get(refused.study, set()).add(refused.dataset)
        self.outdated = True

    def _errors(self, names: Iterable[str]) -> Mapping[str, DataError | UnreadableStudy]:
        """Return the error of each study that can't be trained here."""
        errors: dict[str, DataError | UnreadableStudy] = {}
        mine: dict[str, dict[str, str]] = {}
        for name in names:
            try:
                self._programs.check(self._study(name))
                self.gpus.check(self._study(name).spec)
                self._code.check(self._study(name))
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
            self._datasets[name] = set(datasets(self._study(name).spec))
        return self._datasets[name]

    def _concerns(self, name: str) -> bool:
        try:
            return self._programs.concern(self._study(name).spec)
        except UnreadableStudy:
            return True

    def _study(self, name: str) -> StoredStudy:
        if name not in self._studies:
            self._studies[name] = self._store.studies.get(name)
        return self._studies[name]

    def forget(self, study: str) -> None:
        """Read a study again, since its code or program is not what it was at the last call."""
        self._studies.pop(study, None)
        self._programs.forget()
        self.outdated = True

    def code_files(self, study: str) -> tuple[tuple[str, str], ...]:
        """Return path and digest of each file of the study's own code."""
        return tuple(files_of(self._study(study).spec))

    def _verified(self, dataset: str) -> str:
        found = self._found[dataset] = self._require(dataset)
        before, reason = self._rejected.get(dataset, (None, ""))
        if before == found:
            raise DataError(reason)
        return found.sha256

    def log_once(self, text: str) -> None:
        if text not in self._logged:
            self._logged.add(text)
            logger.warning(text)
