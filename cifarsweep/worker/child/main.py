"""The child: holds the device, trains one trial after another, and never sees the database.

Imports, device and data set are set up once. The child reads requests from stdin and writes replies to its original
stdout; when stdin ends, the supervisor is gone and the child ends too.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import BinaryIO, NoReturn

from cifarsweep.errors import CodeUnusable, DataUnusable, DeviceError
from cifarsweep.own_code import allow
from cifarsweep.training.events import Event, Metrics, Rejected, Saving
from cifarsweep.worker.child.protocol import (
    CODE,
    NO_GRAPHS,
    DataRefused,
    DeviceUnavailable,
    Failed,
    KeepAlive,
    Ready,
    Reply,
    Request,
    Stop,
    Train,
    decode_request,
    encode,
)
from cifarsweep.worker.failures import Failure, classify, explain
from cifarsweep.worker.signals import ignore_signals

#: Trains one request; calls the second argument at every step, and stops when it returns True.
Trainer = Callable[[Train, Callable[[], bool]], Iterator[Event | Failed]]


#: How long keep-alives are sent for one wait, in seconds; after that the trial counts as hung.
_LONGEST_KEEP_ALIVE_S = 600.0
#: mallopt(3): the size from which a block is mapped on its own, and the free memory at the top that is given back.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


class RequestReader:
    """Reads requests in a thread, so that `stop` is seen in the middle of a trial.

    Signals are ignored: batch systems and systemd send them to every process of a job, and the supervisor decides.
    """

    def __init__(self, source: BinaryIO) -> None:
        ignore_signals()
        self._trials: queue.SimpleQueue[Train] = queue.SimpleQueue()
        self.stop = threading.Event()
        threading.Thread(target=self._read, args=(source,), daemon=True).start()

    def _read(self, source: BinaryIO) -> None:
        for line in source:
            self._deliver(decode_request(line))
        # The supervisor is gone and its lease ends: not even a checkpoint is worth finishing.
        os._exit(0)

    def _deliver(self, request: Request) -> None:
        if isinstance(request, Stop):
            self.stop.set()
        else:
            self.stop.clear()
            self._trials.put(request)

    def next(self) -> Train:
        return self._trials.get()


class EventWriter:
    """Writes replies. A thread writes KeepAlive every second inside `keep_alive` blocks.

    A slow disk is no hung GPU, so preparation, first steps and checkpoints send keep-alives, up to a limit.
    """

    def __init__(self, pipe: BinaryIO) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()
        self._keeping_alive = threading.Event()
        self._since = 0.0
        threading.Thread(target=self._send_keep_alives, daemon=True).start()

    def send(self, message: Reply) -> None:
        with self._lock:
            self._pipe.write(encode(message))
            self._pipe.flush()

    def end_with(self, line: bytes) -> NoReturn:
        """Write a last reply, and end this process."""
        with self._lock:
            self._pipe.write(line)
            self._pipe.flush()
            os._exit(0)

    @contextlib.contextmanager
    def keep_alive(self) -> Iterator[None]:
        """Send keep-alives until the block ends."""
        self._since = time.monotonic()
        self._keeping_alive.set()
        try:
            yield
        finally:
            self._keeping_alive.clear()

    def _send_keep_alives(self) -> None:
        while self._keeping_alive.wait():
            time.sleep(1.0)
            if self._keeping_alive.is_set() and time.monotonic() - self._since < _LONGEST_KEEP_ALIVE_S:
                self.send(KeepAlive())


def _no_op() -> None:
    """The hooks of a device that can't be lost and has no memory of its own."""


def serve(
    train: Trainer,
    ready: Ready,
    requests: RequestReader,
    pipe: BinaryIO | EventWriter,
    check: Callable[[], None] = _no_op,
    free_memory: Callable[[], None] = _no_op,
    must_end: Callable[[], bool] = lambda: False,
) -> None:
    """Answer requests until stdin ends. An exception of a trial becomes a reply.

    It returns where `must_end` says so after a failure, since other processes of the trial are in no known state.

    An exception that leaves the device unusable is raised and ends the child, so that the next trial gets a new one.
    CUDA may report an error one call late, so `check`, which raises then, is called after a failure. `free_memory` is
    called after each trial: other children may need the memory of a shared GPU.
    """
    writer = pipe if isinstance(pipe, EventWriter) else EventWriter(pipe)
    writer.send(ready)
    while True:
        request = requests.next()
        try:
            with writer.keep_alive():
                events = train(request, requests.stop.is_set)
            for event in _with_keep_alive(events, writer):
                writer.send(event)
        except DataUnusable as error:
            writer.send(DataRefused(str(error), isinstance(error, CodeUnusable), child_ends=must_end()))
        except Exception as error:  # whatever a trial raises is that trial's result
            kind = classify(error)
            if kind is Failure.DEVICE_LOST:
                raise
            if kind is Failure.OWN:
                check()
            writer.send(failed(error, kind, request, child_ends=must_end()))
        if must_end():
            return
        free_memory()


