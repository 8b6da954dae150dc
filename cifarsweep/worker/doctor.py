"""Findings of `doctor` on this machine: devices, versions, data sets, room for checkpoints."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib import metadata, util
from pathlib import Path
from shutil import disk_usage

from cifarsweep.checkpoints.location import check_location
from cifarsweep.data.catalog import ROOT_VARIABLE, data_root, installed
from cifarsweep.errors import CifarsweepError, DataError, LocationError
from cifarsweep.store.admin.doctor import Finding, disk
from cifarsweep.version import __version__
from cifarsweep.worker import gpus
from cifarsweep.worker.sensors import precisions

#: Packages whose versions decide what a study finds, or how it is stored.
_PACKAGES = ("torch", "torchvision", "timm", "numpy", "optuna", "sqlalchemy", "psycopg", "submitit")
#: What a container has of it by default, 64 MiB, is too little for NCCL
#: (docs.nvidia.com/deeplearning/nccl/user-guide, "Troubleshooting", "Shared Memory"). Bytes.
_SHARED_MEMORY, _ENOUGH_SHARED_MEMORY = Path("/dev/shm"), 2**29  # noqa: S108 - looked at, not written


def examine(location: str | LocationError) -> Iterator[Finding]:
    """Yield the findings on this machine. `location` is where checkpoints go, or why there is no such location."""
    yield Finding("cifarsweep", "ok", f"{__version__}, Python {platform.python_version()}, {platform.platform()}")
    yield _packages()
    yield Finding("processor", "ok", "; ".join(filter(None, (f"{os.cpu_count()} CPUs", precisions()))))
    yield from _gpus()
    yield from _data_sets()
    yield from _checkpoints(location)


def _packages() -> Finding:
    found = {name: _version(name) for name in _PACKAGES}
    here = ", ".join(f"{name} {version}" for name, version in found.items() if version)
    absent = ", ".join(name for name, version in found.items() if not version)
    if not found["torch"]:
        return Finding("packages", "fail", f"{here}; without torch nothing trains: install cifarsweep again")
    return Finding("packages", "ok", here + (f" (not here: {absent})" if absent else ""))


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _gpus() -> Iterator[Finding]:
    try:
        found, supported = gpus.installed(), gpus.supported_cuda()
    except CifarsweepError as error:
        yield Finding("GPU", "warn" if isinstance(error, gpus.NoDriver) else "fail", str(error))
        return
    for number, gpu in enumerate(found):
        yield _gpu(f"GPU {number}", gpu)
    if found:
        yield _cuda(found[0].driver, supported)
    if (chosen := os.environ.get(gpus.VISIBLE)) is not None:
        seen = ", ".join(map(str, gpus.visible(found))) or "none"
        yield Finding("visible GPUs", "ok", f"{seen} of {len(found)}, by {gpus.VISIBLE}={chosen}")
    yield from _several([found[number].name for number in gpus.visible(found)])


def _several(models: Sequence[str]) -> Iterator[Finding]:
    """Say of several GPUs which of them one trial can take, and check the memory that its processes share."""
    if len(models) < 2:
        return
    groups = [[number for number, name in enumerate(models) if name == model] for model in dict.fromkeys(models)]
    each = (f"{len(group)} x {models[group[0]]} (--gpu {','.join(map(str, group))})" for group in groups)
    alike = "" if len(groups) == 1 else "; those of one trial have to be of one model"
    yield Finding("GPUs for one trial", "ok", f"{', '.join(each)}, for studies with `devices` above 1{alike}")
    with suppress(OSError):
        size = disk_usage(_SHARED_MEMORY).total
        if size < _ENOUGH_SHARED_MEMORY:
            advice = "GPUs of one trial exchange gradients through it: give a container more (docker run --shm-size 2g)"
            yield Finding("shared memory", "warn", f"{_SHARED_MEMORY} has {size / 2**20:.0f} MiB; {advice}")


def _gpu(subject: str, gpu: gpus.Gpu) -> Finding:
    if gpu.fault:
        return Finding(subject, "fail", f"does not answer: {gpu.fault}; restart the machine, or leave this GPU out")
    if gpu.memory is None or gpu.free is None:
        return Finding(subject, "ok", f"{gpu.name}, memory unknown, driver {gpu.driver}")
    room = f"{gpu.free / 2**30:.0f} of {gpu.memory / 2**30:.0f} GiB free"
    busy = gpu.free < gpu.memory / 2
    advice = "; something else fills it, `nvidia-smi` names it" if busy else ""
    return Finding(subject, "warn" if busy else "ok", f"{gpu.name}, {room}, driver {gpu.driver}{advice}")


def _cuda(driver: str, supported: str | None) -> Finding:
    """Check that torch fits the driver, before the first worker fails on it."""
    build = _torch_build()
    if build is None or build.get("hip"):
        return Finding("CUDA", "warn", "which CUDA torch is built for can't be read: try `cifarsweep worker`")
    torch, built_for = str(build.get("__version__")), build.get("cuda")
    if mismatch := gpus.cuda_mismatch(torch, built_for, driver, supported):
        return Finding("CUDA", "fail", mismatch)
    return Finding(
        "CUDA", "ok", f"driver {driver} supports {supported or 'an unknown version'}, torch needs {built_for}"
    )


def _torch_build() -> dict[str, str | None] | None:
    """Read torch's version file without importing torch; None if it can't be read."""
    try:
        spec = util.find_spec("torch")
        text = (Path(spec.origin).parent / "version.py").read_text() if spec and spec.origin else ""
    except (OSError, ValueError):
        return None
    found = re.findall(r"^(\w+)[^=\n]*= (?:None|'([^']*)')", text, re.MULTILINE)
    build = {name: value or None for name, value in found}
    return build if "cuda" in build else None


def _data_sets() -> Iterator[Finding]:
    damaged: list[DataError] = []
    try:
        names, root = [info.name for info in installed(on_damaged=damaged.append)], data_root()
    except DataError as error:
        yield Finding("data sets", "fail", str(error))
        return
    for each in damaged:
        yield Finding("data sets", "fail", str(each))
    if names:
        yield Finding("data sets", "ok", f"{', '.join(names)} in {root}")
    elif not damaged and _check_folder(root).level == "fail":
        yield Finding(
            "data sets", "fail", f"none in {root}, where none can be written; let {ROOT_VARIABLE} name another"
        )
    elif not damaged:
        advice = "digits make themselves, others come by `cifarsweep data download NAME`"
        yield Finding("data sets", "warn", f"none in {root}; {advice}")


def _checkpoints(location: str | LocationError) -> Iterator[Finding]:
    if isinstance(location, LocationError):
        yield Finding("checkpoints", "fail", str(location))
        return
    local = "://" not in location
    yield _check_folder(Path(location)) if local else _check_writable(location, f"{location} can be written")
    if local:
        yield disk("disk of the checkpoints", Path(location))


def _check_folder(path: Path) -> Finding:
    """Check that a folder can be written; if it does not exist, that its nearest parent can."""
    there = next(each for each in (path, *path.parents) if os.path.lexists(each))
    if there == path:
        return _check_writable(str(path), f"{path} can be written")
    return _check_writable(str(there), f"{path} can be made by a worker", f"{path} is not there, and ")


def _check_writable(location: str, fine: str, otherwise: str = "") -> Finding:
    try:
        check_location(location)
    except CifarsweepError as error:
        return Finding("checkpoints", "fail", f"{otherwise}{error}")
    return Finding("checkpoints", "ok", fine)
