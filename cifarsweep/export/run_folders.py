"""Tells which folders of event files are runs or parts of runs, and names the runs.

`SummaryWriter.add_scalars` and `add_hparams` write to folders below that of their run, and Keras to `train` and
`validation`.
"""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cifarsweep.errors import DataError
from cifarsweep.export.event_files import LeftOut, Scalars, read_folder
from cifarsweep.spec.types import Value
from cifarsweep.text import quoted

#: Names of folders that hold a part of a run, with the prefix of its metrics.
_PARTS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "eval": "val",
    "evaluation": "val",
    "test": "test",
}
#: `add_hparams` names its folder after the time.
_MOMENT = re.compile(r"\d{9,11}(\.\d+)?")
#: `seed=3`, `seed_3`, `s3` at the end or between separators; as many digits as a database keeps.
_SEED = re.compile(r"(?:^|[-_./, ])(?:seed|s)[=_-]?(\d{1,18})(?=$|[-_./, ])", re.IGNORECASE)
_LONGEST_CELL = 300


@dataclass(frozen=True, slots=True)
class Part:
    """A folder of event files of a run: its own, with an empty name, or one below."""

    folder: Path
    name: str
    scalars: Scalars
    main: str = ""
    """The tag that `add_scalars` was called with, if it wrote this folder."""

    def metric(self, tag: str) -> str:
        """The run's name for a tag of this part."""
        if self.main:
            return f"{self.main}/{self.name}"
        return f"{self.name}/{tag}" if self.name and not tag.startswith(f"{self.name}/") else tag


def run_parts(root: Path, left_out: LeftOut) -> dict[Path, list[Part]]:
    """The runs below a folder: sorted folders, each with its parts, its own first."""
    scalars = {folder: read_folder(files) for folder, files in sorted(_event_files(root, left_out).items())}
    runs: dict[Path, list[Part]] = {}
    for folder in scalars:
        above = next((other for other in folder.parents if other in scalars and other != folder), None)
        run, part = _place(folder, root, above, scalars)
        runs.setdefault(run, []).append(part)
    # Parts of a part belong to its run.
    for run in sorted(runs, key=lambda folder: len(folder.parts), reverse=True):
        owners = (other for other in runs if other != run and any(part.folder == run for part in runs[other]))
        owner = next(owners, None)
        if owner is not None:
            runs[owner] += runs.pop(run)
    return {run: sorted(parts, key=lambda part: (part.name, part.folder)) for run, parts in sorted(runs.items())}


def _place(folder: Path, root: Path, above: Path | None, scalars: Mapping[Path, Scalars]) -> tuple[Path, Part]:
    """The folder of the run that a folder belongs to, and its part of that run."""
    own = scalars[folder]
    if above is not None:
        if _holds_results(folder, own) and not _compares(above, scalars):
            return above, Part(folder, "", own)
        below = folder.relative_to(above).as_posix()
        for tag in own.series if len(own.series) == 1 else ():
            head = tag.replace("/", "_") + "_"
            if below.startswith(head) and len(below) > len(head):
                return above, Part(folder, below.removeprefix(head), own, main=tag)
    name = _PARTS.get(folder.name.casefold())
    if name and folder != root and _is_part(folder, name, scalars):
        return folder.parent, Part(folder, name, own)
    return folder, Part(folder, "", own)


def _holds_results(folder: Path, own: Scalars) -> bool:
    """Whether `add_hparams` wrote this folder."""
    single = all(len(points) <= 1 for points in own.series.values())
    return single and bool(own.hparams or _MOMENT.fullmatch(folder.name))


def _compares(above: Path, scalars: Mapping[Path, Scalars]) -> bool:
    """Whether the folder compares runs: it has no curve of its own, and results of several runs below."""
    results = [folder for folder, own in scalars.items() if folder.parent == above and _holds_results(folder, own)]
    return len(results) > 1 and not scalars[above].series


def _is_part(folder: Path, name: str, scalars: Mapping[Path, Scalars]) -> bool:
    """Whether a folder such as `test` is a part: its run wrote above, or other parts are its only neighbours."""
    beside = [other.name for other in scalars if other.parent == folder.parent and other != folder]
    others = {_PARTS.get(other.casefold()) for other in beside}
    return folder.parent in scalars or not beside or bool(others - {None, name})


def _event_files(root: Path, left_out: LeftOut) -> dict[Path, list[Path]]:
    """The event files by folder, without hidden ones and links to folders."""

    def refuse(error: OSError) -> None:
        if Path(error.filename) == root:
            raise DataError(f"{quoted(str(root))}: can't be read: {error.strerror}")
        left_out.add("folders that can't be read", Path(error.filename).name)

    by_folder: dict[Path, list[Path]] = {}
    for here, folders, files in os.walk(root, onerror=refuse):
        for name in folders:
            if (Path(here) / name).is_symlink():
                left_out.add("links to folders", name)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        named = [Path(here, name) for name in sorted(files) if "tfevents" in name and not name.startswith(".")]
        if events := [path for path in named if path.is_file()]:
            by_folder[Path(here)] = events
        for path in named:
            if path not in events:
                left_out.add("links that lead nowhere, and what else is no plain file", path.name)
    return by_folder


def cell_and_seed(label: str, hparams: Mapping[str, Value]) -> tuple[str, int]:
    """Split the name of a run into cell and seed.

    Without a seed in the name it is that of the run's hyperparameters, else 0.
    """
    label = escaped(unicodedata.normalize("NFC", label))
    matches = list(_SEED.finditer(label))
    if not matches:
        seed = hparams.get("seed")
        # TensorBoard keeps every number as a float.
        known = isinstance(seed, float) and seed.is_integer() and 0 <= seed < 2**63
        return _shortened(label), int(seed) if known and isinstance(seed, float) else 0
    # `seed` is certain; s2 may be a stride or a split.
    last = max(matches, key=lambda match: ("seed" in match[0].casefold(), match.start()))
    cell = (label[: last.start()] + label[last.end() :]).strip("-_./, ")
    return _shortened(cell or "run"), int(last[1])


def escaped(name: str) -> str:
    """The name of a folder with escapes for what databases and pages can't hold, such as bytes that are no UTF-8."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in name)


def _shortened(cell: str) -> str:
    """The name, cut to what a database keeps; different names stay different."""
    if len(cell) <= _LONGEST_CELL:
        return cell or "run"
    return f"{cell[: _LONGEST_CELL - 9]}~{hashlib.sha256(cell.encode()).hexdigest()[:8]}"
