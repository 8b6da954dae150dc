"""The messages of a program, and the rules that what it reports must keep. docs/how-to/own-script.md describes both."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from cifarsweep.spec.metrics import CONFUSION, ELAPSED, ENERGY, TELEMETRY
from cifarsweep.spec.program import MetricName
from cifarsweep.spec.types import MetricRow, Outcome, TrialResult
from cifarsweep.text import quoted

#: Bytes of a message; characters of a name are limited by `MetricName`.
LONGEST_MESSAGE = 1 << 20
#: The largest step that every program holds exactly.
_MOST_STEPS = 2**53
#: What the worker measures itself.
_OURS = {ELAPSED, ENERGY, *TELEMETRY}

Step = Annotated[int, Field(ge=0, le=_MOST_STEPS, strict=True)]
Number = Annotated[float, Field(strict=True)]


class _Plain(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Log(_Plain):
    """Values of metrics at a step."""

    step: Step
    metrics: dict[str, Number]


class Saved(_Plain):
    """The file or folder that was written."""

    step: Annotated[int, Field(ge=1, le=_MOST_STEPS, strict=True)]
    path: str


class Message(_Plain):
    """One of its fields is set."""

    hello: Literal[1] | None = None
    log: Log | None = None
    checkpoint: Saved | None = None


class ProgramError(Exception):
    """What a program did wrong, as a sentence whose subject, the program, is left out.

    `crashed`: it was killed or hung, for which a machine may be at fault as well.
    """

    def __init__(self, what: str, *, crashed: bool = False) -> None:
        super().__init__(what)
        self.crashed = crashed


_NAME: TypeAdapter[str] = TypeAdapter(MetricName)


def parse(line: bytes) -> Message:
    """Read a line. Raises ProgramError."""
    try:
        found = Message.model_validate(json.loads(line))
    except (ValueError, RecursionError) as error:
        where = ""
        if isinstance(error, ValidationError):
            first = error.errors(include_url=False)[0]
            where = f": {'.'.join(map(str, first['loc']))}: {first['msg']}"
        text = quoted(line[:80].decode(errors="replace"))
        raise ProgramError(f"wrote a line to the worker's pipe that is no message: {text}{where}") from None
    if len(found.model_fields_set) != 1:
        text = quoted(line[:80].decode(errors="replace"))
        raise ProgramError(f"wrote a message to the worker's pipe that is not one of hello, log and checkpoint: {text}")
    return found


@dataclass
class Progress:
    """What a program has reported, with its earlier attempts: the last step and value of each metric."""

    last: dict[str, tuple[int, float]] = field(default_factory=dict)
    checkpoint_step: int = -1
    """That of the last checkpoint; -1 before the first."""

    @property
    def step(self) -> int:
        """The greatest step of all."""
        return max((step for step, _ in self.last.values()), default=max(self.checkpoint_step, 0))

    def add(self, row: MetricRow) -> None:
        """Note a value. Raises ProgramError for one that can't be."""
        self._check(row)
        self.last[row.name] = row.step, row.value

    def _check(self, row: MetricRow) -> None:
        name, step = quoted(row.name), f"step {row.step:,}"
        if row.name in _OURS or row.name.startswith(CONFUSION):
            raise ProgramError(f"reported {name}, a name that is kept for what the worker measures; choose another one")
        before, _ = self.last.get(row.name, (-1, math.nan))
        if row.step <= self.checkpoint_step:
            at = f"its checkpoint at step {self.checkpoint_step:,}"
            raise ProgramError(
                f"reported {name} for {step}, which {at} covers already: report before you save, and go on from "
                "`trial.resume` where there is one"
            )
        if row.step == before:
            raise ProgramError(f"reported {name} twice for {step}; report each metric once for a step")
        if row.step < before:
            raise ProgramError(f"reported {name} for {step} after step {before:,}; the steps of a metric must rise")
        if row.name not in self.last:
            check_name(row.name)

    def saved(self, step: int) -> None:
        """Note a checkpoint. Raises ProgramError for one that can't be."""
        if step <= self.checkpoint_step:
            raise ProgramError(
                f"saved a checkpoint at step {step:,} after that at {self.checkpoint_step:,}; their steps must rise"
            )
        if step < self.step:
            raise ProgramError(
                f"saved a checkpoint at step {step:,} after it had reported step {self.step:,}; one must cover "
                "all that was reported before"
            )
        self.checkpoint_step = step

    def result(self, metric: str) -> TrialResult:
        """Return the result of a program that ended well. Raises ProgramError if it never reported its metric."""
        final = {name: value for name, (_, value) in self.last.items()}
        if metric not in final:
            others = quoted(", ".join(sorted(final.keys() - _OURS))) if final.keys() - _OURS else "nothing"
            raise ProgramError(f"ended with exit code 0 and without its metric {quoted(metric)}; it reported {others}")
        outcome = Outcome.FINISHED if math.isfinite(final[metric]) else Outcome.DIVERGED
        return TrialResult(outcome, self.step, final, "")


def rows_of(log: Log) -> list[MetricRow]:
    """Return the rows of a message."""
    return [MetricRow(name, log.step, value) for name, value in log.metrics.items()]


def check_name(name: str) -> None:
    """Raise ProgramError for what can't be the name of a metric."""
    try:
        _NAME.validate_python(name)
    except ValidationError:
        raise ProgramError(
            f"reported a metric with the name {quoted(name)} of {len(name)} characters: a name has 1 to 64 printable "
            "characters"
        ) from None


def header(progress: Progress, elapsed_s: float) -> dict[str, object]:
    """Return what a checkpoint carries of the progress, as plain values."""
    return {"elapsed_s": elapsed_s, "last": progress.last}


def progress_of(found: Mapping[str, object], step: int) -> tuple[Progress, float]:
    """Undo `header`. Raises ValueError."""
    parsed = TypeAdapter(_Header).validate_python(found)
    return Progress(dict(parsed.last), step), parsed.elapsed_s


class _Header(BaseModel):
    elapsed_s: Annotated[float, Field(ge=0)]
    last: dict[str, tuple[int, float]]
