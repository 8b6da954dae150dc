"""The hypotheses of a study, parsed and stored with it."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from cifarsweep.spec.metrics import VAL_ACCURACY
from cifarsweep.spec.moments import At
from cifarsweep.spec.settings import Frozen
from cifarsweep.spec.types import Value

#: Cells by their levels ({"model.skip" = true}: every cell with a skip connection) or one arm by its name.
Selector = Annotated[str, Field(min_length=1)] | Annotated[dict[str, Value], Field(min_length=1)]
Text = Annotated[str, Field(min_length=1, max_length=300, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]


class _Claim(Frozen):
    claim: Text
    """The hypothesis as a sentence of its author."""
    metric: Annotated[str, Field(min_length=1, max_length=64)] = VAL_ACCURACY


class _ValueClaim(_Claim):
    """A claim about values of the metric."""

    later: ClassVar[frozenset[str]] = frozenset({"at"})

    at: At | None = None
    """The moment whose values are tested, such as `{ epoch = 1 }` or `{ step = 9_800 }`; None for the last values."""


class Greater(_ValueClaim):
    """`a` is above `b` by more than `margin`, in units of the metric (0.01 of accuracy is one point)."""

    kind: Literal["greater"]
    a: Selector
    b: Selector
    margin: Annotated[float, Field(ge=0)] = 0.0


class NotWorse(_ValueClaim):
    """`a` is at most `margin` below `b`; for a loss, at most `margin` above it."""

    kind: Literal["not_worse"]
    a: Selector
    b: Selector
    margin: Annotated[float, Field(gt=0)]


class Equivalent(_ValueClaim):
    """`a` and `b` differ by less than `margin` either way."""

    kind: Literal["equivalent"]
    a: Selector
    b: Selector
    margin: Annotated[float, Field(gt=0)]


class AtChance(_ValueClaim):
    """`a` does not train: its accuracy is within `margin` of always naming the largest class."""

    kind: Literal["at_chance"]
    a: Selector
    margin: Annotated[float, Field(gt=0)] = 0.02


class Reaches(_ValueClaim):
    """`a` reaches a reported number: at most `margin` below `target`; for a loss, above it."""

    kind: Literal["reaches"]
    a: Selector
    target: float
    margin: Annotated[float, Field(ge=0)] = 0.0


class Faster(_Claim):
    """`a` reaches `target` of the metric before `b`, counted in `by`."""

    kind: Literal["faster"]
    a: Selector
    b: Selector
    target: float
    by: Literal["steps", "epoch", "elapsed_s"] = "steps"


class Best(_ValueClaim):
    """`level` of `factor` has the highest mean of the metric; for a loss, the lowest."""

    kind: Literal["best"]
    factor: str
    level: Value


class Trend(_ValueClaim):
    """The metric rises or falls on average along the levels of `factor`, in the order of the study."""

    kind: Literal["trend"]
    factor: str
    direction: Literal["rising", "falling"]


Hypothesis = Annotated[
    Greater | NotWorse | Equivalent | AtChance | Reaches | Faster | Best | Trend, Field(discriminator="kind")
]


def moment_of(hypothesis: Hypothesis) -> At | None:
    """Return the moment of training that a hypothesis names; None for the end."""
    return None if hypothesis.kind == "faster" else hypothesis.at


def selectors(hypothesis: Hypothesis) -> dict[str, Selector]:
    """Return the selectors of a hypothesis by their key; none for `best` and `trend`."""
    return {key: getattr(hypothesis, key) for key in ("a", "b") if key in type(hypothesis).model_fields}
