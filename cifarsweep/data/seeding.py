"""Random numbers by key: whoever knows the seed, the purpose and the epoch draws the same ones, in any order."""

from __future__ import annotations

import hashlib

import torch


def key(seed: int, purpose: str, epoch: int) -> int:
    """64 bits of the SHA-256 of `seed/purpose/epoch`: near seeds and epochs share nothing."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{purpose}/{epoch}".encode()).digest()[:8], "little")


def generator(seed: int, purpose: str, epoch: int) -> torch.Generator:
    """A new CPU generator for that key."""
    return torch.Generator().manual_seed(key(seed, purpose, epoch))
