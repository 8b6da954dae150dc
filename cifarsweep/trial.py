"""What a program says to the worker that started it: what it measured, and where its checkpoint is.

Standard library alone, so that a program needs nothing else of this package. docs/how-to/own-script.md describes the
protocol.
"""

from __future__ import annotations

import json
import os
import secrets
import stat
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, SupportsFloat

#: The variable with which a worker tells a program what it is to do: one JSON object.
VARIABLE = "CIFARSWEEP_TRIAL"
_VERSION = 1
_TICK_S = 0.01


@dataclass(frozen=True)
class Resume:
    """The checkpoint to go on from: the file or folder that was written, and its step."""

    path: Path
    step: int


@dataclass
class Trial:
    """One trial of a study, as its program sees it.

    Of several processes, as `torchrun` starts them, only the first one (`$RANK` 0) reports and saves.
    """

    params: dict[str, Any]
    """The parameters of the trial: numbers, booleans and texts."""
    seed: int
    resume: Resume | None = None
    """None at the beginning."""
    folder: Path = Path("checkpoints")
    _stop: Path | None = None
    _pipe: int | None = None
    _main: bool = True
    _last: Path | None = None
    #: Reentrant: a handler of SIGTERM may report while this thread does.
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def log(self, step: int, metrics: Mapping[str, SupportsFloat]) -> None:
        """Report the values of metrics after `step` steps, or epochs, or whatever the program counts.

        The steps of a metric must rise, and be greater than that of the last checkpoint. Numbers of NumPy and tensors
        with one element are taken too.
        """
        values = {name: float(value) for name, value in metrics.items()}
        if self._pipe is not None:
            self._send({"log": {"step": int(step), "metrics": values}})
        elif self._main:
            print(f"step {step}", *(f"{name} {value:g}" for name, value in values.items()), sep="  ", flush=True)

    @contextmanager
    def checkpoint(self, step: int) -> Iterator[Path]:
        """Give a path where the block writes one file or one folder: all that the program needs to go on from `step`.

        It counts once the block has ended without an exception, for everything that was logged before.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self._main:
            # Beside those of the first process; nobody reads it.
            yield self.folder / f"rank-{os.environ.get('RANK')}-{secrets.token_hex(6)}"
            return
        if self._pipe is None:
            yield self.folder / f"step-{step}"
            return
        while self._last is not None and os.path.lexists(self._last):
            time.sleep(_TICK_S)  # the worker still reads the one before: a slow store must not fill the disk
        path = self._last = self.folder / f"step-{step}-{secrets.token_hex(6)}"
        yield path
        self._send({"checkpoint": {"step": int(step), "path": str(path)}})

    def should_stop(self) -> bool:
        """Whether the program is asked to save a checkpoint and end, since somebody paused the trial or its worker."""
        return self._stop is not None and self._stop.exists()

    def _send(self, message: Mapping[str, Any]) -> None:
        line = json.dumps(message).encode() + b"\n"
        with self._lock:
            while line and self._pipe is not None:
                line = line[os.write(self._pipe, line) :]


def trial(**defaults: Any) -> Trial:
    """Return the trial that this process is to train.

    Run by hand, without a worker, `defaults` are its parameters, and `seed` its seed; it prints what it logs, and
    checkpoints go to the folder `checkpoints`. A worker's parameters replace defaults of the same name.
    """
    seed = int(defaults.pop("seed", 0))
    main = os.environ.get("RANK", "0") == "0"
    text = os.environ.get(VARIABLE)
    if text is None:
        return Trial(defaults, seed, _main=main)
    told = json.loads(text)
    if told["version"] != _VERSION:
        raise RuntimeError(
            f"the worker speaks version {told['version']} of the protocol, this package {_VERSION}: install the same "
            "cifarsweep for both"
        )
    resume = told["resume"] and Resume(Path(told["resume"]["path"]), told["resume"]["step"])
    found = Trial(
        {**defaults, **told["params"]},
        told["seed"],
        resume,
        Path(told["folder"]),
        _stop=Path(told["stop"]),
        _pipe=_open_pipe(told["fd"], told["pid"], told["pipe"]) if main else None,
        _main=main,
    )
    if main:
        found._send({"hello": _VERSION})
    return found


def _open_pipe(fd: int, pid: int, pipe: int) -> int:
    """Return a descriptor of the worker's pipe: the inherited one, or else that of process `pid`.

    Its number may mean another file in a process that did not inherit it, so the pipe's inode is compared.
    """
    if _is_pipe(fd, pipe):
        return fd
    path = f"/proc/{pid}/fd/{fd}"
    if _is_pipe(path, pipe):
        return os.open(path, os.O_WRONLY)
    raise RuntimeError(f"the worker's pipe is neither descriptor {fd} nor {path}: leave descriptor {fd} open")


def _is_pipe(file: int | str, inode: int) -> bool:
    try:
        found = os.stat(file)
    except OSError:
        return False
    return stat.S_ISFIFO(found.st_mode) and found.st_ino == inode
