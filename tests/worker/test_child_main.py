"""What a child says of its trials: signs of life, failures in their class, and its own end where the device is lost."""

import contextlib
import io
import os
import subprocess
import sys
import threading
import weakref

import pytest

from cifarsweep.spec.types import CheckpointRef, MetricRow
from cifarsweep.training import events
from cifarsweep.worker.child import main as child
from cifarsweep.worker.child import protocol
from cifarsweep.worker.child.main import _with_keep_alive, serve
from cifarsweep.worker.child.protocol import KeepAlive, Ready, Train, decode_reply

REQUEST = Train("a/0", {"determinism": "exact"}, 0, "folder", (), 60.0)
ROWS = events.Metrics((MetricRow("train/loss", 1, 0.5),))
STARTED, PROGRESS = events.Started(0, 100, 1, 1, 1, 1), events.Progress(1, 0.0, None, None, 0.0)
SAVED = events.Saved(CheckpointRef(1, "path", "0" * 64, 1))
ILLEGAL = RuntimeError("CUDA error: an illegal memory access was encountered")


class Over(BaseException):
    """No more requests."""


class Requests:
    """A mailbox with so many requests in it."""

    def __init__(self, count: int) -> None:
        self.left, self.stop = count, threading.Event()

    def next(self) -> Train:
        if not self.left:
            raise Over
        self.left -= 1
        return REQUEST


def raising(error: Exception):
    def train(request, should_stop):
        yield STARTED
        raise error

    return train


def said(train, *, trials: int = 1, end: type[BaseException] = Over, raw=False, **more) -> list[protocol.Reply]:
    """All that a child says until it ends; signs of life only if `raw`."""
    pipe = io.BytesIO()
    with pytest.raises(end):
        serve(train, Ready("no device", {}), Requests(trials), pipe, **more)
    replies = map(decode_reply, pipe.getvalue().splitlines())
    return [reply for reply in replies if raw or not isinstance(reply, KeepAlive)]


class Ear(io.BytesIO):
    """A pipe that notes the first sign of life."""

    def __init__(self) -> None:
        super().__init__()
        self.heard = threading.Event()

    def write(self, line) -> int:
        if isinstance(decode_reply(line), KeepAlive):
            self.heard.set()
        return super().write(line)


def test_the_first_steps_may_take_longer_than_a_lease():
    """They load CUDA's libraries from a disk that may be cold, and cuDNN tries its ways."""
    ear = Ear()

    def train(request, should_stop):
        yield STARTED
        assert ear.heard.wait(200), "a child in its first steps gives no sign of life"
        yield ROWS

    with pytest.raises(Over):
        serve(train, Ready("no device", {}), Requests(1), ear)

    assert ROWS in map(decode_reply, ear.getvalue().splitlines())


def test_a_child_that_hangs_in_its_first_steps_falls_silent_in_the_end(monkeypatch):
    monkeypatch.setattr(child, "_LONGEST_KEEP_ALIVE_S", 0.0)
    seconds, later = [], threading.Event()
    monkeypatch.setattr(child.time, "sleep", lambda s: later.set() if len(seconds) > 2 else seconds.append(s))

    def train(request, should_stop):
        assert later.wait(200)
        yield ROWS

    assert said(train, raw=True)[1:] == [ROWS]


class EventWriter:
    """Knows whether it would speak now."""

    speaks = False

    @contextlib.contextmanager
    def keep_alive(self):
        self.speaks = True
        yield
        self.speaks = False


def test_silence_counts_again_once_training_is_under_way():
    writer, slow = EventWriter(), []

    def train():
        for event in (
            events.Rejected("path", "gone", True),
            STARTED,
            PROGRESS,
            ROWS,
            PROGRESS,
            events.Saving(2),
            SAVED,
        ):
            slow.append((type(event).__name__, writer.speaks))
            yield event
        slow.append(("the end", writer.speaks))

    list(_with_keep_alive(train(), writer))

    assert slow == [
        *(("Rejected", True), ("Started", True), ("Progress", True), ("Metrics", True)),
        *(("Progress", False), ("Saving", False), ("Saved", True), ("the end", False)),
    ]


def test_an_error_of_the_trial_is_an_answer_and_the_child_lives_on():
    replies = said(raising(ValueError("boom")), trials=2)

    failures = [reply for reply in replies if isinstance(reply, protocol.Failed)]
    assert [(each.error, each.out_of_memory) for each in failures] == [("ValueError: boom", False)] * 2


def test_memory_that_runs_out_is_told_from_other_errors():
    failure = said(raising(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")))[
        -1
    ]

    assert isinstance(failure, protocol.Failed) and failure.out_of_memory


def test_what_a_gpu_can_not_do_exactly_is_one_sentence():
    error = RuntimeError("reflection_pad2d_backward_cuda does not have a deterministic implementation, but you set ...")

    failure = said(raising(error))[-1]

    assert isinstance(failure, protocol.Failed)
    assert failure.error.startswith("reflection_pad2d_backward_cuda gives other bits each time on a GPU")
    assert "--set determinism=fast" in failure.error and "does not have" in failure.traceback


def test_a_lost_device_ends_the_child_without_an_answer():
    replies = said(raising(ILLEGAL), end=RuntimeError)

    assert [type(reply).__name__ for reply in replies] == ["Ready", "Started"]


def test_a_device_that_a_trial_broke_in_silence_is_not_given_to_the_next_trial():
    def check() -> None:
        raise ILLEGAL

    replies = said(raising(ValueError("boom")), end=RuntimeError, check=check)

    assert [type(reply).__name__ for reply in replies] == ["Ready", "Started"]


def test_a_device_is_not_asked_to_compute_when_its_memory_is_full():
    def check() -> None:
        raise AssertionError

    failure = said(raising(MemoryError("out of memory")), check=check)[-1]

    assert isinstance(failure, protocol.Failed) and failure.out_of_memory


def test_memory_is_freed_after_each_trial_when_nothing_holds_it_any_more():
    held, freed = [], []

    def train(request, should_stop):
        memory = Ear()
        held.append(weakref.ref(memory))
        yield STARTED
        if len(held) == 2:
            raise ValueError("boom")

    def free_memory():
        freed.append(held[-1]() is None)

    replies = said(train, trials=3, free_memory=free_memory)

    assert freed == [True, True, True]
    assert [type(reply) for reply in replies].count(protocol.Failed) == 1


PREPARE = """
import os, sys
import cifarsweep.training.events, cifarsweep.checkpoints.folder
from cifarsweep.worker.child.main import prepare_process

prepare_process()
print(os.environ["CUBLAS_WORKSPACE_CONFIG"], "torch" in sys.modules)
"""


def prepared(**environment):
    clean = {name: value for name, value in os.environ.items() if name != "CUBLAS_WORKSPACE_CONFIG"}
    command = [sys.executable, "-c", PREPARE]
    done = subprocess.run(command, env=clean | environment, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_a_process_is_prepared_before_torch_is_there():
    assert prepared() == [":4096:8", "False"]


def test_what_the_user_chose_for_cublas_stays():
    assert prepared(CUBLAS_WORKSPACE_CONFIG=":16:8") == [":16:8", "False"]
