"""The plain alternative of the benchmarks is the same network, so that a ratio of times compares nothing else."""

from pathlib import Path

import pytest
import torch

from cifarsweep.models import build
from cifarsweep.spec.settings import ViT

RENAMED = {
    "class_token": "cls_token",
    "positions": "pos_embed",
    "stem.": "patch_embed.proj.",
    "attention.out": "attn.proj",
    "mlp.0": "mlp.fc1",
    "mlp.3": "mlp.fc2",
}


def as_timm_calls_them(weights):
    """Our ViT's weights under timm's names, where queries, keys and values lie in one tensor."""
    renamed = {}
    for name, tensor in weights.items():
        if "attention.key_value" in name:
            continue
        if "attention.query" in name:
            tensor = torch.cat((tensor, weights[name.replace("query", "key_value")]))
            name = name.replace("attention.query", "attn.qkv")
        for ours, theirs in RENAMED.items():
            name = name.replace(ours, theirs)
        renamed[name] = tensor
    return renamed


@pytest.mark.parametrize("stem", ["patch", "conv"])
def test_our_vit_is_timms(monkeypatch, stem):
    pytest.importorskip("timm", reason="the extra `timm` is not installed")
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    from usual_loop import plain_network

    settings = ViT(width=32, depth=3, heads=4, patch_size=8, stem=stem)
    ours, plain = build(settings, 10, torch.Generator().manual_seed(0)), plain_network(settings, 10)
    plain.load_state_dict(as_timm_calls_them(ours.state_dict()))
    images = torch.randn(4, 3, 32, 32)

    torch.testing.assert_close(ours.train()(images), plain.train()(images), rtol=1e-3, atol=1e-4)


def test_the_careful_loop_crops_mirrors_and_normalises_as_ours_does(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    from careful_loop import augmented

    padded = torch.nn.functional.pad(torch.randint(256, (6, 3, 8, 8), dtype=torch.uint8), (4,) * 4)
    order = torch.tensor([3, 0, 5, 1])

    found = augmented(padded, order)

    assert found.is_contiguous(memory_format=torch.channels_last)
    for image, index in zip(found, order, strict=True):
        crops = [padded[index][:, down : down + 8, right : right + 8] for down in range(9) for right in range(9)]
        normalised = [(crop.float() / 255 - 0.5) / 0.25 for crop in crops]
        possible = normalised + [each.flip(2) for each in normalised]
        assert any(torch.allclose(image, each, atol=1e-5) for each in possible)
