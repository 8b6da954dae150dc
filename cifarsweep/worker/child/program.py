"""The child of a worker that runs programs of the user's own: one after the other, each in processes of its own.

It is started as `python -m cifarsweep.worker.child.program DEVICE FILE...`; the files are studies, and what they say on
this disk is what it runs. It imports neither torch nor a database, and speaks as every other child does.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from cifarsweep.environment import without_database
from cifarsweep.errors import CodeUnusable, DeviceError, SpecError
from cifarsweep.spec.program_reader import LocalProgram, read_program
from cifarsweep.worker.child.guard import become_subreaper
from cifarsweep.worker.child.main import RequestReader, serve, take_stdin, take_stdout
from cifarsweep.worker.child.program_command import program_environment
from cifarsweep.worker.child.program_run import Reply, train_program
from cifarsweep.worker.child.program_versions import program_versions
from cifarsweep.worker.child.protocol import DeviceUnavailable, Ready, Train, encode
from cifarsweep.worker.gpus import ChosenGpus, choose


class ProgramTrainer:
    """Runs the program that a request names by its digest, if one of the files has it at that moment."""

    def __init__(self, files: Sequence[Path], environment: Mapping[str, str]) -> None:
        self._files, self._environment = files, environment

    def train(self, request: Train, should_stop: Callable[[], bool]) -> Iterator[Reply]:
        # Read before each start: all digests are those of the files as they are now.
        same = [local for local in readable(self._files) if local.program.sha256 == request.program]
        if same:
            # Of several studies of one program each has the texts of its own trials alone.
            parameters = request.settings["parameters"].items()
            fitting = (local for local in same if local.unknown_text(parameters) is None)
            return train_program(request, next(fitting, same[0]), self._environment, should_stop)
        names = ", ".join(str(file) for file in self._files)
        raise CodeUnusable(f"the files of the program were changed: {names} no longer has the digest {request.program}")


def readable(files: Iterable[Path]) -> list[LocalProgram]:
    """Return the programs of those files that can be read."""
    found = []
    for file in files:
        with suppress(SpecError):
            found.append(read_program(file))
    return found


def device_of(wanted: str, programs: Iterable[LocalProgram]) -> ChosenGpus:
    """Return the GPUs of a trial, none on the processor. Raises DeviceError if they are not here."""
    # A worker lives on while its file can't be read.
    return choose(wanted, max((local.program.gpus for local in programs), default=wanted.count(",") + 1))


def main() -> None:
    """Serve the programs of the files on the command line."""
    replies = take_stdout()
    requests = RequestReader(take_stdin())
    become_subreaper()
    files = [Path(name) for name in sys.argv[2:]]
    programs = readable(files)
    try:
        chosen = device_of(sys.argv[1], programs)
    except DeviceError as error:
        replies.write(encode(DeviceUnavailable(str(error))))
        return
    environment = program_environment(without_database(), chosen.visible)
    trainer = ProgramTrainer(files, environment)
    versions = program_versions(programs, environment)
    serve(trainer.train, Ready(chosen.name, versions, chosen.addresses), requests, replies)


if __name__ == "__main__":
    main()
