"""Random numbers by seed, purpose and epoch: the same ones for the same three, in whatever order they are drawn."""

from __future__ import annotations

import hashlib

import torch


def derive_seed(seed: int, purpose: str, epoch: int) -> int:
    """64 bits of the SHA-256 of `seed/purpose/epoch`, so that similar seeds and epochs share nothing."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{purpose}/{epoch}".encode()).digest()[:8], "little")


def generator(seed: int, purpose: str, epoch: int) -> torch.Generator:
    """A new CPU generator for this seed, purpose and epoch."""
    return torch.Generator().manual_seed(derive_seed(seed, purpose, epoch))
