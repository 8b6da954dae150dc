"""How many devices the trials of a study train on, and what they are called together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cifarsweep.spec.settings import ConvNet, Model, ResNet, ResNet9, ViT
from cifarsweep.spec.study import Cell, Study

#: Images below which the statistics of batch norm are so noisy that errors rise (Wu & He 2018, arXiv 1803.08494).
_ENOUGH_FOR_BATCH_NORM = 16


def devices_of(study: Study) -> set[int]:
    """Return the numbers of devices that its trials take; none for a program or an imported study."""
    searched = study.search.space.get("devices") if study.search else None
    ends = {int(value) for value in searched.ends if isinstance(value, int)} if searched else set()
    return ends | {cell.own_settings.devices for cell in study.cells if cell.own_settings is not None}


def device_text(model: str, devices: int, versions: Mapping[str, str]) -> str:
    """Return `2 x NVIDIA H200`, or `2 processes on` a processor; the model alone for one device, or if it is unknown.

    `versions` are those that the trial ran with: there is one of CUDA where it ran on GPUs.
    """
    if devices == 1 or not model:
        return model
    return f"{devices} x {model}" if "cuda" in versions else f"{devices} processes on {model}"


def has_batch_norm(model: Model) -> bool | None:
    """Return whether a network has batch norm; None for one of timm or of the user's own."""
    match model:
        case ConvNet():
            return model.norm == "batch"
        case ViT():
            return model.stem == "conv"
        case ResNet() | ResNet9():
            return True
        case _:
            return None


def device_notes(cell: Cell) -> Iterator[str]:
    """Yield what trials of several devices need, and what batch norm loses by their small parts of a batch."""
    its = cell.settings
    if its.devices == 1:
        return
    yield (
        f"each trial trains on {its.devices} GPUs: start workers by `cifarsweep launch --gpus-per-trial "
        f"{its.devices}`; on a processor it has as many processes"
    )
    images = its.batch_size // its.devices
    if images < _ENOUGH_FOR_BATCH_NORM and its.batch_norm == "device" and has_batch_norm(its.model):
        yield (
            f"batch norm measures {images} image{'s' * (images > 1)} on each device, and is noisy below "
            f'{_ENOUGH_FOR_BATCH_NORM}: set batch_norm = "synchronised", or a larger batch_size'
        )
