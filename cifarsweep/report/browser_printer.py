"""One Chromium that prints many pages, asked through a pipe: starting one for each page takes most of the time."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cifarsweep.environment import without_database
from cifarsweep.errors import OutputError
from cifarsweep.files import scratch
from cifarsweep.report.browser_print import TIMEOUT_S, VARIABLE, chromium_command

#: Chromium reads questions from this file descriptor, and answers on the next.
_QUESTIONS = 3
#: A page that says its own paper size, as it is.
_AS_IT_IS = {
    "preferCSSPageSize": True,
    "printBackground": True,
    **{f"margin{side}": 0 for side in ("Top", "Bottom", "Left", "Right")},
}


@contextmanager
def printer() -> Iterator[Callable[[Path], bytes]]:
    """A function that prints a page, which says its own paper size, into a PDF. It raises OutputError."""
    with scratch() as folder, _chromium(folder) as browser:
        target = browser.ask("Target.createTarget", url="about:blank")["targetId"]
        browser.session = browser.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        browser.ask("Page.enable")

        def print_page(page: Path) -> bytes:
            browser.ask("Page.navigate", url=page.resolve().as_uri())
            browser.wait(lambda message: message.get("method") == "Page.loadEventFired")
            return base64.b64decode(browser.ask("Page.printToPDF", **_AS_IT_IS)["data"])

        yield print_page


@contextmanager
def _chromium(folder: Path) -> Iterator[_Browser]:
    """A running Chromium, which has ended afterwards."""
    questions, answers = _pipe(), _pipe()
    command = [*chromium_command(folder), "--remote-debugging-pipe", "about:blank"]
    actions = [
        (os.POSIX_SPAWN_DUP2, questions[0], _QUESTIONS),
        (os.POSIX_SPAWN_DUP2, answers[1], _QUESTIONS + 1),
        *((os.POSIX_SPAWN_OPEN, stream, os.devnull, os.O_WRONLY, 0) for stream in (1, 2)),
    ]
    try:
        pid = os.posix_spawn(command[0], command, without_database(), file_actions=actions, setsid=True)
    except OSError as error:
        _close(*questions, *answers)
        raise OutputError(f"{command[0]}: can't be started: {error.strerror}; let ${VARIABLE} name another") from None
    _close(questions[0], answers[1])
    try:
        yield _Browser(questions[1], answers[0])
    finally:
        _close(questions[1], answers[0])
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)  # it has nothing to save
        os.waitpid(pid, 0)


class _Browser:
    """Questions to a Chromium and its answers, JSON texts with a zero behind each.

    https://chromedevtools.github.io/devtools-protocol
    """

    def __init__(self, questions: int, answers: int) -> None:
        self._questions, self._answers, self._read, self._last = questions, answers, b"", 0
        self.session: str | None = None

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Ask for something and return what came of it."""
        self._last += 1
        question = {"id": self._last, "method": method, "params": parameters}
        if self.session:
            question["sessionId"] = self.session
        with suppress(BrokenPipeError):  # it ended: reading says so
            os.write(self._questions, json.dumps(question).encode() + b"\0")
        answer = self.wait(lambda message: message.get("id") == question["id"])
        if "error" in answer:
            raise OutputError(f"Chromium drew nothing: {answer['error'].get('message', 'it said nothing')}")
        found: dict[str, Any] = answer["result"]
        return found

    def wait(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The next message of this kind; others are dropped."""
        until = time.monotonic() + TIMEOUT_S
        while True:
            text, zero, rest = self._read.partition(b"\0")
            if zero:
                self._read = rest
                message: dict[str, Any] = json.loads(text)
                if wanted(message):
                    return message
                continue
            if not select.select([self._answers], [], [], max(until - time.monotonic(), 0))[0]:
                raise OutputError(f"Chromium did not draw it within {TIMEOUT_S} s; try again")
            more = os.read(self._answers, 1 << 20)
            if not more:
                raise OutputError(f"Chromium drew nothing and ended; let ${VARIABLE} name another")
            self._read += more


def _pipe() -> tuple[int, int]:
    """Both ends of a pipe, away from the numbers that the browser gets."""
    low = os.pipe()
    high = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in low]
    _close(*low)
    return high[0], high[1]


def _close(*ends: int) -> None:
    for end in ends:
        os.close(end)
