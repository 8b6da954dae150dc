"""Classifies the exception of a trial: memory is short, the device is lost, or the trial is at fault.

Exceptions are told by name and text, so that a child without torch works too. The texts are those of torch's sources
(c10/cuda/CUDAException.cpp, c10/cuda/CUDACachingAllocator.cpp, ATen/cuda/Exceptions.h) and of CUDA's libraries.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import Literal


class Failure(Enum):
    """How a trial failed."""

    #: Memory is short on this device or for this process; the trial may fit elsewhere.
    OUT_OF_MEMORY = auto()
    #: The device is unusable in this process: CUDA reports the same error at every later call.
    DEVICE_LOST = auto()
    #: The trial itself is at fault: another device or process would not change the result.
    OWN = auto()


#: A library handle that can't be created for want of memory reports "not initialized".
_OUT_OF_MEMORY = re.compile(
    r"out of memory|ALLOC_FAILED|ALLOCATION_FAILED|NOT_INITIALIZED|DefaultCPUAllocator|std::bad_alloc"
    r"|[Cc]annot allocate memory(?! in static TLS)|failed to map segment from shared object"
    r"|hardware resources required to .* have been exhausted"
    # Out of memory, torch asks NVML which process holds it, which fails in some containers and on parts of a GPU.
    r"|NVML_SUCCESS == .*INTERNAL ASSERT FAILED at .*CUDACachingAllocator"
)
#: Requests that CUDA and its libraries refuse before they start, which leaves the device usable.
_REFUSED = re.compile(
    r"STATUS_(NOT_SUPPORTED|BAD_PARAM|INVALID_VALUE|ARCH_MISMATCH)|MATRIX_TYPE_NOT_SUPPORTED"
    r"|unable to find an engine|No valid execution plans"
    r"|CUDA error: (invalid argument|invalid configuration argument|invalid device function|operation not supported"
    r"|too many resources requested for launch|no kernel image is available for execution on the device)$",
    re.MULTILINE,
)
_OF_THE_DEVICE = re.compile(
    r"CUDA error|CUDA driver error|cuDNN error|cuDNN Frontend error|cu(solver|FFT|dss|rand|SPARSE) error|CUTLASS error"
    r"|NCCL error|STATUS_(EXECUTION_FAILED|INTERNAL_ERROR|MAPPING_ERROR)|INTERNAL ASSERT FAILED at .*[Cc][Uu][Dd][Aa]",
    re.IGNORECASE,
)
_NOT_DETERMINISTIC = re.compile(r"(?:(\S+) )?does not have a deterministic implementation")


def classify(error: BaseException) -> Failure:
    """Return how a trial failed that raised `error`."""
    kind, text = type(error).__name__, str(error)
    if isinstance(error, MemoryError) or kind == "OutOfMemoryError" or _OUT_OF_MEMORY.search(text):
        return Failure.OUT_OF_MEMORY
    if _NOT_DETERMINISTIC.search(text) or _REFUSED.search(text):
        return Failure.OWN
    if kind == "AcceleratorError" or _OF_THE_DEVICE.search(text):
        return Failure.DEVICE_LOST
    return Failure.OWN


def explain(error: BaseException, determinism: Literal["exact", "fast"]) -> str:
    """Describe the error in a sentence, with what to do if that is known."""
    text = f"{type(error).__name__}: {error}"
    if determinism != "exact":
        return text
    advice = "create the study with --set determinism=fast, or train on the processor (worker --cpu)"
    if found := _NOT_DETERMINISTIC.search(text):
        operation = found[1] or "an operation of this model"
        return f'{operation} gives other bits each time on a GPU, which determinism = "exact" rules out: {advice}'
    if _REFUSED.search(text):
        why = 'the GPU has no way to compute this under determinism = "exact"'
        return f"{why}, which rules the usual ways out: {advice}. The message was: {text}"
    return text
