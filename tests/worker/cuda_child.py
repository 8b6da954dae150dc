"""A child whose device breaks for good in its first trial, of the first child alone: `python cuda_child.py FOLDER`."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from fake_child import once, trainer

from cifarsweep.training import events
from cifarsweep.worker.child.main import RequestReader, serve, take_stdin, take_stdout
from cifarsweep.worker.child.protocol import Ready, Train

_broken = False


def train(request: Train, should_stop: Callable[[], bool]) -> Iterator[events.Event]:
    global _broken
    _broken = _broken or once(Path(sys.argv[1]), "broken")
    if _broken:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")
    return trainer("ok", Path(sys.argv[1]))(request, should_stop)


if __name__ == "__main__":
    replies = take_stdout()
    serve(train, Ready("a pretended GPU", {}), RequestReader(take_stdin()), replies)
