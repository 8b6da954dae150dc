"""A child that pretends to train on a GPU of fixed power, shared among all children that are given the same folder.

Run as `python probed_child.py FOLDER PEAK ROOM [MISHAP]`: of K children each trains at a rate of PEAK / K**1.5, at most
1, so that sharing costs something, and the one after ROOM finds no memory. With PEAK `none` there is no GPU. MISHAP is
what happens to that one before it is ready instead, or
`diverges` where all networks do.
"""

import os
import signal
import sys
import time
from pathlib import Path

from cifarsweep.spec.types import Outcome, TrialResult
from cifarsweep.training import events
from cifarsweep.worker.child.main import RequestReader, serve, take_stdout
from cifarsweep.worker.child.protocol import DeviceUnavailable, Ready, encode


def trainer(folder: Path, peak: float, room: int):
    def train(request, should_stop):
        number = int(request.label.rpartition("/")[2])
        if number > room:
            raise MemoryError("out of memory")
        yield events.Started(0, 10**9, 1, 1)
        if "diverges" in sys.argv:
            yield events.Finished(TrialResult(Outcome.DIVERGED, 1, {}, ""), None)
            return
        steps = 0.0
        while True:
            children = len(list(folder.iterdir()))
            steps += 100 * min(1.0, peak / children**1.5)
            yield events.Progress(int(steps), 0.0, None, None, 0.0)
            time.sleep(0.01)

    return train


def come_to_grief(mishap: str) -> None:
    if mishap == "refused":
        os.write(replies.fileno(), encode(DeviceUnavailable("there is no memory to start on", for_now=True)))
        time.sleep(600)
    elif mishap == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif mishap == "silent":
        os.write(replies.fileno(), encode(Ready("a pretended GPU", {"cuda": "pretended"})))
        time.sleep(600)
    elif mishap == "crashed":
        raise RuntimeError("CUDA error: uncorrectable ECC error encountered")


if __name__ == "__main__":
    replies = take_stdout()
    (Path(sys.argv[1]) / str(os.getpid())).touch()
    if len(sys.argv) > 4 and len(list(Path(sys.argv[1]).iterdir())) > int(sys.argv[3]):
        come_to_grief(sys.argv[4])
    versions = {"cuda": "pretended"} if sys.argv[2] != "none" else {}
    work = trainer(Path(sys.argv[1]), float(sys.argv[2].replace("none", "1")), int(sys.argv[3]))
    serve(work, Ready("a pretended GPU", versions), RequestReader(sys.stdin.buffer), replies)
