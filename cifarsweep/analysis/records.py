"""The records that an analysis starts from: a study, its trials, their attempts and curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cifarsweep.spec.devices import device_text
from cifarsweep.spec.metrics import VAL_ACCURACY
from cifarsweep.spec.provenance import changed, trained_by
from cifarsweep.spec.study import Study
from cifarsweep.spec.types import Outcome, TrialState, Value
from cifarsweep.stats.multiplicity import Plans
from cifarsweep.stats.shares import Guess
from cifarsweep.stats.summary import LARGEST, SMALLEST

if TYPE_CHECKING:
    from cifarsweep.data.catalog import DataSetInfo
    from cifarsweep.store.records import Note
    from cifarsweep.store.trial_records import AttemptRow, Reuse

#: Strictly rising steps (int64) and the value at each (float64; nan and infinity where the metric was not finite).
Series = tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportTrial:
    """One cell with one seed."""

    number: int
    cell: str
    levels: Mapping[str, Value]
    seed: int
    state: str
    """One of `TrialState`."""
    outcome: str | None
    """One of `Outcome`; None unless the trial is done."""
    final: Mapping[str, float]
    """The final value of each metric, as the study counts it (`Study.final`); empty unless the trial is done."""
    steps: int
    elapsed_s: float | None
    """Seconds of training that count: work that was lost and repeated is left out."""
    params: int | None
    flops: float | None
    """Of one image, forward."""
    attempts: tuple[AttemptRow, ...]
    error: str | None
    versions: Mapping[str, str]
    """Of the last attempt."""
    guess: Guess | None = None
    """What its accuracy has to beat; None if that is unknown."""
    reuse: Reuse | None = None
    """What it took over from other trials; steps, time and final values count it, as if it had trained alone."""
    metric: str = VAL_ACCURACY
    """What its study is about."""
    reused: Mapping[str, float] = field(default_factory=dict)
    """How much of the metrics that add up, FLOPs and energy, it took over."""
    devices: int = 1
    """How many devices shared its batches."""

    @property
    def reused_steps(self) -> int:
        """Steps that it took over."""
        return self.reuse.steps if self.reuse else 0

    @property
    def reused_text(self) -> str:
        """`reused from demo/3` or `first 400 steps from demo/3`; empty if it trained all of its steps."""
        return self.reuse.text(self.steps, self.state) if self.reuse else ""

    @property
    def trained_by(self) -> tuple[AttemptRow, ...]:
        """The attempts that the result rests on, oldest first."""
        return (*(self.reuse.attempts if self.reuse else ()), *trained_by(self.attempts, self.reused_steps))

    @property
    def device_texts(self) -> tuple[str, ...]:
        """What it was trained on, each once: `2 x NVIDIA H200`."""
        texts = (device_text(each.device, self.devices, each.versions) for each in self.trained_by if each.device)
        return tuple(dict.fromkeys(texts))

    @property
    def environments(self) -> tuple[Mapping[str, str], ...]:
        """The versions that each of these attempts ran with."""
        known = tuple(attempt.versions for attempt in self.trained_by if attempt.versions)
        return known or ((self.versions,) if self.versions else ())

    @property
    def changed(self) -> Mapping[str, Sequence[str]]:
        """Device, versions and images that changed between its attempts, so that it is not reproducible to the bit."""
        return changed(self.trained_by)

    @property
    def done(self) -> bool:
        return self.state == TrialState.DONE

    @property
    def diverged(self) -> bool:
        """Done with the accuracy of a guess, because the loss stopped being finite."""
        return self.done and self.outcome == Outcome.DIVERGED

    @property
    def pruned(self) -> bool:
        """Ended early by a search, because it fell behind the others."""
        return self.done and self.outcome == Outcome.PRUNED

    @property
    def trained(self) -> bool:
        """Trained to its end, so that its time and costs compare: neither diverged nor pruned."""
        return self.done and not self.diverged and not self.pruned

    @property
    def fell_out(self) -> bool:
        """Did not train: it diverged, or its accuracy is no better than a guess."""
        accuracy = self.accuracy
        return self.diverged or (accuracy is not None and self.guess is not None and self.guess.covers(accuracy))

    @property
    def failed(self) -> bool:
        return self.state in (TrialState.FAILED, TrialState.POISONED)

    @property
    def accuracy(self) -> float | None:
        """The final value of the study's metric, which is an accuracy unless a program has another one."""
        return self.last(self.metric)

    def last(self, metric: str) -> float | None:
        """The final value of a metric; None unless the trial is done, was not pruned, and the value counts."""
        return self.ended_with(metric) if self.done and not self.pruned else None

    def ended_with(self, metric: str) -> float | None:
        """The final value of a metric, of a pruned trial too, as statistics count it; None without one that counts."""
        value = self.final.get(metric, math.nan)
        size = abs(value)
        if not size <= LARGEST:  # nan too
            return None
        return 0.0 if size < SMALLEST else value


