"""One of the other processes of a trial on several devices: trains what its leader trains, and says why it fails.

Requests and decisions come from stdin; when that ends, the leader is gone, and this process ends at once, whatever it
does. It writes one reply to stdout, as the leader would write it to the supervisor, and only where a trial fails.
"""

from __future__ import annotations

import os
import select
import sys
import threading
import traceback
from pathlib import Path
from typing import BinaryIO

from cifarsweep.errors import CodeUnusable, DataUnusable
from cifarsweep.own_code import allow
from cifarsweep.worker.child.main import failed, prepare_process, take_stdin, take_stdout
from cifarsweep.worker.child.peers import LEAVE, LOST_OTHERS, YES
from cifarsweep.worker.child.protocol import CODE, DataRefused, Reply, Train, decode_request, encode
from cifarsweep.worker.failures import Failure, classify
from cifarsweep.worker.signals import ignore_signals


class Orders:
    """What the leader says. A thread ends this process when the leader is gone, also while it computes."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        threading.Thread(target=self._end_with_leader, daemon=True).start()

    def next(self) -> Train | None:
        """Return the next trial; None to end."""
        line = self._source.readline()
        if not line:
            os._exit(0)
        if line == LEAVE:
            return None
        request = decode_request(line)
        assert isinstance(request, Train)
        return request

    def agree(self, _: bool) -> bool:
        """Return the leader's decision."""
        word = self._source.read(1)
        if not word:
            os._exit(0)
        return word == YES

    def _end_with_leader(self) -> None:
        hung_up = select.poll()
        hung_up.register(self._source, 0)  # the end alone, whatever is still to be read
        hung_up.poll()
        os._exit(0)


def _reply(error: Exception, request: Train | None) -> Reply | None:
    """Return what the supervisor is told; None for what ends a child, as a device does that is lost."""
    if isinstance(error, DataUnusable):
        return DataRefused(str(error), of_code=isinstance(error, CodeUnusable), child_ends=True)
    kind = classify(error)
    if kind is Failure.DEVICE_LOST or (request is None and kind is Failure.OWN):
        return None
    return failed(error, kind, request, child_ends=True)


def main() -> None:
    """Train with the others until the leader says that it is enough."""
    pipe, orders = take_stdout(), Orders(take_stdin())
    ignore_signals()
    prepare_process()
    rank, size, meeting_point, device = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
    allow([word.removeprefix(CODE) for word in sys.argv if word.startswith(CODE)])
    request: Train | None = None
    try:
        # torch is imported only now: it reads what was just set.
        from cifarsweep.worker.child.trainer import DeviceTrainer, TeamBroken, join

        trainer = DeviceTrainer.on(device.removeprefix("cuda:"))
        team = join(rank, size, trainer.device, orders.agree, meeting_point)
        while (request := orders.next()) is not None:
            for _ in trainer.train(request, team=team):
                pass
            trainer.free_memory()
        team.leave()
    except TeamBroken as error:
        sys.stderr.write(f"{error}\n")
        sys.stderr.flush()
        os._exit(LOST_OTHERS)
    except Exception as error:
        traceback.print_exc()
        reply = _reply(error, request)
        if reply is not None:
            pipe.write(encode(reply))
            pipe.flush()
        sys.stderr.flush()
        os._exit(1)


if __name__ == "__main__":
    main()
