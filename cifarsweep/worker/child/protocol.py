"""Messages between supervisor and child: one JSON object a line, told apart by `kind`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from cifarsweep.spec.settings import Settings
from cifarsweep.spec.types import CheckpointRef
from cifarsweep.training import events

#: On a child's command line: train operation by operation.
NO_GRAPHS = "--no-graphs"
#: The same, before a folder or package whose code trials may run.
CODE = "--code="


@dataclass(frozen=True, slots=True)
class DataFile:
    """The images of a trial: their content digest, and the stamp of the file when every byte was verified."""

    sha256: str
    stamp: tuple[int, int, int, int] | None


@dataclass(frozen=True, slots=True)
class BranchFile:
    """A checkpoint of another trial, and the folder or URL that it is in."""

    folder: str
    checkpoint: CheckpointRef


#: How long a program may say nothing before it counts as hung, unless its file says so: an epoch may take long, and the
#: child renews the lease meanwhile. Seconds.
SILENCE_S = 3600.0


@dataclass(frozen=True, slots=True)
class Train:
    """Train one trial. `resume` holds the checkpoints to try, newest first.

    Without `data`, any images of that name are accepted. Right after each of `branch_steps` a checkpoint is written to
    `branches_of(folder)`. Where none of `resume` is accepted, the trial begins from `branch`, if there is one.
    `code` are path and digest of each file of the user's own code that the settings may name.

    With `program`, a digest, the settings are `Parameters` of a program of the user's own, which counts as hung once it
    has said nothing for `silence_s`.
    """

    label: str
    settings: dict[str, Any]
    seed: int
    folder: str
    resume: tuple[CheckpointRef, ...]
    save_every_s: float
    first_save_s: float | None = None
    data: DataFile | None = None
    branch_steps: tuple[int, ...] = ()
    branch: BranchFile | None = None
    code: tuple[tuple[str, str], ...] = ()
    program: str | None = None
    silence_s: float | None = None

    def parsed(self) -> Settings:
        return Settings.model_validate_json(json.dumps(self.settings))


@dataclass(frozen=True, slots=True)
class Stop:
    """Write a checkpoint and stop the trial."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The child has its device and waits for work.

    `device` is the model of its GPUs, and `gpus` are their addresses on the PCI bus; there are none on a processor.
    """

    device: str
    versions: dict[str, str]
    gpus: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DeviceUnavailable:
    """The requested device can't be used. With `for_now` memory is short, and another try may succeed."""

    reason: str
    for_now: bool = False


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """The child is alive: it prepares a trial, takes its first steps or saves a checkpoint."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The trial raised an exception; the child lives on and takes the next one.

    `crashed`: the user's own program, a process of its own, was killed or hung. `child_ends`: the child does not live
    on, since it trained the trial with other processes.
    """

    error: str
    traceback: str
    out_of_memory: bool
    crashed: bool = False
    child_ends: bool = False


@dataclass(frozen=True, slots=True)
class DataRefused:
    """The images, the own code or the program of the trial can't be used; neither trial nor child is at fault."""

    reason: str
    of_code: bool = False
    child_ends: bool = False


Request = Train | Stop
Reply = Ready | DeviceUnavailable | KeepAlive | Failed | DataRefused | events.Event


class ProtocolError(Exception):
    """A line is no message; its writer can't be trusted any more."""


@cache
def _adapters(union: object) -> Mapping[str, TypeAdapter[Any]]:
    return {kind.__name__: TypeAdapter(kind) for kind in union.__args__}  # type: ignore[attr-defined]


def encode(message: Request | Reply) -> bytes:
    """Return one line, newline included. Floats keep every bit; nan and infinity are written as Python's json does."""
    return json.dumps({"kind": type(message).__name__, **_fields(message)}, default=_fields).encode() + b"\n"


def _fields(record: Any) -> dict[str, Any]:
    # dataclasses.asdict copies all that is inside, deeply; json only reads it.
    return {field.name: getattr(record, field.name) for field in fields(record)}


def decode_request(line: bytes) -> Request:
    """Undo `encode` in the child. Raises ProtocolError."""
    request: Request = _decode(line, Request)
    return request


def decode_reply(line: bytes) -> Reply:
    """Undo `encode` in the supervisor. Raises ProtocolError."""
    reply: Reply = _decode(line, Reply)
    return reply


def _decode(line: bytes, union: object) -> Any:
    try:
        found = json.loads(line)
        return _adapters(union)[found.pop("kind")].validate_python(found)
    except (ValueError, KeyError, AttributeError, TypeError, ValidationError) as error:
        raise ProtocolError(f"not a message: {line[:200]!r} ({type(error).__name__})") from None