@dataclass(frozen=True, slots=True, eq=False)
class ClassCounts:
    """Confusion counts of a cell, from the last evaluations of its trials that are done."""

    dataset: str
    counts: npt.NDArray[np.int64]
    """(classes, classes): true classes in rows, predicted ones in columns, summed over the seeds."""
    recall: npt.NDArray[np.float64]
    """(seeds, classes): the share of a class's images that were recognised; nan for a class without images."""


@dataclass(frozen=True, slots=True, eq=False)
class OtherRun:
    """A run of another study that stands for reported runs."""

    name: str
    """Of its cell there."""
    seed: int
    metrics: frozenset[str]
    """All that it has; `curves` has those that were read."""
    curves: Mapping[str, Series]


@dataclass(frozen=True, slots=True, eq=False)
class OtherStudy:
    """The study whose runs stand for reported runs."""

    names: tuple[str, ...]
    """Of all its cells."""
    runs: tuple[OtherRun, ...]
    """Those that our study names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportStudy:
    """All that is known of a study at one moment."""

    study: Study
    """The cells of a search are the best of its points."""
    trials: tuple[ReportTrial, ...]
    series: Mapping[tuple[int, str], Series]
    """By trial number and metric name."""
    made_at: datetime
    database: str
    """The URL without its password."""
    version: str
    """Of cifarsweep."""
    data_digest: str | None = None
    """Digests of the images that trials were trained on; None if unknown."""
    classes: Mapping[str, int] = field(default_factory=dict)
    """The number of classes of each data set that this machine knows."""
    plans: Plans = ()
    """The numbers of seeds at each planned look at the data, by plan; empty for one look."""
    confusion: Mapping[str, ClassCounts] = field(default_factory=dict)
    """By the name of the cell; empty if no trial recorded it."""
    class_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Names of the classes of each data set that is installed on this machine."""
    images: Mapping[str, DataSetInfo] = field(default_factory=dict)
    """The data sets of the user's own that are installed on this machine, by name."""
    evaluations: Mapping[int, int] = field(default_factory=dict)
    """The number of evaluations by trial number, for trials whose curves are not in `series`."""
    hits: Mapping[tuple[int, str], npt.NDArray[np.bool_]] = field(default_factory=dict)
    """Which images a trial got right, (images,), by its number and the accuracy that they make up; see `cell_hits`."""
    other_study: OtherStudy | None = None
    """That of the study's reported runs; None if there is none, or it can't be read."""
    written: Study | None = None
    """The study as its file has it; None if `study` is the same."""
    own_notes: tuple[Note, ...] = ()
    """What people noted about the study and its trials, oldest first."""
    anonymous: bool = False
    """Whether hosts, paths, users and commits were taken out of it: `analysis.anonymous`."""

    @property
    def looks(self) -> tuple[int, ...]:
        """The numbers of seeds of all plans, fewest first."""
        return tuple(sorted(seeds for plan in self.plans for seeds in plan))