def _with_keep_alive(events: Iterator[Event | Failed], writer: EventWriter) -> Iterator[Event | Failed]:
    """Yield the events, with keep-alives while the next one may take long.

    A checkpoint waits for a disk or a network. The steps before the first row load 2 GB of CUDA libraries, perhaps from
    a cold disk, and let cuDNN choose algorithms, which takes minutes for a large network.
    """
    slow, begun = True, False
    while True:
        with writer.keep_alive() if slow else contextlib.nullcontext():
            event = next(events, None)
        if event is None:
            return
        yield event
        begun = begun or isinstance(event, Metrics)
        slow = not begun or isinstance(event, Rejected | Saving)


def failed(error: Exception, kind: Failure, request: Train | None, *, child_ends: bool = False) -> Failed:
    """Return what to tell of a trial that raised `error`; without a request it had not begun."""
    text = "".join(traceback.format_exception(error))
    sentence = explain(error, request.settings.get("determinism", "exact") if request else "exact")
    return Failed(sentence[:2000], text[-20_000:], kind is Failure.OUT_OF_MEMORY, child_ends=child_ends)


def take_stdout() -> BinaryIO:
    """Return the pipe to the supervisor; later prints of any library go to stderr."""
    # Buffered: a signal can cut a bare write of a long line short.
    pipe = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return pipe


def take_stdin() -> BinaryIO:
    """Return the pipe from the supervisor. Not `sys.stdin`: Python aborts if a thread still reads it at exit."""
    return os.fdopen(os.dup(sys.stdin.fileno()), "rb")


def prepare_process() -> None:
    """Set what CUDA and the allocator read once, before torch is imported; other processes are not touched.

    Without `CUBLAS_WORKSPACE_CONFIG`, cuBLAS may add in another order each time, and `determinism = "exact"` refuses to
    run on a GPU (docs.nvidia.com/cuda/cublas, section "Results Reproducibility").
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if sys.platform == "linux":
        _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Make glibc keep what torch frees: otherwise each step returns its activations and faults them in again.

    Worth 5 to 15 % of a convnet's CPU time. Another C library has no `mallopt`, or refuses; then nothing changes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)


def main() -> None:
    """Serve real training on the device that the command line names."""
    replies = take_stdout()
    requests = RequestReader(take_stdin())

    prepare_process()
    try:
        # torch is imported only now: it reads what was just set.
        from cifarsweep.worker.child.trainer import DeviceTrainer, Leader

        code = [word for word in sys.argv if word.startswith(CODE)]
        allow([word.removeprefix(CODE) for word in code])
        trainer = DeviceTrainer.on(sys.argv[1], graphs=NO_GRAPHS not in sys.argv)
    except DeviceError as error:
        replies.write(encode(DeviceUnavailable(str(error))))
        return
    except (RuntimeError, MemoryError, OSError, ImportError) as error:
        short = classify(error) is Failure.OUT_OF_MEMORY
        if not short and not isinstance(error, RuntimeError):
            raise  # CUDA's are RuntimeErrors; a broken installation has more to tell
        what = "there is no memory to start in" if short else "can't be used"
        reason = f"{type(error).__name__}: {str(error).strip()}".splitlines()[0]
        replies.write(encode(DeviceUnavailable(f"device {sys.argv[1]}: {what}: {reason}", for_now=True)))
        return
    versions = {"python": platform.python_version(), **trainer.versions()}
    ready = Ready(trainer.device_name, versions, trainer.gpus)
    writer = EventWriter(replies)
    leader = Leader(trainer, code, writer.end_with)
    serve(leader.train, ready, requests, writer, trainer.check, trainer.free_memory, lambda: leader.failed)
    if leader.failed:
        os._exit(1)  # in order, libraries would wait for the other processes of the trial


if __name__ == "__main__":
    main()
