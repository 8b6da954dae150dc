"""Our own networks with their default settings, and their costs, so that their table needs no torch.

A test compares the costs with those that are counted on the networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cifarsweep.errors import SpecError
from cifarsweep.spec.image_shape import CIFAR, ImageShape
from cifarsweep.spec.misfits import misfit
from cifarsweep.spec.network_flops import forward_flops
from cifarsweep.spec.settings import ConvNet, Model, ResNet, ResNet9, Settings, ViT
from cifarsweep.spec.validation import nearest


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table of networks: options, pixels a side, and cost; a multiply-add counts as two."""

    name: str
    options: str
    size: int
    params: int
    flops: int


@dataclass(frozen=True, slots=True)
class OwnNetwork:
    """A network with its parameters: of the body for images of CIFAR, and for each class, channel and patch."""

    model: Model
    params: int
    params_a_class: int
    params_a_channel: int
    params_a_patch: int = 0

    def row(self, classes: int, shape: ImageShape = CIFAR) -> Row:
        """Return the row for images of a shape. Raises SpecError where they don't fit."""
        if problem := misfit(Settings(epochs=1, model=self.model), shape):
            raise SpecError(problem)
        params = self.params + self.params_a_class * classes
        params += self.params_a_channel * (shape.channels - CIFAR.channels)
        if isinstance(self.model, ViT):
            size = self.model.patch_size
            params += self.params_a_patch * ((shape.side // size) ** 2 - (CIFAR.side // size) ** 2)
        flops = forward_flops(self.model, classes, shape)
        assert flops is not None  # of our own networks it is known
        return Row(self.model.name, options(self.model), shape.side, params, flops)


OWN = (
    OwnNetwork(ConvNet(), 2_353_888, 257, 288),
    OwnNetwork(ResNet9(), 6_568_000, 513, 576),
    OwnNetwork(ResNet(name="resnet18"), 11_168_832, 513, 576),
    OwnNetwork(ResNet(name="resnet34"), 21_276_992, 513, 576),
    OwnNetwork(ResNet(name="resnet50"), 23_500_352, 2049, 576),
    OwnNetwork(ResNet(name="resnet101"), 42_492_480, 2049, 576),
    OwnNetwork(ResNet(name="resnet152"), 58_136_128, 2049, 576),
    OwnNetwork(ViT(), 3_192_576, 257, 4096, 256),
    OwnNetwork(ViT(stem="conv"), 3_288_896, 257, 576, 256),
)


def own_rows(names: Sequence[str], classes: int, shape: ImageShape = CIFAR) -> list[Row]:
    """Return the networks of these names, in their order, or all that images of the shape fit.

    Raises SpecError for an unknown name, and for a named network that they don't fit.
    """
    if not names:
        fitting = [known for known in OWN if not misfit(Settings(epochs=1, model=known.model), shape)]
        return [known.row(classes, shape) for known in fitting]
    return [row for name in names for row in _called(name, classes, shape)]


def options(model: Model) -> str:
    """Return the settings that differ from the model's defaults, as a study writes them."""
    fields = model.model_dump(exclude_defaults=True).items()
    return ", ".join(f"{key} = {value}" for key, value in fields if key != "name")


def _called(name: str, classes: int, shape: ImageShape) -> list[Row]:
    found = [known.row(classes, shape) for known in OWN if known.model.name == name]
    if not found:
        names = list(dict.fromkeys(known.model.name for known in OWN))
        raise SpecError(f"no model {name!r}.{nearest(name, names)} There are {', '.join(names)} and timm:NAME.")
    return found
