"""A worker whose trials cost nothing: `python search_worker.py URL ARTIFACTS BEHAVIOUR`."""

import sys
from pathlib import Path

from cifarsweep.data.catalog import DataSetInfo
from cifarsweep.store import Store
from cifarsweep.store.timing import Timing
from cifarsweep.worker.context import WorkerConfig
from cifarsweep.worker.display import Display
from cifarsweep.worker.eligibility import EligibleStudies
from cifarsweep.worker.supervisor import Supervisor

CHILD = Path(__file__).parents[1] / "worker" / "searched_child.py"


def here(name: str) -> DataSetInfo:
    """Any data set is on this machine."""
    return DataSetInfo(name=name, source="", classes=(), train=0, test=0, sha256="d" * 64, bytes=0, path=Path())


if __name__ == "__main__":
    url, artifacts, behaviour = sys.argv[1:]
    timing = Timing(lease_s=3.0, beat_s=0.2)
    with Store.open(url, timing=timing) as store:
        plan = WorkerConfig([sys.executable, str(CHILD), behaviour, artifacts], Path(artifacts), timing=timing)
        display = Display()
        sys.exit(Supervisor(store, plan, display, EligibleStudies(store, display.note, here)).run())
