"""A user's own program as what a study trains: its command, its files and the metric that it reports.

What stands here is stored with the study and tells which program it is about. No worker runs it from there: a worker
reads the command from a file on its own disk, and trains a study only if `Program.sha256` of that file is the study's.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import Field, model_validator

from cifarsweep.spec.frozen import Frozen
from cifarsweep.spec.metrics import VAL_ACCURACY
from cifarsweep.spec.types import Value

#: `{lr}` in a word of a command; `{{` and `}}` stand for braces.
PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([^{}]*)\}")
#: The one placeholder that is no parameter.
SEED = "seed"
MetricName = Annotated[
    str, Field(min_length=1, max_length=64, pattern=r"^[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$")
]
ParameterName = Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z_][A-Za-z0-9_.-]*$")]
Word = Annotated[str, Field(max_length=4096, pattern=r"^[^\x00]*$")]


class Parameters(Frozen):
    """What a trial of a program is started with, in the place of settings."""

    parameters: dict[ParameterName, Value]

    @classmethod
    def of(cls, values: Mapping[str, Value]) -> Self:
        """Return the parameters in the order of their names: equal ones have equal JSON."""
        return cls(parameters=dict(sorted(values.items())))


class ProgramFile(Frozen):
    """A file of a program: its path from the folder of the study's file, with `/`, and the digest of its contents."""

    path: Annotated[str, Field(min_length=1, max_length=1024)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class ReadRule(Frozen):
    """How a metric is found in the output: the group `value` of the pattern, else its first group, times `scale`.

    A group `step` gives the step; without it the first match is step 1, the next one step 2.
    """

    pattern: Annotated[str, Field(min_length=1, max_length=1000)]
    scale: float = 1.0

    @model_validator(mode="after")
    def _finds_a_value(self) -> Self:
        try:
            groups = re.compile(self.pattern).groups
        except (re.error, RecursionError, OverflowError) as error:
            raise ValueError(f"pattern: is no regular expression: {error}") from None
        if not groups:
            raise ValueError(r"pattern: has no group; put the number in brackets, as in 'Acc: ([\d.]+)%'")
        if self.scale == 0:
            raise ValueError("scale: must not be 0")
        return self


class Program(Frozen):
    """A program of the user's own."""

    command: Annotated[tuple[Word, ...], Field(min_length=1, max_length=1000)]
    """Its words, as they are started, without a shell. `{lr}` stands for the parameter `lr` of the trial."""
    files: Annotated[tuple[ProgramFile, ...], Field(min_length=1)]
    metric: MetricName = VAL_ACCURACY
    """What verdicts, pages and searches quote. Less is better where the name ends in `loss` or `error`."""
    read: dict[MetricName, ReadRule] = {}
    """Metrics that are read from its output; the others it reports itself."""
    gpus: Annotated[int, Field(ge=1, le=64)] = 1
    """GPUs of one trial."""
    silence_s: Annotated[float, Field(gt=0, le=86_400)] | None = None
    """How long it may say nothing before it counts as hung; None for an hour."""
    stop_s: Annotated[float, Field(ge=0, le=3600)] = 30.0
    """How long it may take to save and end, once it is asked to, before it gets SIGTERM, and 10 s later SIGKILL."""

    @property
    def sha256(self) -> str:
        """The digest of all that decides what runs, and of what is read from it."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()
