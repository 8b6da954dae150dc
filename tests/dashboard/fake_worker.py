"""A worker whose children only pretend to train, and that prints what troubles it.

Run as `python fake_worker.py URL FOLDER BEHAVIOUR`.
"""

import sys
from pathlib import Path

from cifarsweep.data.catalog import DataSetInfo
from cifarsweep.store import Store
from cifarsweep.store.timing import Timing
from cifarsweep.worker.context import WorkerConfig
from cifarsweep.worker.display import Display
from cifarsweep.worker.eligibility import EligibleStudies
from cifarsweep.worker.supervisor import Supervisor

FAKE_CHILD = Path(__file__).parents[1] / "worker" / "fake_child.py"


class Loud(Display):
    def note(self, text: str) -> None:
        print(text, flush=True)


def here(name: str) -> DataSetInfo:
    return DataSetInfo(name=name, source="", classes=(), train=0, test=0, sha256="d" * 64, bytes=0, path=Path())


if __name__ == "__main__":
    url, folder, behaviour = sys.argv[1:]
    command = [sys.executable, str(FAKE_CHILD), behaviour, folder]
    with Store.open(url) as store:
        plan = WorkerConfig(command=command, artifacts=Path(folder) / "artifacts", slots=3, timing=Timing(8.0, 0.5))
        sys.exit(Supervisor(store, plan, Loud(), EligibleStudies(store, Loud().note, here)).run())
