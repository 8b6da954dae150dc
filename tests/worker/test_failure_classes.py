"""What the errors of torch and CUDA mean, by the texts of torch 2.15 and CUDA 13; and what a child makes of them."""

import errno

import pytest

from cifarsweep.worker.failures import Failure, classify, explain


class OutOfMemoryError(RuntimeError):
    """As torch calls its own."""


class AcceleratorError(RuntimeError):
    """As torch calls CUDA's."""


def cuda(text: str) -> AcceleratorError:
    """As c10/cuda/CUDAException.cpp writes it."""
    more = (
        "CUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace below might be"
    )
    return AcceleratorError(f"CUDA error: {text}\nSearch for `cudaError' in https://docs.nvidia.com for more.\n{more}")


def cublas(status: str, call: str = "cublasSgemm( handle, opa, opb, m, n, k, &alpha, a, lda, b, ldb, &beta, c, ldc)"):
    return RuntimeError(f"CUDA error: {status} when calling `{call}`")


OUT_OF_MEMORY = [
    MemoryError(),
    MemoryError("Unable to allocate 3.2 GiB for an array with shape (50000, 32, 32, 3)"),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
    ImportError("libtorch_cpu.so: failed to map segment from shared object"),
    ImportError("libcudnn.so.9: cannot allocate memory"),
    OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.11 GiB"),
    OutOfMemoryError("Allocation on device 0 would exceed allowed memory. (out of memory)"),
    RuntimeError(
        "CUDA ran out of memory outside PyTorch's allocator. If this workload uses many dynamic shapes, cuDNN"
    ),
    RuntimeError("CUDA driver error: out of memory"),
    RuntimeError('NVML_SUCCESS == r INTERNAL ASSERT FAILED at "/pytorch/c10/cuda/CUDACachingAllocator.cpp":1131'),
    RuntimeError("std::bad_alloc"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED"),
    RuntimeError("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED"),
    RuntimeError("cusolver error: CUSOLVER_STATUS_ALLOC_FAILED, when calling `cusolverDnCreate(handle)`. "),
    cublas("CUBLAS_STATUS_ALLOC_FAILED", "cublasCreate(handle)"),
    cublas("CUBLAS_STATUS_NOT_INITIALIZED", "cublasCreate(handle)"),
    cuda("out of memory"),
    cuda("the hardware resources required to create MPS client have been exhausted"),
]
DEVICE_LOST = [
    *map(
        cuda,
        [
            *("an illegal memory access was encountered", "an illegal instruction was encountered"),
            *("misaligned address", "invalid program counter", "hardware stack error", "device-side assert triggered"),
            *("unspecified launch failure", "the launch timed out and was terminated", "unknown error"),
            *("uncorrectable ECC error encountered", "uncorrectable NVLink error detected during the execution"),
            *("operation not supported on global/shared address space", "driver shutting down", "device not ready"),
            *("no CUDA-capable device is detected", "the MPS client has been terminated by the server"),
            *("CUDA-capable device(s) is/are busy or unavailable", "system not yet initialized"),
            "Invalid access of peer GPU memory over nvlink or a hardware error",
        ],
    ),
    cublas("CUBLAS_STATUS_EXECUTION_FAILED"),
    cublas("CUBLAS_STATUS_INTERNAL_ERROR"),
    cublas("CUBLAS_STATUS_MAPPING_ERROR"),
    RuntimeError("CUDA error: an illegal memory access was encountered"),
    RuntimeError("CUDA driver error: an illegal memory access was encountered"),
    RuntimeError("CUDA driver error: unknown error"),
    RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
    RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED_CUDA_DRIVER"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR"),
    RuntimeError("cuDNN error: CUDNN_STATUS_SUBLIBRARY_LOADING_FAILED"),
    RuntimeError("cuDNN Frontend error: CUDNN_BACKEND_EXECUTION failed CUDNN_STATUS_EXECUTION_FAILED"),
    RuntimeError("cusolver error: CUSOLVER_STATUS_EXECUTION_FAILED, when calling `cusolverDnSgetrf(...)`. "),
    RuntimeError("cuFFT error: CUFFT_EXEC_FAILED"),
    RuntimeError('block INTERNAL ASSERT FAILED at "/pytorch/c10/cuda/CUDACachingAllocator.cpp":1302, please report'),
]
NOT_DETERMINISTIC = [
    RuntimeError(
        f"{name} does not have a deterministic implementation, but you set 'torch.use_deterministic_algorithms"
    )
    for name in ("adaptive_avg_pool2d_backward_cuda", "reflection_pad2d_backward_cuda", "upsample_bilinear2d_backward")
]
REFUSED = [
    RuntimeError(
        "cuDNN error: CUDNN_STATUS_NOT_SUPPORTED. This error may appear if you passed in a non-contiguous input."
    ),
    RuntimeError("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED_SHAPE"),
    RuntimeError("cuDNN error: CUDNN_STATUS_BAD_PARAM"),
    RuntimeError("cuDNN Frontend error: [cudnn_frontend] Error: No valid execution plans built."),
    RuntimeError("GET was unable to find an engine to execute this computation"),
    RuntimeError("FIND was unable to find an engine to execute this computation"),
    cublas("CUBLAS_STATUS_NOT_SUPPORTED", "cublasLtMatmulAlgoGetHeuristic( ltHandle, computeDesc.descriptor(), ...)"),
    cublas("CUBLAS_STATUS_INVALID_VALUE"),
    cuda("invalid configuration argument"),
    cuda("invalid argument"),
    cuda("operation not supported"),
    cuda("no kernel image is available for execution on the device"),
    cuda("too many resources requested for launch"),
]
ORDINARY = [
    ValueError("the memory of this network is short"),
    RuntimeError("mat1 and mat2 shapes cannot be multiplied (128x512 and 256x10)"),
    RuntimeError("Input type (torch.cuda.FloatTensor) and weight type (torch.FloatTensor) should be the same"),
    KeyError("CUDA"),
    ImportError("libgomp.so.1: cannot allocate memory in static TLS block"),
    FileNotFoundError("no such data set"),
    RuntimeError('self INTERNAL ASSERT FAILED at "/pytorch/aten/src/ATen/native/TensorShape.cpp":1, please report'),
]
CASES = [
    *((error, Failure.OUT_OF_MEMORY) for error in OUT_OF_MEMORY),
    *((error, Failure.DEVICE_LOST) for error in DEVICE_LOST),
    *((error, Failure.OWN) for error in (*NOT_DETERMINISTIC, *REFUSED, *ORDINARY)),
]


@pytest.mark.parametrize(("error", "kind"), CASES, ids=lambda value: str(value)[:60])
def test_an_error_is_known_by_what_it_says(error, kind):
    assert classify(error) is kind


@pytest.mark.parametrize("error", NOT_DETERMINISTIC, ids=str)
def test_what_has_no_deterministic_form_is_said_in_a_sentence_with_a_way_out(error):
    text = explain(error, "exact")

    assert text.startswith(f"{str(error).split()[0]} gives other bits each time on a GPU")
    assert "--set determinism=fast" in text and "--cpu" in text and "\n" not in text


@pytest.mark.parametrize("error", REFUSED, ids=str)
def test_what_a_gpu_has_no_way_to_compute_says_why_and_keeps_its_message(error):
    assert "--set determinism=fast" in explain(error, "exact") and str(error) in explain(error, "exact")
    assert explain(error, "fast") == f"{type(error).__name__}: {error}"


@pytest.mark.parametrize("error", ORDINARY, ids=str)
def test_other_errors_speak_for_themselves(error):
    assert explain(error, "exact") == f"{type(error).__name__}: {error}"
