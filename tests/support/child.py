"""A child that trains nothing: in place of weights it has a chain of digests, each of which follows from all before.

So a wrong resume shows in every value after it. Run as `python child.py SCRIPT FOLDER OPTIONS`, which `command` writes;
the folder keeps what must happen only once.
"""

import ctypes
import hashlib
import json
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from cifarsweep.checkpoints.folder import Folder
from cifarsweep.checkpoints.location import branches_of, open_folder
from cifarsweep.errors import CheckpointError, CheckpointNotFound, DataUnusable
from cifarsweep.spec.settings import Settings
from cifarsweep.spec.types import MetricRow, Outcome, TrialResult
from cifarsweep.training import events
from cifarsweep.training.identity import beginning, rates
from cifarsweep.worker.child.main import RequestReader, serve, take_stdin, take_stdout
from cifarsweep.worker.child.protocol import DeviceUnavailable, Ready, Train, encode

STEPS = 6
#: How many trials are given back at one time, so that the same worker takes none of them again.
TOGETHER = 3
_REPLIES_FD = "CHILD_REPLIES_FD"

#: The last step that was trained, and the chain after it.
State = tuple[int, str]


def advanced(state: State, seed: int | str) -> State:
    """One step further."""
    step, chain = state
    return step + 1, hashlib.sha256(f"{chain} {seed} {step + 1}".encode()).hexdigest()


def chain(seed: int, steps: int = STEPS) -> str:
    """What an undisturbed trial has in place of weights after so many steps."""
    state = (0, "")
    for _ in range(steps):
        state = advanced(state, seed)
    return state[1]


def fraction(chain: str) -> float:
    """A number of [0, 1) that the chain decides."""
    return int(chain[:8], 16) / 2**32


def value(seed: int, step: int) -> float:
    """The accuracy of a step of an undisturbed trial."""
    return fraction(chain(seed, step))


def payload(state: State, weight: int = 0) -> bytes:
    """A checkpoint of so many bytes at least."""
    return json.dumps({"step": state[0], "chain": state[1]}).ljust(weight).encode()


def once(marker: Path) -> bool:
    """Whether nobody has made the marker before."""
    try:
        marker.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def _raise(error: Exception) -> NoReturn:
    raise error


def _crash() -> None:
    print("last words of the child", file=sys.stderr, flush=True)
    os.abort()


def _garbage() -> None:
    os.write(int(os.environ[_REPLIES_FD]), b"\x00\xff{Bus error (core dumped)\n")
    time.sleep(3600)


MISHAPS: dict[str, Callable[[], object]] = {
    "raise": lambda: _raise(ValueError("boom: this trial can't train")),
    "oom": lambda: _raise(MemoryError("out of memory")),
    "images": lambda: _raise(DataUnusable("boom: these images can't be used")),
    "crash": _crash,
    "segfault": lambda: ctypes.string_at(0),
    "memory": lambda: bytearray(1 << 50),
    "oom-killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "exit": lambda: os._exit(7),
    "hang": lambda: time.sleep(3600),
    "garbage": _garbage,
}
PAUSES = {"slow": 0.1, "slower": 0.5}


def mishap(name: str, marker: Path) -> None:
    """Let it happen, with `-once` only where the marker is not there yet."""
    if name.endswith("-once") and not once(marker):
        return
    MISHAPS.get(name.removesuffix("-once"), lambda: None)()


