"""The far end of `launch --hosts`: it starts a launcher that outlives the connection, or joins the one that runs.

ssh starts an *attendant*. Its standard input has a line with the launcher's environment, which no list of processes
shows, then a line for each request to stop. The input's end means that the connection is gone: the launcher goes on.
A *keeper* is the parent of the launcher. Both hold a lock in the folder of logs while they live, and the keeper writes
down how the launcher ended.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from cifarsweep.errors import CifarsweepError, SpecError
from cifarsweep.files import private_opener, write_atomically
from cifarsweep.store.url import parse_url, redacted
from cifarsweep.text import quoted

_TICK_S = 0.2
#: How long a keeper may take to start its launcher. Seconds.
_LONGEST_START_S = 60.0


@dataclass(frozen=True, slots=True)
class Kept:
    """What the keeper wrote of a launcher; `code` is None while it runs."""

    pid: int
    command: list[str]
    #: Without its password.
    database: str
    #: Where its output begins in the log.
    offset: int
    code: int | None = None


@dataclass(frozen=True, slots=True)
class _Files:
    """The files of the launcher of one folder."""

    folder: Path

    @property
    def lock(self) -> Path:
        return self.folder / "launch.lock"

    @property
    def log(self) -> Path:
        return self.folder / "launch.log"

    @property
    def state(self) -> Path:
        return self.folder / "launch.json"

    def read(self) -> Kept | None:
        try:
            return Kept(**json.loads(self.state.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def write(self, kept: Kept) -> None:
        write_atomically(self.state, json.dumps(asdict(kept)).encode())


def attend(folder: Path, command: Sequence[str], say: Callable[[str], None]) -> int:
    """Start the command, or join it where it runs; say its lines, and return its exit code.

    Reads standard input, as the module says. Raises SpecError where a launcher with another command runs.
    """
    requests = open(0, "rb", buffering=0, closefd=False)  # noqa: SIM115 - a thread reads it to the end
    environment = _environment(requests.readline())
    files = _Files(folder.absolute())
    files.folder.mkdir(parents=True, exist_ok=True)
    with files.lock.open("ab") as lock:
        started = _is_free(lock.fileno())
        if started:
            _start_keeper(files, command, environment, lock.fileno())
    kept = _wait_for_state(files)
    if (kept.command, kept.database) != (list(command), _database(environment)):
        # The host's own folder of logs is not what anybody gave.
        given = " ".join(word for word in kept.command[4:] if not word.startswith("--logs="))
        raise SpecError(
            f"other workers run there already: launcher {kept.pid}, for {kept.database}. Give what they were started "
            f"with, {quoted(given)}, to join them, or another --logs"
        )
    how = "started" if started else "joined"
    say(f"{how} launcher {kept.pid}; its output is in {files.log}")
    gone = threading.Event()
    threading.Thread(target=_hear, args=(requests.readline, files, gone), daemon=True).start()
    return _follow(files, kept.offset if started else files.log.stat().st_size, say, gone)


def _environment(line: bytes) -> dict[str, str]:
    try:
        given = json.loads(line)
        return {str(name): str(value) for name, value in given.items()}
    except (ValueError, AttributeError):
        raise CifarsweepError("this command is for `launch --hosts`, which tells it its environment") from None


def _database(environment: Mapping[str, str]) -> str:
    return redacted(parse_url(environment.get("CIFARSWEEP_DB", "")))


def _is_free(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _start_keeper(files: _Files, command: Sequence[str], environment: Mapping[str, str], lock: int) -> None:
    files.state.unlink(missing_ok=True)
    with open(files.log, "ab", opener=private_opener) as log:
        # A session of its own, and no stream of ssh: neither the end of a connection nor its terminal concerns it.
        subprocess.Popen(
            [sys.executable, "-m", __name__, str(files.folder), str(lock), _database(environment), *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=os.environ | environment,
            pass_fds=[lock],
            start_new_session=True,
        )


def _wait_for_state(files: _Files) -> Kept:
    give_up = time.monotonic() + _LONGEST_START_S
    while (kept := files.read()) is None:
        if time.monotonic() > give_up:
            raise CifarsweepError(f"the launcher does not start; see {files.log}")
        time.sleep(_TICK_S)
    return kept


def _hear(next_line: Callable[[], bytes], files: _Files, gone: threading.Event) -> None:
    """Pass on each request to stop, until the connection is gone."""
    with contextlib.suppress(OSError):
        while next_line():
            kept = files.read()
            if kept is not None and kept.code is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(kept.pid, signal.SIGTERM)
    gone.set()


def _follow(files: _Files, offset: int, say: Callable[[str], None], gone: threading.Event) -> int:
    """Say the log's lines until the launcher has ended, or until nobody listens any more."""
    with files.log.open("rb") as log:
        log.seek(offset)
        rest = b""
        while not gone.is_set():
            ended = _code(files)
            *lines, rest = (rest + log.read()).split(b"\n")
            for line in [*lines, *([rest] if rest and ended is not None else [])]:
                say(line.decode(errors="replace"))
            if ended is not None:
                return ended
            gone.wait(_TICK_S)
    return 0


def _code(files: _Files) -> int | None:
    """How the launcher ended; None while it runs."""
    kept = files.read()
    if kept is None or kept.code is not None:
        return 1 if kept is None else kept.code
    with files.lock.open("ab") as lock:
        if not _is_free(lock.fileno()):
            return None
    # The keeper wrote just now how the launcher ended, or both were killed.
    code = (files.read() or kept).code
    return 128 + signal.SIGKILL if code is None else code


def _keep(folder: str, lock: str, database: str, *command: str) -> None:
    """Run the launcher, and write down how it ends."""
    files = _Files(Path(folder))
    offset = files.log.stat().st_size
    process = subprocess.Popen(command, pass_fds=[int(lock)])
    kept = Kept(process.pid, list(command), database, offset)
    files.write(kept)
    code = process.wait()
    files.write(replace(kept, code=code if code >= 0 else 128 - code))


if __name__ == "__main__":
    _keep(*sys.argv[1:])
