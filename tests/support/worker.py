"""Workers whose children train nothing, in the process of the test or in one of their own.

Run as `python worker.py work URL FOLDER BEHAVIOUR OPTIONS`, or with `launch` for a launcher of two of them; `command`
writes both. The options are fields of the plan and of the child's script.
"""

import json
import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[1])

from rich.console import Console

from cifarsweep.data.catalog import DataSetInfo
from cifarsweep.spec.metrics import VAL_ACCURACY
from cifarsweep.spec.types import TrialState
from cifarsweep.store import Store
from cifarsweep.store.leases import Timing
from cifarsweep.worker import supervisor
from cifarsweep.worker.context import WorkerConfig
from cifarsweep.worker.display import Display, display_for, log_to
from cifarsweep.worker.eligibility import EligibleStudies
from cifarsweep.worker.launch import local
from cifarsweep.worker.launch.local import WorkerCommand, WorkerGroup, stop_at_end_of_input
from cifarsweep.worker.supervisor import Supervisor
from support import child

#: How many trials the study `demo` has.
TRIALS = 12


def here(name: str, sha256: str = "d" * 64) -> DataSetInfo:
    """Any data set is on this machine."""
    return DataSetInfo(name=name, source="", classes=(), train=0, test=0, sha256=sha256, bytes=0, path=Path())


class Notes(Display, logging.Handler):
    """Remembers what a worker shows; a test may act on a note, on the start of a trial and on its failure."""

    def __init__(
        self,
        on_note: Callable[[str], object] = lambda text: None,
        on_start: Callable[[], object] = lambda: None,
        on_failure: Callable[[Any], object] = lambda lease: None,
    ) -> None:
        super().__init__()
        logging.getLogger("cifarsweep").handlers = [self]
        logging.getLogger("cifarsweep").setLevel(logging.INFO)
        self.notes: list[str] = []
        #: The last line of a worker, which says what it has done.
        self.summary = ""
        self.ends: list[str] = []
        #: The notes and the ends in their order.
        self.lines: list[str] = []
        #: When each trial was taken here, and with which attempt.
        self.taken: list[tuple[float, int]] = []
        #: At which steps the attempts of each trial began here.
        self.starts: dict[int, list[int]] = {}
        self._number: dict[int, int] = {}
        self._on_note, self._on_start, self._on_failure = on_note, on_start, on_failure

    def begin(self, slot, lease):
        self.taken.append((time.monotonic(), lease.attempt))
        self._number[slot] = lease.number

    def started(self, slot, started):
        self.starts.setdefault(self._number[slot], []).append(started.start_step)
        self._on_start()

    def end(self, slot, lease, how, result=None):
        self.ends.append(how)
        self.lines.append(how)
        if how.startswith("failed"):
            self._on_failure(lease)

    def emit(self, record):
        text = record.getMessage()
        if text.startswith("this worker"):
            self.summary = text
            return
        self.notes.append(text)
        self.lines.append(text)
        self._on_note(text)

    def notes_with(self, words: str) -> list[str]:
        return [note for note in self.notes if words in note]


def work(
    store: Store,
    folder: Path,
    behaviour: str = "ok",
    display: Display | None = None,
    *,
    command: list[str] | None = None,
    find: Callable[[str], DataSetInfo] = here,
    other_data: bool = False,
    **plan: Any,
) -> int:
    """Train with a child of that behaviour, or that command, until the worker ends; its exit code."""
    display = display or Display()
    plan = {"artifacts": folder / "artifacts", "timing": store.timing} | plan
    ready = WorkerConfig(command=command or child.command(folder, behaviour), **plan)
    trainable = EligibleStudies(store, find, other_data=other_data)
    return Supervisor(store, ready, display, trainable).run()


def assert_everything_is_there_once(store: Store, steps: int = child.STEPS, trials: range | None = None) -> None:
    """The oracle: these trials, or all, are what an undisturbed run would have left, to the last bit."""
    curves = store.metrics.read("demo", [VAL_ACCURACY])
    found = store.trials.all("demo")
    for trial in found if trials is None else found[trials.start : trials.stop]:
        there, values = curves[trial.number, VAL_ACCURACY]
        assert trial.state is TrialState.DONE
        assert list(there) == list(range(1, steps + 1))
        assert [v.hex() for v in values] == [child.value(trial.seed, step).hex() for step in range(1, steps + 1)]
        assert trial.weights_sha256 == child.chain(trial.seed, steps)
    assert store.admin.check() == []


def command(url: str, folder: Path, behaviour: str = "ok", how: str = "work", **options: Any) -> list[str]:
    """The command of a worker, or with `launch` of a launcher of two, or of `workers`."""
    return [sys.executable, __file__, how, url, str(folder), behaviour, json.dumps(options)]


def member(number: int, url: str, folder: Path, behaviour: str, **options: Any) -> WorkerCommand:
    """A worker of a launcher."""
    return WorkerCommand(f"cpu{number}", tuple(command(url, folder, behaviour, launched=True, **options)))


def _work(url: str, folder: Path, behaviour: str, options: dict[str, Any]) -> int:
    display: Display = Display()
    log_to(Console(width=200), times=False)
    if options.pop("launched", False):
        stop_at_end_of_input()
        display = display_for(Console(width=200))
    supervisor._GRACE_S = options.pop("grace_s", supervisor._GRACE_S)
    script = options.pop("script", "usual")
    timing = Timing(*options.pop("timing")) if "timing" in options else None
    with Store.open(url, timing=timing) as store:
        return work(store, folder, display=display, command=child.command(folder, behaviour, script=script), **options)


def _launch(url: str, folder: Path, behaviour: str, options: dict[str, Any]) -> int:
    if options.get("until_eof"):
        stop_at_end_of_input()
    grace = {"grace_s": options["grace_s"]} if "grace_s" in options else {}
    local._GRACE_S = options.get("grace_s", local._GRACE_S)
    members = [member(number, url, folder, behaviour, **grace) for number in range(options.get("workers", 2))]
    logs = Path(options.get("logs", folder / "logs"))
    return WorkerGroup(members, logs, lambda name, line: print(name, "|", line, flush=True)).run()


if __name__ == "__main__":
    how, url, folder, behaviour, options = sys.argv[1:]
    sys.exit({"work": _work, "launch": _launch}[how](url, Path(folder), behaviour, json.loads(options)))
