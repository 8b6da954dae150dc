"""The recipe for machines that are taken back asks the cloud's address and ends the launcher in time."""

import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cifarsweep.environment import without_database

PAGE = Path(__file__).parents[1] / "docs" / "how-to" / "rented-machines.md"
#: Stands for the launcher: says that it runs, and how it was ended.
LAUNCHER = """#!/bin/sh
trap 'echo gave back; kill $!; exit 143' TERM
sleep 60 &
echo "$@"
touch "$RUNNING"
wait
"""


class Cloud(BaseHTTPRequestHandler):
    """Gives a token, and announces the end of the machine once the launcher runs and three questions were asked."""

    asked: list[str]
    running: Path

    def do_PUT(self) -> None:
        self._answer(200, b"token")

    def do_GET(self) -> None:
        self.asked.append(str(self.headers["X-aws-ec2-metadata-token"]))
        self._answer(200 if len(self.asked) > 2 and self.running.exists() else 404, b'{"action": "terminate"}')

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[ThreadingHTTPServer]:
    Cloud.asked, Cloud.running = [], tmp_path / "running"
    with ThreadingHTTPServer(("127.0.0.1", 0), Cloud) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on PATH")
def test_a_machine_that_is_taken_back_gives_its_trials_back(tmp_path: Path, cloud: ThreadingHTTPServer) -> None:
    recipe = next(
        block for block in re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL) if "taken_back" in block
    )
    (tmp_path / "cifarsweep").write_text(LAUNCHER)
    (tmp_path / "cifarsweep").chmod(0o755)
    environment = without_database() | {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "RUNNING": str(Cloud.running),
        "METADATA": f"http://127.0.0.1:{cloud.server_address[1]}",
    }

    done = subprocess.run(
        ["sh", "-c", recipe.replace("sleep 5", "sleep 0.1")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout.splitlines() == ["launch --gpus all --wait", "gave back"], done.stderr
    assert done.returncode == 143 and set(Cloud.asked) == {"token"} and len(Cloud.asked) > 2
