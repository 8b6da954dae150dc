"""What a process that trains must do before anything else, the import of torch included. No torch in here."""

from __future__ import annotations

import ctypes
import os
import sys

#: mallopt(3): the size from which a block is mapped on its own, and the free memory at the top that is given back.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def prepare_process() -> None:
    """Set what CUDA and the allocator read once, early; other processes are not touched.

    Without `CUBLAS_WORKSPACE_CONFIG`, cuBLAS may add in another order each time, and `determinism = "exact"` refuses to
    run on a GPU (docs.nvidia.com/cuda/cublas, section "Results Reproducibility").
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if sys.platform == "linux":
        _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Make glibc keep what torch frees: otherwise each step returns its activations and faults them in again.

    Worth 5 to 15 % of a convnet's CPU time. Another C library has no `mallopt`, or refuses; then nothing changes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)
