"""Frozen records of trials and their attempts, without a database handle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from cifarsweep.errors import StoreError
from cifarsweep.spec.provenance import Source, changed, trained_by
from cifarsweep.spec.settings import Settings
from cifarsweep.spec.types import AttemptEnd, Outcome, TrialState, Value


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One lease of a trial. `end` is None while it is held."""

    attempt: int
    worker_id: str
    host: str
    device: str
    versions: Mapping[str, str]
    started_at: datetime
    ended_at: datetime | None
    end: AttemptEnd | None
    first_step: int
    """The step it went on from."""
    error: str
    traceback: str


@dataclass(frozen=True, slots=True)
class Reuse:
    """The first steps of a trial, where it took them over from others instead of training them again."""

    sources: tuple[Source, ...]
    """The trial that it took them from, then the one that this one has its own first steps from, and so on."""
    seconds: float
    """Their training time."""
    attempts: tuple[AttemptRow, ...]
    """Those that trained them, oldest first."""

    @property
    def steps(self) -> int:
        return self.sources[0].steps

    def text(self, steps: int, state: str) -> str:
        """`reused from demo/3` or `first 400 steps from demo/3`, for a trial with so many steps in that state."""
        # One that is not done has more steps to come.
        return self.sources[0].text(steps if state == TrialState.DONE else steps + 1)


@dataclass(frozen=True, slots=True)
class TrialRow:
    """One trial with its history. `value`, the last validation accuracy, and `final` are there once it is done."""

    number: int
    cell: str
    levels: Mapping[str, Value]
    own_settings: Settings | None
    """None where the trial was imported from logs, or is one of a program."""
    seed: int
    state: TrialState
    outcome: Outcome | None
    value: float | None
    final: Mapping[str, float]
    step: int
    elapsed_s: float
    weights_sha256: str
    attempts: tuple[AttemptRow, ...]
    reuse: Reuse | None = None
    """What it took over from other trials; `step`, `elapsed_s` and `final` count it, as if it had trained alone."""
    parameters: Mapping[str, Value] | None = None
    """What its program was started with; None for other trials."""
    waits_for: str = ""
    """STUDY/NUMBER of the trial that it waits for, to take steps over from it; empty if it waits for none."""

    @property
    def source(self) -> str:
        """STUDY/NUMBER of the trial that it took steps over from; empty if it trained all of them."""
        return self.reuse.sources[0].name if self.reuse else ""

    @property
    def reused_steps(self) -> int:
        """Steps that it took over."""
        return self.reuse.steps if self.reuse else 0

    @property
    def reused_s(self) -> float:
        """The training time of these steps."""
        return self.reuse.seconds if self.reuse else 0.0

    @property
    def reused_text(self) -> str:
        """What it took over, as `Reuse.text` says it; empty if nothing."""
        return self.reuse.text(self.step, self.state) if self.reuse else ""

    @property
    def settings(self) -> Settings:
        """All settings. Raises StoreError if there are none."""
        if self.parameters is not None:
            raise StoreError(
                f"trial {self.number} ({self.cell!r}) is of a program, which has parameters and no settings"
            )
        if self.own_settings is None:
            raise StoreError(
                f"trial {self.number} ({self.cell!r}) was imported from logs, which do not say what it was trained with"
            )
        return self.own_settings

    @property
    def error(self) -> str:
        """The error of the last attempt that had one."""
        return next((attempt.error for attempt in reversed(self.attempts) if attempt.error), "")

    @property
    def traceback(self) -> str:
        """The traceback of the last attempt that had one."""
        return next((attempt.traceback for attempt in reversed(self.attempts) if attempt.traceback), "")

    @property
    def trained_by(self) -> tuple[AttemptRow, ...]:
        """The attempts that its result rests on, oldest first."""
        return (*(self.reuse.attempts if self.reuse else ()), *trained_by(self.attempts, self.reused_steps))

    @property
    def changed(self) -> Mapping[str, Sequence[str]]:
        """Devices, versions and images that changed between its attempts: a rerun may differ in bits."""
        return changed(self.trained_by)

    @property
    def started_at(self) -> datetime | None:
        return self.attempts[0].started_at if self.attempts else None

    @property
    def finished_at(self) -> datetime | None:
        return self.attempts[-1].ended_at if self.attempts else None
