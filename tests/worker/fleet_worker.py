"""Workers as processes of their own, whose training is make-believe.

Run as `python fleet_worker.py work URL FOLDER BEHAVIOUR`, or with `launch` for a launcher of two of them.
"""

import sys
from pathlib import Path

import fake_child

from cifarsweep.data.catalog import DataSetInfo
from cifarsweep.store import Store
from cifarsweep.worker.context import WorkerConfig
from cifarsweep.worker.display import Lines
from cifarsweep.worker.eligibility import EligibleStudies
from cifarsweep.worker.launch.local import WorkerCommand, WorkerGroup, stop_at_end_of_input
from cifarsweep.worker.supervisor import Supervisor


def here(name: str) -> DataSetInfo:
    """Any data set is on this machine."""
    return DataSetInfo(name=name, source="", classes=(), train=0, test=0, sha256="d" * 64, bytes=0, path=Path())


def member(number: int, url: str, folder: Path, behaviour: str) -> WorkerCommand:
    return WorkerCommand(f"cpu{number}", (sys.executable, __file__, "work", url, str(folder), behaviour))


def work(url: str, folder: Path, behaviour: str) -> int:
    from rich.console import Console

    stop_at_end_of_input()
    display = Lines(Console(width=200))
    command = [sys.executable, str(Path(fake_child.__file__)), behaviour, str(folder)]
    with Store.open(url) as store:
        trainable = EligibleStudies(store, display.note, here)
        return Supervisor(
            store, WorkerConfig(command=command, artifacts=folder / "artifacts"), display, trainable
        ).run()


def launch(url: str, folder: Path, behaviour: str) -> int:
    members = [member(number, url, folder, behaviour) for number in range(2)]
    return WorkerGroup(members, folder / "logs", lambda name, line: print(name, "|", line, flush=True)).run()


if __name__ == "__main__":
    sys.exit({"work": work, "launch": launch}[sys.argv[1]](sys.argv[2], Path(sys.argv[3]), sys.argv[4]))
