"""Frozen records of trials and their attempts, without a database handle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from cifarsweep.errors import StoreError
from cifarsweep.spec.provenance import changed, trained_by
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
class TrialRow:
    """One trial with its history. `value`, the last validation accuracy, and `final` are there once it is done."""

    number: int
    cell: str
    levels: Mapping[str, Value]
    own_settings: Settings | None
    """None where the trial was imported from logs."""
    seed: int
    state: TrialState
    outcome: Outcome | None
    value: float | None
    final: Mapping[str, float]
    step: int
    elapsed_s: float
    weights_sha256: str
    attempts: tuple[AttemptRow, ...]
    source: str = ""
    """STUDY/NUMBER of the trial that its first steps were taken from; empty where it trained all."""
    reused_steps: int = 0
    """Steps that were taken from `source`; `step` counts them."""
    reused_s: float = 0.0
    """Seconds that they took to train there; `elapsed_s` counts them."""

    @property
    def settings(self) -> Settings:
        """All settings. Raises StoreError if they are unknown."""
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
        return trained_by(self.attempts)

    @property
    def changed(self) -> Mapping[str, Sequence[str]]:
        """Devices, versions and images that changed between its attempts: a rerun may differ in bits."""
        return changed(self.attempts)

    @property
    def started_at(self) -> datetime | None:
        return self.attempts[0].started_at if self.attempts else None

    @property
    def finished_at(self) -> datetime | None:
        return self.attempts[-1].ended_at if self.attempts else None
