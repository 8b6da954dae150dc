"""What the processor can do beside float32."""

from __future__ import annotations

from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
#: Flags of x86 processors that multiply in bfloat16. Only with the first is it faster than float32: with the second
#: alone convolutions took 1.7 times as long (benchmarks/LOG.md).
_TILES, _VECTORS = "amx_bf16", "avx512_bf16"


def faster_precision(cpuinfo: Path = CPUINFO) -> str:
    """What to set to train faster on this processor, in words; empty where nothing does."""
    if _TILES not in _flags(cpuinfo):
        return ""
    return (
        f"it multiplies in bfloat16 ({_TILES}): `--set precision=bfloat16` at `create` trains faster here; "
        "the default on processors stays float32, so that results don't depend on which one it was"
    )


def precisions(cpuinfo: Path = CPUINFO) -> str:
    """The same, or why bfloat16 is not worth it here; empty where the processor doesn't know it."""
    if _VECTORS in _flags(cpuinfo) and not faster_precision(cpuinfo):
        return f"it has bfloat16 ({_VECTORS}) but no AMX, without which bfloat16 was slower than float32 when measured"
    return faster_precision(cpuinfo)


def _flags(cpuinfo: Path) -> set[str]:
    try:
        lines = cpuinfo.read_text(errors="replace").splitlines()
    except OSError:
        return set()
    return {flag for line in lines if line.startswith("flags") for flag in line.partition(":")[2].split()}
