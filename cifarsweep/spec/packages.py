"""Installed packages that offer parts of a training as entry points. Nothing here imports them."""

from __future__ import annotations

import hashlib
import importlib.util
from functools import lru_cache
from importlib.metadata import Distribution, EntryPoint, PackageNotFoundError, distribution
from pathlib import Path

from cifarsweep.errors import DataError
from cifarsweep.spec.validation import nearest

#: The groups of entry points by the table of settings that names a part of theirs.
GROUPS = {
    "model": "cifarsweep.models",
    "optimizer": "cifarsweep.optimizers",
    "loss": "cifarsweep.losses",
    "augment.own": "cifarsweep.augmentations",
    "metrics": "cifarsweep.metrics",
}


def is_installed(package: str) -> bool:
    """Return whether a package of that name is installed."""
    try:
        distribution(package)
    except (PackageNotFoundError, ValueError):
        return False
    return True


def entry_point(table: str, reference: str) -> EntryPoint:
    """Return what `PACKAGE:NAME` stands for in that table of settings. Raises DataError with the names that exist."""
    package, _, name = reference.partition(":")
    group = GROUPS[table]
    found = {each.name: each for each in _distribution(package).entry_points if each.group == group}
    if name not in found:
        there = ", ".join(sorted(found)) or "none"
        raise DataError(
            f"the package {package} has no entry point {name!r} in the group {group}.{nearest(name, found)} "
            f"Its entry points there: {there}"
        )
    return found[name]


def package_code(package: str) -> str:
    """Return name, version and digest of the code of a package, as `OwnPart.code` has it. Raises DataError."""
    found = _distribution(package)
    modules = sorted(
        {each.value.partition(":")[0].partition(".")[0] for each in found.entry_points if each.group in GROUPS.values()}
    )
    if not modules:
        raise DataError(f"the package {package} has no entry points for cifarsweep ({', '.join(GROUPS.values())})")
    return f"{found.name} {found.version} {_digest(tuple(modules), found.version)}"


def _distribution(package: str) -> Distribution:
    try:
        return distribution(package)
    except (PackageNotFoundError, ValueError):
        raise DataError(f"there is no installed package {package!r}") from None


@lru_cache(maxsize=32)  # a process that has imported a package goes on with what it imported
def _digest(modules: tuple[str, ...], version: str) -> str:
    """Digest the files of Python and the compiled ones of these modules. Only for the cache it is told the version."""
    digest = hashlib.sha256()
    for module in modules:
        spec = importlib.util.find_spec(module)  # of a top-level name, so that nothing is imported
        if spec is None:
            raise DataError(f"the module {module} of an installed package is not there")
        roots = [Path(root) for root in spec.submodule_search_locations or ()]
        files = [file for root in roots for file in sorted(root.rglob("*")) if file.suffix in (".py", ".so", ".pyd")]
        for file in files or [Path(spec.origin or "")]:
            try:
                content = hashlib.sha256(file.read_bytes()).hexdigest()
            except OSError as error:
                raise DataError(f"{file}: can't be read: {error.strerror}") from None
            name = next((file.relative_to(root).as_posix() for root in roots if file.is_relative_to(root)), file.name)
            digest.update(f"{module} {name} {content}\n".encode())
    return digest.hexdigest()
