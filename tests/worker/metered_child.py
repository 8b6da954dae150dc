"""The fake child on a pretended GPU: each step takes a while, and each trial takes its process down once.

Run as `python metered_child.py STATE_FOLDER`.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import fake_child
from pretended_nvml import ADDRESS

from cifarsweep.training import events
from cifarsweep.worker.child.main import RequestReader, serve, take_stdout
from cifarsweep.worker.child.protocol import Ready, Train

#: The checkpoint before it is of step 4.
CRASH_AT = 5


def train(request: Train, should_stop: Callable[[], bool]) -> Iterator[events.Event]:
    state = Path(sys.argv[1])
    for event in fake_child.trainer("ok", state)(request, should_stop):
        if isinstance(event, events.Metrics):
            time.sleep(0.3)  # longer than a commit on a slow disk, after which all that was said has no time between
            if event.rows[0].step == CRASH_AT and fake_child.once(state, request.label.replace("/", "-")):
                os.abort()
        yield event


if __name__ == "__main__":
    replies = take_stdout()
    serve(train, Ready("a pretended GPU", {"fake": "1"}, ADDRESS), RequestReader(sys.stdin.buffer), replies)
