"""Every network with its cost, for a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from cifarsweep.errors import SpecError
from cifarsweep.models import timm_nets
from cifarsweep.models.convnet import IMAGE_SIZE
from cifarsweep.models.cost import cost
from cifarsweep.spec.complaint import explain, nearest
from cifarsweep.spec.settings import ConvNet, Model, ResNet, ResNet9, Timm, ViT

#: More networks of timm than this at once are a pattern that wants to be narrower.
MOST_TIMM = 60

OWN: tuple[Model, ...] = (
    ConvNet(),
    ResNet9(),
    ResNet(name="resnet18"),
    ResNet(name="resnet34"),
    ResNet(name="resnet50"),
    ResNet(name="resnet101"),
    ResNet(name="resnet152"),
    ViT(),
    ViT(stem="conv"),
)


@dataclass(frozen=True, slots=True)
class Row:
    """One network: what a study sets for it beside its name, pixels a side, and its cost as `cost` counts it."""

    name: str
    options: str
    size: int
    params: int
    flops: int


def rows(wanted: Sequence[str], pattern: str | None, classes: int, img_size: int | None) -> list[Row]:
    """The networks called `wanted` and those of timm that match `pattern`; all of our own where neither is given.

    `img_size` is for networks of timm, ours see 32x32. Raises SpecError for a name that nobody knows.
    """
    chosen = [model for name in wanted for model in _called(name, img_size)]
    chosen += [_timm(name, img_size) for name in _matching(pattern)] if pattern else []
    return [_row(model, classes) for model in (chosen or OWN)]


def _called(name: str, img_size: int | None) -> list[Model]:
    if name.startswith(timm_nets.PREFIX):
        return [_timm(name, img_size)]
    found = [model for model in OWN if model.name == name]
    if not found:
        known = list(dict.fromkeys(model.name for model in OWN))
        raise SpecError(f"no model {name!r}.{nearest(name, known)} There are {', '.join(known)} and timm:NAME.")
    return found


def _timm(name: str, img_size: int | None) -> Timm:
    try:
        return Timm(name=name, img_size=img_size)
    except ValidationError as error:
        raise SpecError(explain(error, Timm, "models")) from None


def _matching(pattern: str) -> list[str]:
    found = timm_nets.names(pattern.removeprefix(timm_nets.PREFIX))
    if not found:
        raise SpecError(f"--timm: no model of timm matches {pattern!r}; try a pattern like 'vit_*_224'")
    if len(found) > MOST_TIMM:
        raise SpecError(
            f"--timm: {len(found):,} models match {pattern!r}, and at most {MOST_TIMM} are counted at once; narrow it"
        )
    return found


def _row(model: Model, classes: int) -> Row:
    price = cost(model, classes)
    size = timm_nets.input_size(model) if isinstance(model, Timm) else IMAGE_SIZE
    options = [f"{key} = {value}" for key, value in model.model_dump(exclude_defaults=True).items() if key != "name"]
    return Row(model.name, ", ".join(options), size, price.params, price.flops_per_image)
