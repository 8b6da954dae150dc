"""Makes a trial repeatable: switches of torch, and the global random generators."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

from cifarsweep.data.seeding import derive_seed
from cifarsweep.spec.settings import Settings


def make_repeatable(settings: Settings) -> None:
    """Set every switch of this process that affects the last bits. Nothing is left over from an earlier trial.

    Source: pytorch.org/docs/stable/notes/randomness.html.
    """
    exact = settings.determinism == "exact"
    torch.set_num_threads(settings.threads)
    # The same switch as use_deterministic_algorithms, which imports torch's compiler: 2 seconds for nothing.
    torch.set_deterministic_debug_mode("error" if exact else "default")
    torch.backends.cudnn.deterministic = exact
    torch.backends.cudnn.benchmark = not exact
    _use_ieee_float32()
    # Deterministic mode would also fill every new tensor with nan, only to expose reads of uninitialised memory.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def _use_ieee_float32() -> None:
    """Use float32 as of IEEE 754: cuDNN's default rounds the inputs of convolutions to the 10 bits of TF32.

    The old switches come first, so that libraries can still read them: torch refuses that if old and new disagree.
    """
    backends: Any = torch.backends
    backends.cudnn.allow_tf32 = backends.cuda.matmul.allow_tf32 = False
    for operation in (backends.cudnn.conv, backends.cudnn.rnn, backends.cuda.matmul):
        operation.fp32_precision = "ieee"


def seed_global_generators(seed: int, device: int = 0) -> None:
    """Seed the generators that library code draws from, such as dropout: others for each device of a trial."""
    number = derive_seed(seed, f"global of device {device}" if device else "global", 0)
    torch.manual_seed(number)  # CUDA's as well, even before CUDA starts
    np.random.seed(number % 2**32)
    random.seed(number)


def generator_states(device: torch.device) -> dict[str, Any]:
    """Return the global generators' states as tensors and plain values, which load without pickle."""
    name, keys, *rest = np.random.get_state(legacy=True)
    states: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "numpy": (name, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest),
        "python": random.getstate(),
    }
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def restore_generators(states: dict[str, Any], device: torch.device) -> None:
    """Restore the states that `generator_states` returned."""
    name, keys, *rest = states["numpy"]
    torch.set_rng_state(states["torch"])
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    random.setstate(states["python"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)
