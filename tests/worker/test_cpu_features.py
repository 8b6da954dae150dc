"""What is said of a processor that multiplies in bfloat16."""

from pathlib import Path

import pytest

from cifarsweep.worker import sensors


def cpuinfo(folder: Path, *flags: str) -> Path:
    """As Linux writes it for a processor of two cores."""
    path = folder / "cpuinfo"
    said = f"flags\t\t: fpu {' '.join(flags)} sse2"
    core = f"processor\t: 0\nmodel name\t: Some CPU amx_bf16\n{said}\nbugs\t\t: avx512_bf16\n\n"
    path.write_text(core * 2)
    return path


@pytest.mark.parametrize(
    ("flags", "faster", "known"),
    [
        (["avx512_bf16", "amx_bf16", "amx_tile"], "amx_bf16", "amx_bf16"),
        (["avx512f", "avx512_bf16"], "", "slower than float32"),
        (["avx512f", "avx2", "xamx_bf16"], "", ""),
        ([], "", ""),
    ],
)
def test_only_a_flag_of_the_processor_counts(tmp_path: Path, flags: list[str], faster: str, known: str) -> None:
    here = cpuinfo(tmp_path, *flags)

    for said, expected in ((sensors.faster_precision(here), faster), (sensors.precisions(here), known)):
        assert expected in said and bool(said) == bool(expected)
    assert ("--set precision=bfloat16" in sensors.precisions(here)) == bool(faster)


def test_a_system_that_does_not_say_has_none(tmp_path: Path) -> None:
    assert sensors.precisions(tmp_path / "absent") == sensors.faster_precision(tmp_path / "absent") == ""
