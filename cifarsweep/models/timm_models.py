"""Networks of the timm package by name. The package is an extra, imported on first use."""

from __future__ import annotations

import contextlib
import difflib
import importlib
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cifarsweep.errors import DataError, SpecError, install_command
from cifarsweep.spec import settings as spec
from cifarsweep.spec.image_shape import ImageShape

PREFIX = "timm:"
_USUAL_SIZE = 224
_TIMEOUT_S = 10
_WEIGHT_FILES = ["model.safetensors", "pytorch_model.bin"]


class Resized(nn.Module):
    """A network that gets its images resized to `size` pixels a side, bilinearly and on their device."""

    def __init__(self, net: nn.Module, size: int) -> None:
        super().__init__()
        self.net, self.size = net, size

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, channels, side, side) to logits (N, classes)."""
        if self.size != images.shape[-1]:
            smaller = self.size < images.shape[-1]
            images = F.interpolate(images, size=(self.size, self.size), mode="bilinear", antialias=smaller)
        logits: Tensor = self.net(images)
        return logits


def build(settings: spec.Timm, classes: int, shape: ImageShape, generator: torch.Generator | None) -> nn.Module:
    """Return the network with a new classifier. timm draws from the global generator, seeded here and then restored.

    Raises SpecError if timm is not installed, does not know the name or can't build it for these images, DataError if
    its weights can't be fetched.
    """
    timm, config = _timm(settings), _config(settings)
    name = settings.name.removeprefix(PREFIX)
    size = input_size(settings)
    options = {"num_classes": classes, "in_chans": shape.channels}
    if config is not None and config.fixed_input_size:  # as of transformers
        options["img_size"] = size
    try:
        with _seeded(generator):
            net = timm.create_model(name, pretrained=settings.pretrained, **options)
    except Exception as error:  # noqa: BLE001 - timm and its hub raise whatever their libraries do
        if settings.pretrained:
            raise DataError(_no_weights(settings, error)) from error
        raise SpecError(f"model: {settings.name} can't be built for images of {size}x{size}: {error}") from error
    _check_patches(net, settings.name, size)
    return Resized(net, size)


def _check_patches(net: nn.Module, name: str, size: int) -> None:
    # timm would silently drop the pixels that fill no patch.
    patch = getattr(getattr(net, "patch_embed", None), "patch_size", None)
    if isinstance(patch, tuple) and size % int(patch[0]):
        raise SpecError(f"model.img_size: the patch size {patch[0]} of {name} does not divide {size}")


def input_size(settings: spec.Timm) -> int:
    """Return the side in pixels of the images that the network gets."""
    if settings.img_size is not None:
        return settings.img_size
    config = _config(settings)
    return int(config.input_size[-1]) if config is not None else _USUAL_SIZE


def smallest_batch(settings: spec.Timm, shape: ImageShape) -> int:
    """Return how many images a training batch needs, by a trial with one on the meta device."""
    with torch.device("meta"):
        model = build(settings.model_copy(update={"pretrained": False}), 2, shape, None).train()
        image = torch.empty(1, shape.channels, shape.side, shape.side)
    try:
        with torch.no_grad():
            model(image)
    except ValueError as error:  # of batch norm: "Expected more than 1 value per channel when training"
        if "more than 1 value" not in str(error):
            raise
        return 2
    return 1


def names(pattern: str) -> list[str]:
    """Return the names that match a pattern with `*` and `?`, in timm's order. Raises SpecError without timm."""
    found = _timm(None).list_models(pattern)
    return [f"{PREFIX}{name}" for name in found]


def check_weights(settings: spec.Timm) -> None:
    """Raise DataError unless the pretrained weights are here or can be fetched. Does not fetch them."""
    config = _config(settings)
    if config is None or not config.has_weights:
        raise DataError(_no_weights(settings, "timm has none for it"))
    if not config.hf_hub_id:
        return  # on another server, by URL: few networks, not checked here
    hub = importlib.import_module("huggingface_hub")
    files = [config.hf_hub_filename] if config.hf_hub_filename else _WEIGHT_FILES
    if any(isinstance(hub.try_to_load_from_cache(config.hf_hub_id, file), str) for file in files):
        return
    try:
        if not any(_is_there(hub, config.hf_hub_id, file) for file in files):
            raise FileNotFoundError(f"{config.hf_hub_id} holds no {' and no '.join(files)}")
    except Exception as error:  # noqa: BLE001 - the hub's client raises its own errors and those of its HTTP library
        raise DataError(_no_weights(settings, error)) from error


def _is_there(hub: Any, repository: str, file: str) -> bool:
    try:
        hub.get_hf_file_metadata(hub.hf_hub_url(repository, file), timeout=_TIMEOUT_S)
    except hub.errors.EntryNotFoundError:
        return False
    return True


def _timm(settings: spec.Timm | None) -> Any:
    try:
        return importlib.import_module("timm")
    except ModuleNotFoundError as error:
        if error.name != "timm":
            raise
        wanted = f"model.name: {settings.name}" if settings else "the list of timm's models"
        raise SpecError(f"{wanted} needs the package timm; install it with: {install_command('timm')}") from None


def _config(settings: spec.Timm) -> Any:
    """Return timm's record of the network's weights and images; None for the few without one."""
    timm = _timm(settings)
    name = settings.name.removeprefix(PREFIX)
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        raise SpecError(_unknown(settings.name, timm.list_models()))
    try:
        return timm.get_pretrained_cfg(name)
    except RuntimeError:
        known = timm.list_models(f"{architecture}*", pretrained=True, include_tags=True)
        raise SpecError(_unknown(settings.name, known)) from None


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name.removeprefix(PREFIX), known, n=3)
    hint = f" The nearest: {', '.join(PREFIX + one for one in near)}." if near else ""
    return f"model.name: timm has no model {name!r}.{hint} List them with: cifarsweep models --timm 'PATTERN'"


def _no_weights(settings: spec.Timm, reason: object) -> str:
    text = str(reason).strip().splitlines()[0][:300] if str(reason).strip() else type(reason).__name__
    return (
        f"model.pretrained: the weights of {settings.name} can't be fetched: {text}. Train from scratch with "
        "--set model.pretrained=false, or make the weights reachable (HF_HOME names the folder that keeps them)"
    )


@contextlib.contextmanager
def _seeded(generator: torch.Generator | None) -> Iterator[None]:
    if generator is None:
        yield
        return
    with torch.random.fork_rng(devices=[]):
        # Seed the default generator alone: torch.manual_seed would reseed the GPU's as well.
        torch.default_generator.manual_seed(int(torch.randint(1 << 62, (), generator=generator)))
        yield
