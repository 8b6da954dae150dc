"""The child: holds the device, trains one trial after another, and never sees the database.

Imports, device set-up and the data set are paid once. It reads requests from stdin and writes replies to what was its
stdout; when stdin ends, its supervisor is gone and it ends too.
"""

from __future__ import annotations

import contextlib
import os
import platform
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import BinaryIO

from cifarsweep.training.events import Event, Rejected, Saving
from cifarsweep.training.process import prepare_process
from cifarsweep.worker.protocol import (
    Failed,
    Preparing,
    Ready,
    Refused,
    Reply,
    Request,
    Stop,
    Train,
    decode_request,
    encode,
)

#: Trains one request, asking the second argument at every step whether to stop.
Trainer = Callable[[Train, Callable[[], bool]], Iterator[Event]]


#: How long a trial may take to its first event, in seconds, before it counts as hung.
_LONGEST_PREPARATION_S = 600.0


class Mailbox:
    """Requests as they come, read by a thread so that `stop` is heard in the middle of a trial.

    The supervisor alone gives orders: batch systems and systemd send their signals to every process of a job.
    """

    def __init__(self, source: BinaryIO) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)
        self._trials: queue.SimpleQueue[Train] = queue.SimpleQueue()
        self.stop = threading.Event()
        threading.Thread(target=self._read, args=(source,), daemon=True).start()

    def _read(self, source: BinaryIO) -> None:
        for line in source:
            self._deliver(decode_request(line))
        # The supervisor is gone, so nobody may write for this trial any more: not even a checkpoint is worth finishing.
        os._exit(0)

    def _deliver(self, request: Request) -> None:
        if isinstance(request, Stop):
            self.stop.set()
        else:
            self.stop.clear()
            self._trials.put(request)

    def next(self) -> Train:
        """Wait for the next trial."""
        return self._trials.get()


class Mouth:
    """Writes replies, from the trial and from a thread that speaks for a trial that can't yet.

    While a trial is being prepared, or a checkpoint saved, it says so every second: a slow disk is no hung GPU, but not
    for ever.
    """

    def __init__(self, pipe: BinaryIO) -> None:
        self._pipe = pipe
        self._one_at_a_time = threading.Lock()
        self._preparing = threading.Event()
        self._since = 0.0
        threading.Thread(target=self._speak, daemon=True).start()

    def say(self, message: Reply) -> None:
        """Write one reply as one line, whoever else speaks."""
        with self._one_at_a_time:
            self._pipe.write(encode(message))
            self._pipe.flush()

    @contextlib.contextmanager
    def preparing(self) -> Iterator[None]:
        """Give signs of life until the block is over."""
        self._since = time.monotonic()
        self._preparing.set()
        try:
            yield
        finally:
            self._preparing.clear()

    def _speak(self) -> None:
        while self._preparing.wait():
            time.sleep(1.0)
            if self._preparing.is_set() and time.monotonic() - self._since < _LONGEST_PREPARATION_S:
                self.say(Preparing())


def serve(train: Trainer, ready: Ready, mailbox: Mailbox, pipe: BinaryIO) -> None:
    """Answer requests until stdin ends. An exception of a trial is a reply, not the end of the child.

    But for those after which nothing works on the device any more: they end it, so that the next trial gets a new one.
    """
    mouth = Mouth(pipe)
    mouth.say(ready)
    while True:
        request = mailbox.next()
        try:
            with mouth.preparing():
                events = train(request, mailbox.stop.is_set)
            for event in _with_signs_of_life(events, mouth):
                mouth.say(event)
        except Exception as error:  # whatever a trial raises is that trial's result
            failure = _failure(error)
            if _device_lost(error) and not failure.out_of_memory:
                raise
            mouth.say(failure)


def _with_signs_of_life(events: Iterator[Event], mouth: Mouth) -> Iterator[Event]:
    """The events; the child says that it lives while the next one may wait for a disk or a network."""
    slow = True
    while True:
        with mouth.preparing() if slow else contextlib.nullcontext():
            event = next(events, None)
        if event is None:
            return
        yield event
        slow = isinstance(event, Rejected | Saving)


def _failure(error: Exception) -> Failed:
    # torch's errors by name, so that a child without torch can serve as well; its CPU allocator has none of its own.
    signs = ("DefaultCPUAllocator", "CUDA error: out of memory")
    by_name = type(error).__name__ == "OutOfMemoryError" or any(sign in str(error) for sign in signs)
    out_of_memory = isinstance(error, MemoryError) or by_name
    text = "".join(traceback.format_exception(error))
    return Failed(f"{type(error).__name__}: {error}"[:2000], text[-20_000:], out_of_memory)


def _device_lost(error: Exception) -> bool:
    """Whether it is an error of CUDA's: an illegal access or a fault of the GPU breaks the context for good."""
    return type(error).__name__ == "AcceleratorError" or "CUDA error" in str(error)


def take_stdout() -> BinaryIO:
    """The pipe to the supervisor; later prints of any library go to stderr instead."""
    # Buffered: a bare write may leave a part of a long line behind where a signal comes in between.
    pipe = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return pipe


def main() -> None:
    """Serve real training on the device that the command line names."""
    replies = take_stdout()
    mailbox = Mailbox(sys.stdin.buffer)

    prepare_process()
    # Only now torch: it reads what was just prepared.
    from cifarsweep.errors import DeviceError
    from cifarsweep.worker.trainer import DeviceTrainer

    try:
        trainer = DeviceTrainer.on(sys.argv[1])
    except DeviceError as error:
        replies.write(encode(Refused(str(error))))
        return
    versions = {"python": platform.python_version(), **trainer.versions()}
    serve(trainer.train, Ready(trainer.device_name, versions, trainer.gpu), mailbox, replies)


if __name__ == "__main__":
    main()
