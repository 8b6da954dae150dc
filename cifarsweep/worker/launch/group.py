"""What groups of workers have in common that one command starts, wherever they run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable

from cifarsweep.worker.signals import SignalInbox


class Group(ABC):
    """Workers that run and stop together, until all have ended or are out of reach."""

    def __init__(self) -> None:
        self._signals = SignalInbox()

    def run(self) -> int:
        """Run until the end. Return the highest exit code, or that of the first signal where a worker failed.

        On the first Ctrl-C or SIGTERM workers write checkpoints and release their trials; the second ends them at once.
        """
        with self._signals:
            try:
                self._run()
            finally:
                self._let_go()
        highest, signals = max(self._codes(), default=0), self._signals.heard
        return 128 + signals[0] if signals and highest else highest

    @abstractmethod
    def _run(self) -> None:
        """Start what is not started yet, look after the workers, and pass signals on."""

    @abstractmethod
    def _let_go(self) -> None:
        """Leave nothing behind, whatever was raised."""

    @abstractmethod
    def _codes(self) -> Iterable[int]:
        """The exit codes of all workers, after the end."""
