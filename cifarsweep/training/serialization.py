"""Turns the contents of a checkpoint into bytes that load without running code."""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from cifarsweep.checkpoints.folder import Folder
from cifarsweep.errors import CheckpointError
from cifarsweep.spec.types import CheckpointRef


def save(folder: Folder, step: int, state: Mapping[str, Any]) -> CheckpointRef:
    """Write tensors and plain values to a new file. OSError without space, permission or connection."""
    return folder.write(step, pack(state))


def pack(state: Mapping[str, Any]) -> memoryview:
    """Return the bytes of tensors and plain values."""
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    return buffer.getbuffer()


def unpack(payload: bytes) -> dict[str, Any]:
    """Return what `pack` was given, on the CPU. Raises what torch raises for anything else."""
    state: dict[str, Any] = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    return state


def load(folder: Folder, ref: CheckpointRef) -> dict[str, Any]:
    """Return what `save` was given, on the CPU; the digest is checked before torch sees a byte.

    CheckpointError if the file is absent, damaged, or holds more than tensors and plain values.
    """
    payload = folder.read(ref)
    try:
        state = unpack(payload)
    except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError, KeyError) as error:
        raise CheckpointError(f"checkpoint {ref.path} is not one of cifarsweep's: {error}") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"checkpoint {ref.path} is not one of cifarsweep's: it holds a {type(state).__name__}")
    return state


def weights_sha256(weights: Mapping[str, Tensor]) -> str:
    """Digest names, shapes, dtypes and raw bytes of a state_dict, whatever its memory layout and device."""
    digest = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        plain = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {tuple(plain.shape)} {plain.dtype}\n".encode())
        digest.update(plain.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