@dataclass(frozen=True)
class Script:
    """How a trial goes: how long it is, what a step reports and when it saves. Its behaviour is what goes wrong.

    Behaviours are the mishaps, before `bad_step`, with `-once` once a trial, or after a blank in one trial alone; the
    pauses; and those of `before`.
    """

    folder: Path
    behaviour: str = "ok"
    steps: int = STEPS
    save_every: int = 2
    bad_step: int = 3
    step_s: float = 0.0
    #: Of a checkpoint, in bytes at least.
    weight: int = 0
    #: How many children ever start, and what becomes of the others.
    room: int | None = None
    crowded_out: str = "exception"
    #: The addresses of pretended GPUs, with a space between them.
    gpu: str = ""

    def beginning(self, request: Train) -> str:
        """The chain before the first step."""
        return ""

    def rows(self, request: Train, state: State) -> tuple[MetricRow, ...]:
        """What a step reports."""
        return (MetricRow("val/accuracy", state[0], fraction(state[1])),)

    def marker(self, request: Train) -> Path:
        """The file that says that the trial has misbehaved."""
        return self.folder / request.label.replace("/", "-")

    def before(self, request: Train, step: int, should_stop: Callable[[], bool]) -> Iterator[events.Event]:
        """Misbehave, if it is time to."""
        time.sleep(PAUSES.get(self.behaviour, self.step_s))
        name, _, only = self.behaviour.partition(" ")
        if name == "die":
            os.abort()
        elif name == "broken-gpu":
            break_for_good(self.folder / "broken")
        elif name == "uncaptured-once" and step == 1:
            yield from uncaptured(self.folder, request)
        elif name == "held" and step > 3:
            while (self.folder / "hold").exists() and not should_stop():
                yield from a_moment(step)
        elif step == self.bad_step and only in ("", request.label):
            mishap(name, self.marker(request))

    def after_save(self, request: Train, step: int) -> Iterator[events.Event]:
        """What happens right after a checkpoint."""
        yield from ()

    def after_branch(self, request: Train, step: int) -> Iterator[events.Event]:
        """What happens right after a checkpoint at a branch step, before the rows of that step."""
        yield from ()

    def total(self, request: Train) -> int:
        """How many steps the trial has."""
        return self.steps

    def advance(self, request: Train, state: State) -> State:
        """Train one step."""
        return advanced(state, request.seed)

    def ready(self) -> Ready:
        """What the child says when it has started."""
        return Ready("a pretended GPU" if self.gpu else "no device", {"fake": "1"}, tuple(self.gpu.split()))

    def train(self, request: Train, should_stop: Callable[[], bool]) -> Iterator[events.Event]:
        """Train one trial as the real child does, step by step."""
        folder, total = open_folder(request.folder), self.total(request)
        for found in restored(folder, request, self.beginning(request)):
            if isinstance(found, events.Rejected):
                yield found
            else:
                state, branch_step = found
        yield events.Started(state[0], total, 10, 20, 1000, 100, branch_step)
        # The checkpoint of a branch step lacks the rows of this step.
        saved = (yield from self.reported(folder, request, state)) if branch_step is not None else None
        while state[0] < total:
            for event in self.before(request, state[0] + 1, should_stop):
                yield event
                if isinstance(event, events.Stopped):
                    return
            if should_stop():
                yield save(folder, state, self.weight)
                yield events.Stopped(state[0])
                return
            state = self.advance(request, state)
            if state[0] in request.branch_steps:
                yield from self.saved_branch(request, state)
            saved = (yield from self.reported(folder, request, state)) or saved
        final = {row.name: row.value for row in self.rows(request, state)}
        last = saved.checkpoint if isinstance(saved, events.Saved) else None
        yield events.Finished(TrialResult(Outcome.FINISHED, state[0], final, state[1]), last)

    def reported(
        self, folder: Folder, request: Train, state: State
    ) -> Generator[events.Event, None, events.Saved | events.SaveFailed | None]:
        """Report the step, and save it if it is time to."""
        yield events.Metrics(self.rows(request, state))
        if state[0] % self.save_every:
            return None
        yield events.Saving(state[0])
        saved = save(folder, state, self.weight)
        yield saved
        yield from self.after_save(request, state[0])
        return saved

    def saved_branch(self, request: Train, state: State) -> Iterator[events.Event]:
        """Save the step for other trials."""
        yield events.Saving(state[0])
        saved = save(open_folder(branches_of(request.folder)), state, self.weight)
        yield events.BranchSaved(saved.checkpoint) if isinstance(saved, events.Saved) else saved
        yield from self.after_branch(request, state[0])


def restored(folder: Folder, request: Train, beginning: str) -> Iterator[events.Rejected | tuple[State, int | None]]:
    """What was not accepted, and last of all the state to go on from, with its step if another trial took it."""
    places = [(folder, ref, False) for ref in request.resume]
    if request.branch is not None:
        places.append((open_folder(request.branch.folder), request.branch.checkpoint, True))
    for place, ref, branch in places:
        try:
            found = json.loads(place.read(ref))
        except CheckpointError as error:
            yield events.Rejected(ref.path, str(error), isinstance(error, CheckpointNotFound))
        else:
            yield (found["step"], found["chain"]), found["step"] if branch else None
            return
    yield (0, beginning), None


def save(folder: Folder, state: State, weight: int = 0) -> events.Saved | events.SaveFailed:
    try:
        return events.Saved(folder.write(state[0], payload(state, weight)))
    except OSError as error:
        return events.SaveFailed(state[0], f"not written to {folder}: {error}")


def a_moment(step: int) -> Iterator[events.Event]:
    """Live, without getting on."""
    time.sleep(0.05)
    yield events.Progress(step, 0.0, None, None, 0.0)


def uncaptured(folder: Path, request: Train) -> Iterator[events.Event]:
    """Say once that there is no CUDA graph; leave behind which process trains which trial."""
    (folder / f"pid-of-{request.label.replace('/', '-')}").write_text(str(os.getpid()))
    if once(folder / "uncaptured"):
        yield events.CaptureFailed(1, "RuntimeError: operation not permitted when stream is capturing")


def break_for_good(marker: Path) -> None:
    """Lose the device, in the first child alone, which finds it lost from then on."""
    if once(marker):
        marker.write_text(str(os.getpid()))
    if marker.read_text() == str(os.getpid()):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")


@dataclass(frozen=True)
class Tree(Script):
    """A step follows from its rate, so that trials share the steps that they would share in truth.

    The settings say how many steps there are, on so many training images.
    """

    images: int = 1000

    def beginning(self, request: Train) -> str:
        return beginning(request.parsed())

    def total(self, request: Train) -> int:
        return len(rates(request.parsed(), self.images))

    def advance(self, request: Train, state: State) -> State:
        return advanced_in_tree(state, request.parsed(), request.seed, self.images)


