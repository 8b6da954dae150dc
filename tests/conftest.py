"""What tests of several rooms need."""

import atexit
import functools
import gc
import logging
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import traceback
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import alembic.util
import hypothesis
import pytest
from sqlalchemy import Engine, event
from support.statements import SharedStatements, prepared_once
from support.waiting import Beside

from cifarsweep import own_code
from cifarsweep.store import prepared

#: By default an example that takes more than 0.2 s is a failure, and so are ten that take a second to be made, which on
#: a busy machine any do now and then. What a test has in its folder may be there for all its examples. And every run
#: tries the same examples, so that none fails by chance; `--hypothesis-profile search` looks for others.
_PATIENT: dict[str, Any] = {
    "deadline": None,
    "derandomize": True,
    "suppress_health_check": [hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.function_scoped_fixture],
}
hypothesis.settings.register_profile("patient", **_PATIENT)
hypothesis.settings.load_profile("patient")
hypothesis.settings.register_profile("few", **_PATIENT, max_examples=20)
hypothesis.settings.register_profile("search", **_PATIENT | {"derandomize": False, "max_examples": 1000})

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As in a job in the background of a shell; the programs that tests start would inherit it and be deaf to Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--one-case", action="store_true", help="of the cases of each test, one that its name decides")


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Iterator[None]:
    """Keep the garbage collector from what stays to the end: all modules, and all tests.

    To look through it again and again was half of the time in which the tests are found, and part of that of each test.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()
        # Libraries complain at the exit of what is left of them.
        atexit.register(gc.unfreeze)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what takes long, so that `make quick` can leave it out; with `--one-case` leave out all but one case."""
    for item in items:
        if item.path.parent.name in ("benchmarks", "chaos") or "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.long)
    if config.getoption("--one-case"):
        cases: dict[str, list[pytest.Item]] = {}
        for item in items:
            cases.setdefault(item.nodeid.partition("[")[0], []).append(item)
        # By the name, so that of the tests of the store one half meets SQLite and the other one PostgreSQL.
        chosen = {each[zlib.crc32(name.encode()) % len(each)] for name, each in cases.items()}
        config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
        items[:] = [item for item in items if item in chosen]


@pytest.fixture(autouse=True)
def quiet_log() -> Iterator[None]:
    """Let no test's handlers hear the log of the next one, and none hear more than it asks for."""
    yield
    logging.getLogger("cifarsweep").handlers.clear()
    logging.getLogger("cifarsweep").setLevel(logging.NOTSET)


@pytest.fixture(autouse=True)
def nothing_goes_on() -> Iterator[None]:
    """Let no thread of ours that a test began go on in the next test, which would find what it opens, logs or patches.

    A worker that ends because its device is bad waits for none, and others only for a while: their process ends.
    """
    before = set(threading.enumerate())
    yield
    Beside.leave_all()
    for thread in set(threading.enumerate()) - before:
        if _is_ours(thread):
            thread.join(200)
            assert not thread.is_alive(), f"{thread.name} goes on after its test"


def _is_ours(thread: threading.Thread) -> bool:
    """Whether it runs our code and ends before its process does."""
    target = getattr(thread, "_target", None)  # gone where it ends just now
    room = getattr(target, "__module__", "").partition(".")[0]
    return room == "cifarsweep" and target.__name__ != "_send_keep_alives"


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test hear of the database that another one's `launch` told to its workers, by their environment."""
    for name in ("CIFARSWEEP_DB", "CIFARSWEEP_NOTIFY"):
        # Set before it is taken away, so that what the test sets is undone.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.fixture
def no_code_stays() -> Iterator[None]:
    """Let go of the code of a user that a test has loaded."""
    yield
    own_code.forget()


@pytest.fixture(autouse=True, scope="session")
def no_waiting_for_the_disk() -> Iterator[None]:
    """Let SQLite in this process leave its pages to the kernel, which keeps them but where the power goes.

    A COMMIT takes a hundredth of the time then; most of what tests of the database took was waiting for the disk.
    """
    event.listen(Engine, "connect", _leave_to_the_kernel)
    yield
    event.remove(Engine, "connect", _leave_to_the_kernel)


@pytest.fixture(autouse=True, scope="session")
def revisions_read_once() -> Iterator[None]:
    """Let Alembic keep the modules of revisions, ours and Optuna's, which it would run anew for every database.

    They took nine tenths of the time of a new database, and half of that of the first trial that is told to Optuna.
    """
    load = alembic.util.load_python_file
    kept = functools.cache(load)
    with pytest.MonkeyPatch.context() as patch:
        # `env.py` is no revision: to run it is to upgrade.
        patch.setattr(alembic.util, "load_python_file", lambda *at: (load if at[1] == "env.py" else kept)(*at))
        yield


