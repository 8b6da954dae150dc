"""Children that have to share little memory: `python narrow_child.py FOLDER ROOM MISHAP`; only ROOM of them ever start.

MISHAP is how the others end: `refused` by the device, `killed` by the system, or by an `exception`.
"""

import os
import signal
import sys
import time
from pathlib import Path

from fake_child import once, trainer

from cifarsweep.worker.child.main import RequestReader, serve, take_stdin, take_stdout
from cifarsweep.worker.child.protocol import DeviceUnavailable, Ready, encode

if __name__ == "__main__":
    folder, room, mishap = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    replies = take_stdout()
    mailbox = RequestReader(take_stdin())
    if not any(once(folder, f"room-{number}") for number in range(room)):
        if mishap == "refused":
            os.write(
                replies.fileno(), encode(DeviceUnavailable("device auto: there is no memory to start on", for_now=True))
            )
            time.sleep(600)
        elif mishap == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        raise MemoryError("no memory for torch")
    serve(trainer("ok", folder), Ready("no device", {"fake": "1"}), mailbox, replies)
