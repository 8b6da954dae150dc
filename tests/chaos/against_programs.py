"""A campaign against programs of the user's own: SIGKILL of workers, of their children and of what these started."""

from __future__ import annotations

import contextlib
import shutil
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import chain_program
import psutil
from against_workers import Counts
from fleet import Fleet, Worker
from oracle import Broken, Run, Runs, as_hex
from places import Place
from siege import besiege, takeovers

from cifarsweep.spec.program import Parameters
from cifarsweep.spec.reader import read_study
from cifarsweep.spec.study import Study
from cifarsweep.spec.types import MetricRow

_STUDY = """
name = "program"
question = "Is anything lost?"
seeds = 2
[program]
command = ["{python}", "chain_program.py"]
files = ["chain_program.py"]
[settings]
text = "a text"
flag = true
[factors]
number = {numbers}
"""
_PROGRAM = Path(chain_program.__file__)


class _Killer:
    """Gives every worker that trains a while to live, and then kills it, its child, the program, or all of them."""

    def __init__(self, place: Place, kills: int) -> None:
        self.kills, self.counts = kills, Counter[str]()
        self._draw = lambda: time.monotonic() + place.chance.uniform(0.3, 2.5)
        self._who = lambda: place.chance.choices(("worker", "child", "program", "all"), (4, 2, 3, 1))[0]
        self._ends: dict[int, float] = {}

    def enough(self) -> bool:
        return self.counts["kills"] >= self.kills

    def __call__(self, fleet: Fleet) -> None:
        for worker in fleet.workers:
            if not worker.alive or self.enough() or not worker.began:
                continue
            if time.monotonic() > self._ends.setdefault(id(worker), self._draw()):
                who = self._who()
                if _kill(worker, who):
                    self.counts["kills"] += 1
                    self.counts[f"kills of {who}"] += 1
                del self._ends[id(worker)]


def _kill(worker: Worker, who: str) -> bool:
    """Whether somebody was there to be killed."""
    if who in ("worker", "all"):
        return bool(worker.send(signal.SIGKILL, "worker" if who == "worker" else "both"))
    programs = [each for each in worker.children() if _is_program(each)]
    others = [each for each in worker.children() if each.pid not in {one.pid for one in programs}]
    killed = False
    for each in programs[:1] if who == "program" else others[:1]:
        with contextlib.suppress(psutil.Error):
            each.kill()
            killed = True
    return killed


def _is_program(process: psutil.Process) -> bool:
    """Whether it is the program itself, and not the guard, whose command line has that of the program."""
    with contextlib.suppress(psutil.Error):
        return process.cmdline()[1:] == [_PROGRAM.name]
    return False


def random_kills(place: Place, *, kills: int, trials: int, workers: int = 3) -> Counts:
    """SIGKILL at random moments; nothing that a program started may be left in the end."""
    file = _written(place.folder / "program", trials)
    killer, rounds = _Killer(place, kills), list[str]()

    def spec_of(_trials: int, name: str) -> Study:
        rounds.append(name)
        return read_study(file).model_copy(update={"name": name})

    def start(fleet: Fleet, name: str, step_s: float) -> Worker:
        more = {"CHAOS_STEP_S": str(step_s), "CIFARSWEEP_SAVE_EVERY": "0"}
        return fleet.start("--program", str(file), "--study", name, env=more, real=True)

    besiege(
        place,
        trials,
        workers,
        killer,
        killer.enough,
        recruit=lambda fleet, name: start(fleet, name, 0.06),
        spec_of=spec_of,
        expect=undisturbed,
        finish=lambda fleet, name: start(fleet, name, 0.0),
    )
    if left := [each.pid for each in psutil.process_iter() if _is_left(each, file.parent)]:
        raise Broken(f"seed {place.seed}: of programs the processes {left} are left")
    with place.open() as store:
        taken = sum(takeovers(store, name) for name in rounds)
    return {**killer.counts, "trials": len(rounds) * trials, "taken over": taken}


def _written(folder: Path, trials: int) -> Path:
    """Write the program and its study file."""
    folder.mkdir()
    shutil.copy(_PROGRAM, folder)
    file = folder / "study.toml"
    file.write_text(_STUDY.format(python=sys.executable, numbers=list(range(trials // 2))))
    return file


def undisturbed(spec: Study) -> Runs:
    """What each trial gives where nothing happens, computed here."""
    found = {}
    for number, planned in enumerate(spec.trials()):
        assert planned.cell.parameters is not None
        params = Parameters.of(planned.cell.parameters).parameters
        state, kept = chain_program.beginning(dict(params), planned.seed), list[MetricRow]()
        for step in range(1, chain_program.STEPS + 1):
            state = chain_program.after(state, step)
            kept += [MetricRow(name, step, value) for name, value in chain_program.rows(state).items()]
        found[number] = Run("", as_hex(kept))
    return found


def _is_left(process: psutil.Process, folder: Path) -> bool:
    with contextlib.suppress(psutil.Error):
        return _is_program(process) and process.cwd() == str(folder)
    return False