def advanced_in_tree(state: State, settings: Settings, seed: int, images: int) -> State:
    """One step further in a tree."""
    return advanced(state, f"{seed} {rates(settings, images)[state[0]]!r}")


def undisturbed_in_tree(settings: Settings, seed: int, images: int) -> list[State]:
    """Where an undisturbed trial of a tree is after each of its steps."""
    states = [(0, beginning(settings))]
    for _ in rates(settings, images):
        states.append(advanced_in_tree(states[-1], settings, seed, images))
    return states[1:]


class Search(Script):
    """The accuracy rises with every step, the higher the nearer the learning rate is to 0.01."""

    def rows(self, request: Train, state: State) -> tuple[MetricRow, ...]:
        return (MetricRow("val/accuracy", state[0], accuracy_of(request.settings["optimizer"]["lr"], state[0])),)


def accuracy_of(rate: float, step: int) -> float:
    """What a trial of a search reaches."""
    return step / STEPS / (1 + abs(math.log10(rate) + 2))


@dataclass(frozen=True)
class Saves(Script):
    """A longer trial with heavier checkpoints, and what may happen to these."""

    steps: int = 12
    save_every: int = 4
    bad_step: int = 10
    weight: int = 65_536

    def before(self, request: Train, step: int, should_stop: Callable[[], bool]) -> Iterator[events.Event]:
        ballast = Path(request.folder).parents[1] / "ballast"
        if self.behaviour == "give-back" and step == self.bad_step and once(self.marker(request)):
            while len(list(self.folder.glob("demo-*"))) < TOGETHER:
                yield from a_moment(step)
            yield events.Stopped(step - 1)
        elif self.behaviour == "fill" and step == 5:
            fill_the_disk(ballast)
        elif self.behaviour == "fill" and step == 9:
            while ballast.exists():
                yield from a_moment(step)
        elif self.behaviour == "slow-save" and step == self.save_every:
            yield events.Saving(step)
            time.sleep(4.0)
        else:
            yield from super().before(request, step, should_stop)

    def after_save(self, request: Train, step: int) -> Iterator[events.Event]:
        """Where a trial is to raise, wait until the database points to the checkpoint."""
        pointed = self.marker(request).with_name(f"{self.marker(request).name} pointed to {step}")
        while self.behaviour == "raise-once" and step < self.bad_step and not pointed.exists():
            yield from a_moment(step)


def fill_the_disk(ballast: Path) -> None:
    """Leave no room."""
    with ballast.open("wb", buffering=0) as file:
        for size in (65_536, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


@dataclass(frozen=True)
class SharedGpu(Script):
    """A GPU that all children of the folder share: of K each has the rate of one alone times K**gain.

    So much more or less that no pause of the machine hides it. A trial whose number is beyond `memory` finds none.
    """

    room: int | None = 10_000
    gain: int = 12
    memory: int = 8
    there: bool = True

    def ready(self) -> Ready:
        return Ready("a pretended GPU", {"cuda": "pretended"} if self.there else {})

    def train(self, request: Train, should_stop: Callable[[], bool]) -> Iterator[events.Event]:
        if int(request.label.rpartition("/")[2]) > self.memory:
            raise MemoryError("out of memory")
        yield events.Started(0, 10**9, 1, 1, 1, 1)
        if self.behaviour == "diverges":
            yield events.Finished(TrialResult(Outcome.DIVERGED, 1, {}, ""), None)
            return
        steps = 0.0
        while True:
            steps += 100 * len(list(self.folder.glob("room-*"))) ** self.gain
            yield events.Progress(int(steps), 0.0, None, None, 0.0)
            time.sleep(0.01)


def crowd_out(how: str, ready: Ready) -> NoReturn:
    """End, or fall silent, as a child does that finds no memory to start in."""
    replies = int(os.environ[_REPLIES_FD])
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "refused":
        os.write(replies, encode(DeviceUnavailable("device auto: there is no memory to start on", for_now=True)))
    elif how == "silent":
        os.write(replies, encode(ready))
    else:
        raise MemoryError("no memory for torch")
    time.sleep(3600)
    raise AssertionError("nobody ended this child")


def run(script: Script) -> None:
    """Be the child."""
    replies = take_stdout()
    os.environ[_REPLIES_FD] = str(replies.fileno())
    mailbox = RequestReader(take_stdin())
    if script.room is not None and not any(once(script.folder / f"room-{place}") for place in range(script.room)):
        crowd_out(script.crowded_out, script.ready())
    serve(script.train, script.ready(), mailbox, replies)


SCRIPTS: dict[str, type[Script]] = {
    "usual": Script,
    "search": Search,
    "saves": Saves,
    "tree": Tree,
    "shared GPU": SharedGpu,
}


def command(folder: Path, behaviour: str = "ok", *, script: str = "usual", **options: Any) -> list[str]:
    """The command of a child with that script, behaviour and further fields of the script."""
    return [sys.executable, __file__, script, str(folder), json.dumps({"behaviour": behaviour, **options})]


if __name__ == "__main__":
    run(SCRIPTS[sys.argv[1]](Path(sys.argv[2]), **json.loads(sys.argv[3])))
