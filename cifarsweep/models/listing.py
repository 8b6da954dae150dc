"""The table of networks, those of timm included, with their costs."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ValidationError

from cifarsweep.errors import SpecError
from cifarsweep.models import timm_models
from cifarsweep.models.registry import cost
from cifarsweep.spec.image_shape import CIFAR, ImageShape
from cifarsweep.spec.networks import Row, options, own_rows
from cifarsweep.spec.settings import Timm
from cifarsweep.spec.validation import explain

#: At most so many networks of timm at once; more need a narrower pattern.
MOST_TIMM = 60


def rows(
    wanted: Sequence[str], pattern: str | None, classes: int, img_size: int | None, shape: ImageShape = CIFAR
) -> list[Row]:
    """Return the networks called `wanted` and those of timm that match `pattern`; all of our own if neither is given.

    `img_size` is for networks of timm. Raises SpecError for an unknown name, and where images of `shape` don't fit.
    """
    chosen = [row for name in wanted for row in _called(name, classes, img_size, shape)]
    chosen += [_timm(name, classes, img_size, shape) for name in _matching(pattern)] if pattern else []
    return chosen or own_rows([], classes, shape)


def _called(name: str, classes: int, img_size: int | None, shape: ImageShape) -> list[Row]:
    if name.startswith(timm_models.PREFIX):
        return [_timm(name, classes, img_size, shape)]
    return own_rows([name], classes, shape)


def _timm(name: str, classes: int, img_size: int | None, shape: ImageShape) -> Row:
    try:
        model = Timm(name=name, img_size=img_size)
    except ValidationError as error:
        raise SpecError(explain(error, Timm, "models")) from None
    price = cost(model, classes, shape)
    size = timm_models.input_size(model)
    return Row(name, options(model), size, price.params, price.flops_per_image)


def _matching(pattern: str) -> list[str]:
    found = timm_models.names(pattern.removeprefix(timm_models.PREFIX))
    if not found:
        raise SpecError(f"--timm: no model of timm matches {pattern!r}; try a pattern like 'vit_*_224'")
    if len(found) > MOST_TIMM:
        raise SpecError(
            f"--timm: {len(found):,} models match {pattern!r}, and at most {MOST_TIMM} are counted at once; narrow it"
        )
    return found
