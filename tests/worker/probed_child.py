"""A child that pretends to train on a GPU of fixed power, shared among all children that are given the same folder.

Run as `python probed_child.py FOLDER PEAK ROOM`: of K children each trains at a rate of PEAK / K**1.5, at most 1, so
that sharing costs something, and the one after ROOM finds no memory. With PEAK `none` there is no GPU.
"""

import sys
import time
from pathlib import Path

from cifarsweep.spec.words import MetricRow
from cifarsweep.training import events
from cifarsweep.worker.child import Mailbox, serve, take_stdout
from cifarsweep.worker.protocol import Ready


def trainer(folder: Path, peak: float, room: int):
    def train(request, should_stop):
        number = int(request.label.rpartition("/")[2])
        if number > room:
            raise MemoryError("out of memory")
        (folder / str(number)).touch()
        images = 0.0
        while True:
            children = len(list(folder.iterdir()))
            images += 100 * min(1.0, peak / children**1.5)
            yield events.Metrics((MetricRow("images", int(images), images),))
            time.sleep(0.01)

    return train


if __name__ == "__main__":
    replies = take_stdout()
    versions = {"cuda": "pretended"} if sys.argv[2] != "none" else {}
    work = trainer(Path(sys.argv[1]), float(sys.argv[2].replace("none", "1")), int(sys.argv[3]))
    serve(work, Ready("a pretended GPU", versions), Mailbox(sys.stdin.buffer), replies)