@pytest.fixture(autouse=True, scope="session")
def statements_made_once() -> Iterator[None]:
    """Let engines share the SQL of statements, which each would make anew: a quarter of what tests of a store took."""
    shared = SharedStatements()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Engine, "_compiled_cache", property(lambda _: shared, lambda *_: None), raising=False)
        patch.setattr(prepared, "_prepared", prepared_once(prepared._prepared.__wrapped__))
        yield


@pytest.fixture(autouse=True, scope="session")
def left_open_is_a_failure() -> Iterator[None]:
    """Say which test made an SQLite connection that nobody closed: Python warns only from 3.13 on, and names none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite3, "connect", functools.partial(sqlite3.connect, factory=_NamedConnection))
        yield


class _NamedConnection(sqlite3.Connection):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._made = f"{os.environ.get('PYTEST_CURRENT_TEST')} in {threading.current_thread().name}"
        super().__init__(*arguments, **options)

    def __del__(self) -> None:
        if _is_open(self):
            self.close()
            raise ResourceWarning(f"a connection was left open that was made by {self._made}")


def _leave_to_the_kernel(connection: Any, _record: object) -> None:
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous = OFF").close()


@dataclass(frozen=True)
class S3:
    """An S3 server of our own on the loopback, which asks nobody for a password."""

    url: str

    @property
    def environment(self) -> dict[str, str]:
        """What a program needs to find it."""
        keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}
        return keys | {"AWS_ENDPOINT_URL": self.url}

    def ask(self, method: str, place: str, body: bytes | None = None) -> bytes:
        """Speak to it as `s3://bucket/key`, past all libraries."""
        url = f"{self.url}/{place.removeprefix('s3://')}"
        signed = "AWS4-HMAC-SHA256 Credential=testing/20260101/us-east-1/s3/aws4_request"
        headers = {"Authorization": signed, "Content-Type": "application/octet-stream"}
        request = urllib.request.Request(url, body, headers, method=method)
        with urllib.request.urlopen(request, timeout=200) as answer:
            return answer.read()

    def names(self, place: str) -> list[str]:
        """The last parts of all keys below a prefix."""
        bucket, _, prefix = place.removeprefix("s3://").partition("/")
        listing = self.ask("GET", f"{bucket}?list-type=2&prefix={prefix}/").decode()
        return [key.rpartition("/")[2] for key in re.findall(r"<Key>(.*?)</Key>", listing)]


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """A process: what its libraries warn of is not our business. It logs to a file, as a pipe would fill up."""
    log = tmp_path_factory.mktemp("s3") / "log"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with log.open("wb") as file, subprocess.Popen(command, stderr=file) as process:
        try:
            while not (found := re.search(r"http://127.0.0.1:\d+", log.read_text())):
                assert process.poll() is None, log.read_text()
                time.sleep(0.05)
            server = S3(found[0])
            server.ask("PUT", "s3://bucket")
            yield server
        finally:
            process.kill()


@pytest.fixture
def s3(s3_server: S3, monkeypatch: pytest.MonkeyPatch) -> S3:
    """The server, found by this process and its children."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    return s3_server


@pytest.fixture
def s3_place(s3: S3, tmp_path: Path) -> str:
    """A place of its own for the test."""
    return f"s3://bucket/{tmp_path.name}"


@pytest.fixture
def set_read_only() -> Iterator[Callable[[Path], None]]:
    """Mount a folder onto itself so that nobody can write it, root neither; undone at the end."""
    mounted: list[Path] = []

    def mount(folder: Path) -> None:
        if subprocess.run(["mount", "--bind", folder, folder], capture_output=True).returncode:
            pytest.skip("a read-only disk needs the right to mount one")
        mounted.append(folder)
        subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)

    yield mount
    for folder in mounted:
        # Lazily: a test that failed may hold a file there open.
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A real browser."""
    from playwright.sync_api import sync_playwright

    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("no Chromium on PATH: the pages are not tried in a browser")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        found.new_context, found.new_page = map(_patient, (found.new_context, found.new_page))
        yield found
        found.close()


def _patient(make: Callable[..., Any]) -> Callable[..., Any]:
    """Let what is asked of a page wait for as long as a slow machine may take; by default it is half a minute."""

    def made(**options: Any) -> Any:
        found = make(**options)
        found.set_default_timeout(200_000)
        return found

    return made


@pytest.fixture
def left_open(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """Counts the SQLite connections that were made, and says which of them are open still, by where they were made."""
    made: list[tuple[sqlite3.Connection, str]] = []
    connect = sqlite3.connect

    def noted(*arguments: Any, **options: Any) -> sqlite3.Connection:
        conn = connect(*arguments, **options)
        made.append((conn, "".join(traceback.format_stack())))
        return conn

    def still_open() -> list[str]:
        assert made, "no connection was made"
        return [stack for conn, stack in made if _is_open(conn)]

    monkeypatch.setattr(sqlite3, "connect", noted)
    return still_open


def _is_open(conn: sqlite3.Connection) -> bool:
    try:
        conn.cursor().close()
    except sqlite3.ProgrammingError:
        return False
    return True
