"""The plain alternative that training is measured against: the loop of most tutorials, and networks as usually written.

A DataLoader over PIL images with torchvision's transforms, float32 tensors with the channels first, torch's AdamW as
it comes, and `.item()` on loss and accuracy at each step. The ViT is timm's `VisionTransformer` of the same sizes (its
patches replaced by our convolutions where the stem is a convolutional one), a network of timm is timm's own, and the
others are ours with the channels first, for their definitions are the usual ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from cifarsweep.data.dataset import Dataset as DataSet
from cifarsweep.data.dataset import load
from cifarsweep.models import build
from cifarsweep.spec.settings import Model, Settings, ViT


def plain_network(settings: Model, classes: int) -> nn.Module:
    """The same network as usually written, channels first: parameters, and what it computes from them, are the same."""
    ours = build(settings, classes).to(memory_format=torch.contiguous_format)
    if not isinstance(settings, ViT):
        return ours
    from timm.models.vision_transformer import VisionTransformer

    dropout = {name: settings.dropout for name in ("pos_drop_rate", "proj_drop_rate")}
    vit = VisionTransformer(
        img_size=32, patch_size=settings.patch_size, num_classes=classes, embed_dim=settings.width, **dropout,
        depth=settings.depth, num_heads=settings.heads, mlp_ratio=settings.mlp_ratio, norm_layer=nn.LayerNorm,
    )  # fmt: skip
    vit.patch_embed.proj = ours.stem
    return vit


class Pictures(Dataset[tuple[torch.Tensor, int]]):
    """Training images, cropped, mirrored and normalised one by one."""

    def __init__(self, images: DataSet) -> None:
        self._pictures = images.train_images.permute(0, 2, 3, 1).contiguous().numpy()
        self._labels = images.train_labels.tolist()
        crop = [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
        self._ready = transforms.Compose([*crop, transforms.Normalize((0.5,) * 3, (0.25,) * 3)])

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self._ready(Image.fromarray(self._pictures[index])), self._labels[index]


def plain_step(
    model: nn.Module, optimizer: torch.optim.Optimizer, batch: torch.Tensor, labels: torch.Tensor
) -> tuple[float, float]:
    """Take one step; return loss and accuracy, as most loops ask for them each time."""
    optimizer.zero_grad()
    logits = model(batch)
    loss = nn.functional.cross_entropy(logits, labels)
    loss.backward()
    optimizer.step()
    return loss.item(), (logits.argmax(1) == labels).float().mean().item()


def usual_loop(
    settings: Settings, turn: int, root: Path | None = None, *, device: str = "cpu", workers: int = 0
) -> Iterator[None]:
    """Train for ever on the data set of `settings`; each item is `turn` steps. Without workers it loads in between."""
    images = load(settings.dataset, root)
    model = plain_network(settings.model, len(images.classes)).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    options = {"num_workers": workers, "pin_memory": bool(workers)}
    loader = DataLoader(Pictures(images), settings.batch_size, shuffle=True, drop_last=True, **options)
    step = 0
    while True:
        for batch, labels in loader:
            plain_step(model, optimizer, batch.to(device), labels.to(device))
            step += 1
            if step % turn == 0:
                yield
