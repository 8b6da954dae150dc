"""How far a study is, and who is at its trials: frozen records, without a database handle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cifarsweep.spec.metrics import VAL_ACCURACY
from cifarsweep.spec.types import StopRequest, TrialState

#: Who looks at all trials again and again waits for so many times what a look took, and for so many seconds at most.
_SHARE, _LONGEST_PAUSE_S = 9.0, 30.0


def pause_after(took_s: float, shortest_s: float) -> float:
    """Return how long to wait between two looks at all trials that take so long: of a million of them it is seconds."""
    return max(shortest_s, min(_SHARE * took_s, _LONGEST_PAUSE_S))


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """A worker at one trial. `last_beat_s` is None if the heartbeat is from before the machine's last boot."""

    worker_id: str
    host: str
    device: str
    trial: int
    attempt: int
    step: int
    last_beat_s: float | None
    expired: bool
    slot: int | None = None
    elapsed_s: float = 0.0
    """Training time of the trial so far."""
    images_per_s: float | None = None
    """As last recorded; only if requested."""
    total_steps: int | None = None
    """The steps that the trial trains in all; None where nobody knows."""
    metric: str = VAL_ACCURACY
    """What its study is about; with `newest`, only if requested."""
    newest: Mapping[str, float] = field(default_factory=dict)
    """The last recorded values of the training loss, the validation accuracy and the metric."""


@dataclass(frozen=True, slots=True)
class StudyStatus:
    """How far a study is. `trials` has a count for every state.

    `done_s` sums the training time of the done trials, without what they took over from others.
    """

    study: str
    trials: Mapping[TrialState, int]
    workers: tuple[WorkerStatus, ...]
    done_s: float
    to_ask: int = 0
    """Points that a search has not asked for yet; none while it is paused or cancelled."""
    held: int = 0
    """The same while it is."""
    stop_request: StopRequest | None = None
    """A request for the whole study, also for trials that it still gets."""
    pruned: int = 0
    """Done trials that a search ended early."""
    unreadable: str = ""
    """Why some rows can't be read, if so; the numbers count the others."""
    reused: int = 0
    """Done trials that took over all of their steps."""
    reused_s: float = 0.0
    """The training time of what done trials took over."""
    done_steps: int = 0
    """Steps of the done trials, with those that they took over."""
    waiting_twins: int = 0
    """Queued trials that take all steps of another one, which is done or on its way: they train nothing."""
    waiting_branches: int = 0
    """Queued trials that wait for the first steps of another one, and train the rest."""
    waiting_steps: int = 0
    """The sum of these first steps."""

    @property
    def trial_s(self) -> float | None:
        """Mean training time of the done trials, as if each had trained alone; None without any."""
        done, alone_s = self.trials[TrialState.DONE], self.done_s + self.reused_s
        return alone_s / done if done and alone_s else None

    @property
    def trials_per_h(self) -> float | None:
        """Throughput of the live workers; None without workers or trials that were trained."""
        live = sum(not worker.expired for worker in self.workers)
        return 3600 * live * self.trials[TrialState.DONE] / self.done_s if live and self.done_s else None

    @property
    def images_per_s(self) -> float | None:
        """Throughput of all live workers; None if unknown."""
        speeds = [one.images_per_s for one in self.workers if one.images_per_s is not None and not one.expired]
        return sum(speeds) if speeds else None

    @property
    def left_s(self) -> float | None:
        """Seconds until all unpaused trials are done, but for what they will take from others; None if unknown."""
        live = sum(not worker.expired for worker in self.workers)
        if self.trial_s is None or not live:
            return None
        whole = self.trials[TrialState.QUEUED] + self.to_ask - self.waiting_twins - self.waiting_branches
        step_s = (self.done_s + self.reused_s) / self.done_steps if self.done_steps else 0.0
        taken_s = self.waiting_steps * step_s / (self.waiting_branches or 1)
        left = [self.trial_s] * whole + [max(0.0, self.trial_s - taken_s)] * self.waiting_branches
        left += [max(0.0, self.trial_s - worker.elapsed_s) for worker in self.workers]
        return max(sum(left) / live, *left, 0.0)
