"""What a report is made of: plain frozen records that any source of trials can fill."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import numpy.typing as npt

from cifarsweep.spec.metrics import VAL_ACCURACY
from cifarsweep.spec.provenance import changed, trained_by
from cifarsweep.spec.study import Study
from cifarsweep.spec.types import Outcome, TrialState, Value
from cifarsweep.stats.multiplicity import Plans

#: Strictly rising steps (int64) and the value at each (float64; nan and infinity where the metric was not finite).
Series = tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportAttempt:
    """One lease of a trial by a worker."""

    attempt: int
    host: str
    device: str
    started: datetime | None
    ended: datetime | None
    end: str | None
    """One of `AttemptEnd`; None while it runs."""
    error: str | None
    first_step: int | None = None
    """The step that it went on from; None where that is not known."""
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportTrial:
    """One cell with one seed, and what became of it."""

    number: int
    cell: str
    levels: Mapping[str, Value]
    seed: int
    state: str
    """One of `TrialState`."""
    outcome: str | None
    """One of `Outcome`; None unless the trial is done."""
    final: Mapping[str, float]
    """The last value of each metric; empty unless the trial is done."""
    steps: int
    elapsed_s: float | None
    """Seconds of training, without what was lost and computed again."""
    params: int | None
    flops: float | None
    """Of one image, forward."""
    attempts: tuple[ReportAttempt, ...]
    error: str | None
    weights_sha256: str | None
    versions: Mapping[str, str]
    """Of the last attempt."""

    @property
    def trained_by(self) -> tuple[ReportAttempt, ...]:
        """The attempts that its result rests on, oldest first."""
        return trained_by(self.attempts)

    @property
    def environments(self) -> tuple[Mapping[str, str], ...]:
        """The versions, all of them, that these ran with."""
        found = tuple(each.versions for each in self.trained_by if each.versions)
        return found or ((self.versions,) if self.versions else ())

    @property
    def changed(self) -> Mapping[str, Sequence[str]]:
        """Device, versions and images that changed on its way: its bits are not promised again."""
        return changed(self.attempts)

    @property
    def done(self) -> bool:
        """Trained to the end, diverged or not."""
        return self.state == TrialState.DONE

    @property
    def diverged(self) -> bool:
        """Done, at chance accuracy, because the loss stopped being finite."""
        return self.done and self.outcome == Outcome.DIVERGED

    @property
    def pruned(self) -> bool:
        """Done before its end, because a search saw it fall behind."""
        return self.done and self.outcome == Outcome.PRUNED

    @property
    def trained(self) -> bool:
        """Done and trained to its end: what diverged or was pruned took little because it ended early."""
        return self.done and not self.diverged and not self.pruned

    @property
    def failed(self) -> bool:
        """Given up: it raised, or took its workers down."""
        return self.state in (TrialState.FAILED, TrialState.POISONED)

    @property
    def accuracy(self) -> float | None:
        """The last validation accuracy of a trial that is done and was not pruned."""
        return self.last(VAL_ACCURACY)

    def last(self, metric: str) -> float | None:
        """The last value of a metric; None unless the trial is done, to its end, and the value finite."""
        value = self.final.get(metric)
        return value if self.done and not self.pruned and value is not None and math.isfinite(value) else None


@dataclass(frozen=True, slots=True, eq=False)
class ClassCounts:
    """How often a cell took which class for which, at the last evaluations of its trials that are done."""

    dataset: str
    counts: npt.NDArray[np.int64]
    """(classes, classes), true ones in rows, guessed ones in columns, summed over the seeds."""
    recall: npt.NDArray[np.float64]
    """(seeds, classes): the share of a class's images that were recognised; nan where it has no image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportStudy:
    """A study with all that is known of it at one moment."""

    study: Study
    """Of a search: with the best of its points as cells."""
    trials: tuple[ReportTrial, ...]
    series: Mapping[tuple[int, str], Series]
    """By trial number and metric name."""
    made_at: datetime
    database: str
    """For people: its password must already be hidden."""
    version: str
    """Of cifarsweep."""
    data_digest: str | None = None
    """Of the converted data set, where it is known."""
    classes: Mapping[str, int] = field(default_factory=dict)
    """How many classes the data sets have, as far as that is known here."""
    plans: Plans = ()
    """The numbers of seeds at which the data were to be looked at, by plan; empty for one look."""
    confusion: Mapping[str, ClassCounts] = field(default_factory=dict)
    """By the names of the cells; empty where no trial recorded it."""
    class_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Of the data sets that are installed here."""
    evaluations: Mapping[int, int] = field(default_factory=dict)
    """How often a trial was evaluated, by its number, where `series` leaves its curve out."""
    written: Study | None = None
    """The study as its file has it, where `study` differs."""

    @property
    def looks(self) -> tuple[int, ...]:
        """The numbers of seeds of all plans, fewest first."""
        return tuple(sorted(seeds for plan in self.plans for seeds in plan))
