"""A program of the user's own, and what runs it, for tests that need no database."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cifarsweep.environment import without_database
from cifarsweep.spec.program_reader import read_program
from cifarsweep.spec.types import CheckpointRef, TrialResult
from cifarsweep.training import events
from cifarsweep.worker.child import protocol
from cifarsweep.worker.child.process import ChildProcess, program_child
from cifarsweep.worker.child.program import ProgramTrainer
from cifarsweep.worker.child.program_command import program_environment

ENDS = (events.Finished, events.Stopped, protocol.Failed, protocol.DataRefused)
#: So long that no machine is too slow for it.
PATIENT_S = 300.0

STUDY = """
name = "own"
question = "Which rate is best?"
seeds = 2
[program]
command = {command}
files = ["train.*"]
{more}
[settings]
lr = 0.5
[factors]
{factors}
"""


def write_program(
    folder: Path,
    script: str,
    *,
    command: str = f'["{sys.executable}", "train.py"]',
    more: str = "",
    name: str = "train.py",
    factors: str = "width = [1, 2]",
) -> Path:
    """Write a program into a folder, and the file of a study of it, which is returned."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(script)
    file = folder / "own.toml"
    file.write_text(STUDY.format(command=command, more=more, factors=factors))
    return file


@dataclass
class Told:
    """What a child said of a trial."""

    replies: list[protocol.Reply] = field(default_factory=list)
    ready: protocol.Ready | None = None

    def all(self, kind: type[Any]) -> list[Any]:
        return [reply for reply in self.replies if isinstance(reply, kind)]

    @property
    def end(self) -> Any:
        return self.replies[-1]

    @property
    def result(self) -> TrialResult:
        """That of a program that ended well; what it wrote where it did not."""
        assert isinstance(self.end, events.Finished), getattr(self.end, "traceback", str(self.end))
        return self.end.result

    @property
    def rows(self) -> list[tuple[str, int, float]]:
        """All rows but those of time, in their order."""
        found = (row for event in self.all(events.Metrics) for row in event.rows)
        return [(row.name, row.step, row.value) for row in found if row.name != "elapsed_s"]

    @property
    def checkpoints(self) -> tuple[CheckpointRef, ...]:
        """Those that are on the disk, newest first, as a lease has them."""
        return tuple(reversed([each.checkpoint for each in self.all(events.Saved)]))


def train_request(file: Path, **request: Any) -> protocol.Train:
    """What asks for a trial of the program; keywords replace what is usual."""
    usual = {
        "label": "own/7",
        "settings": {"parameters": {"lr": 0.5, "width": 1}},
        "seed": 3,
        "folder": str(file.parent / "kept"),
        "resume": (),
        "save_every_s": 60.0,
        "program": read_program(file).program.sha256,
        "silence_s": PATIENT_S,
    }
    return protocol.Train(**{**usual, **request})


def run_program(file: Path, *, stop: Callable[[Told], bool] = lambda _: False, **request: Any) -> Told:
    """Run one trial in this process, as a child does, and return all that is said of it; `stop` asks it to end."""
    told = Told()
    environment = program_environment(without_database(), "")
    trainer = ProgramTrainer([file], environment)
    for reply in trainer.train(train_request(file, **request), lambda: stop(told)):
        told.replies.append(reply)
    return told


def run_child(
    file: Path, until: Callable[[ChildProcess, protocol.Reply], object] = lambda _child, _reply: False, **request: Any
) -> Told:
    """Let a child run one trial, and kill it at the end of that, or where `until` returns True."""
    told = Told()
    child = ChildProcess(program_child([file], "cpu"))
    try:
        for reply in child.replies():
            if isinstance(reply, protocol.Ready):
                told.ready = reply
                child.send(train_request(file, **request))
            elif not isinstance(reply, protocol.KeepAlive):
                told.replies.append(reply)
            if until(child, reply) or isinstance(reply, ENDS):
                return told
    finally:
        child.kill()
    raise AssertionError(f"the child has ended: {child.exit_report()}")
