"""`doctor`'s view of this machine: devices, versions, data sets, room for checkpoints. Imports no torch."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from cifarsweep import __version__
from cifarsweep.data.catalog import data_root, installed
from cifarsweep.errors import CifarsweepError, DataError
from cifarsweep.store.diagnosis import Finding, disk
from cifarsweep.training.place import check_place
from cifarsweep.worker import gpus

#: Packages whose versions decide what a study finds, or how it is stored.
_PACKAGES = ("torch", "torchvision", "timm", "numpy", "optuna", "sqlalchemy", "psycopg", "submitit")


def examine(place: str) -> Iterator[Finding]:
    """Everything about this machine; `place` is where the checkpoints go."""
    yield Finding("cifarsweep", "ok", f"{__version__}, Python {platform.python_version()}, {platform.platform()}")
    yield _packages()
    yield from _gpus()
    yield from _data_sets()
    yield from _checkpoints(place)


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
        found = gpus.installed()
    except CifarsweepError as error:
        yield Finding("GPU", "warn", str(error))
        return
    for number, gpu in enumerate(found):
        room = f"{gpu.free / 2**30:.0f} of {gpu.memory / 2**30:.0f} GiB free"
        busy = gpu.free < gpu.memory / 2
        advice = "; something else fills it, `nvidia-smi` names it" if busy else ""
        yield Finding(f"GPU {number}", "warn" if busy else "ok", f"{gpu.name}, {room}, driver {gpu.driver}{advice}")


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
    elif not damaged:
        advice = "digits make themselves, others come by `cifarsweep data download NAME`"
        yield Finding("data sets", "warn", f"none in {root}; {advice}")


def _checkpoints(place: str) -> Iterator[Finding]:
    local = "://" not in place
    yield _folder(Path(place)) if local else _place(place, f"{place} can be written")
    if local:
        yield disk("disk of the checkpoints", Path(place))


def _folder(path: Path) -> Finding:
    """Whether a folder can be written, or made: where it isn't there yet, the one that it would be made in is tried."""
    there = next(each for each in (path, *path.parents) if os.path.lexists(each))
    if there == path:
        return _place(str(path), f"{path} can be written")
    return _place(str(there), f"{path} can be made by a worker", f"{path} is not there, and ")


def _place(place: str, fine: str, otherwise: str = "") -> Finding:
    try:
        check_place(place)
    except CifarsweepError as error:
        return Finding("checkpoints", "fail", f"{otherwise}{error}")
    return Finding("checkpoints", "ok", fine)
