"""`launch` and backups as a user types them, and the files that the page on several machines gives for servers."""

import configparser
import importlib.util
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import kubernetes_validate
import pytest
import typer
import yaml
from typer.testing import CliRunner

from cifarsweep.cli.app import app
from cifarsweep.cli.launch_work import Work, workers_here, workers_of_job

PAGE = (Path(__file__).parents[2] / "docs/how-to/several-machines.md").read_text()


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)
    assert found is not None
    return found[1]


@pytest.mark.long
def test_workers_that_are_launched_train_a_study_and_a_backup_has_it(call, cli, tmp_path):
    assert call("create", "demo", "--seeds", "1", "--set", "epochs=1", "--as", "small").returncode == 0

    launched = cli("launch", "--cpus", "1", "--study", "small", "--logs", "said")
    backup = cli("db", "backup", "copy.db")
    restored = cli("db", "restore", "copy.db", "--db", "sqlite:///again.db")

    assert launched.returncode == 0, launched.stdout + launched.stderr
    assert "cpu0 | ended, exit code 0" in launched.stdout
    assert (tmp_path / "said" / "cpu0.log").read_text().count("finished") == 4
    assert backup.returncode == restored.returncode == 0, restored.stderr
    assert call("status", "small", "--db", "sqlite:///again.db", "--json").stdout == call("status", "--json").stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--gpus", "all", "--cpus", "2"], "not both"),
        (["--gpus", "0,x"], "'x' is not the number of a GPU"),
        (["--gpus", ""], "--gpus is empty; give it a value, or leave it out"),
        (["--cpus", "1", "--time", "1"], "--time is for jobs of Slurm"),
        (["--cpus", "1", "--gpus-per-worker", "1"], "--gpus-per-worker is for jobs of Slurm"),
        (["--cpus", "1", "--no-graphs"], "--no-graphs is for GPUs"),
        (["--slurm", "--gpus-per-worker", "0", "--no-graphs"], "--no-graphs is for GPUs"),
        (["--cpus", "1", "--gpus-per-trial", "2"], "--gpus-per-trial is for GPUs: on a processor a worker trains any"),
        (["--slurm", "--gpus-per-trial", "2"], "a trial takes 2 GPUs, so that 1 can't be shared out"),
        (["--kubernetes", "--image", "a", "--gpus-per-worker", "3", "--gpus-per-trial", "2"], "that 3 can't be shared"),
        (["--slurm", "--cpus", "2"], "--cpus-per-worker"),
        (["--slurm", "--extra", "a100"], "'a100' is not KEY=VALUE"),
        (["--slurm", "--extra", "job-name=S"], "--extra job-name: can't be set, as jobs are called cifarsweep"),
        (["--slurm", "--extra", "--array=0-9"], "--workers says how many"),
        (["--slurm", "--extra", "open_mode=truncate"], "--extra open-mode"),
        (["--hosts", "a,b"], "several machines can't share an SQLite file; give a --db on PostgreSQL"),
        (["--hosts", "-oProxyCommand=x", "--db", "postgresql://db/x"], "'-oProxyCommand=x': is no host"),
        (["--hosts", "a", "--db", "postgresql://db/x", "--path", ""], "--path is empty"),
        (["--hosts", "a", "--slurm"], "give --slurm or --hosts, not both"),
        (["--hosts", "a", "--workers", "3"], "--workers is not for other hosts"),
        (["--cpus", "1", "--path", "a"], "--path is for other hosts; add --hosts too"),
        (["--slurm", "--kubernetes"], "give --slurm or --kubernetes, not both"),
        (["--slurm", "--image", "a"], "--image is not for jobs of Slurm"),
        (["--cpus", "1", "--image", "a"], "--image is for pods of Kubernetes; add --kubernetes too"),
        (["--kubernetes", "--gpus", "0"], "with --kubernetes, give --gpus-per-worker"),
        (["--kubernetes", "--logs", "x"], "--logs is not for pods of Kubernetes"),
        (["--kubernetes", "--time", "1"], "--time is not for pods of Kubernetes"),
        (["--kubernetes", "--db", "sqlite:///x.db"], "--db is not for pods of Kubernetes"),
        (["--kubernetes", "--artifacts", "s3://b/p"], "give --image"),
        (["--kubernetes", "--image", "a"], "pods need one place for checkpoints"),
        (["--kubernetes", "--image", "a", "--artifacts", "here"], "a pod has no such folder"),
        (["--kubernetes", "--image", "a", "--claim", "data", "--code", "./here"], "a pod has the files of its image"),
        (["--kubernetes", "--image", "a", "--claim", "data", "--name", "A"], "--name 'A': is no name in Kubernetes"),
        (["--kubernetes", "--workers", "auto", "--image", "a"], "'auto' is not a number from 1 to 100000"),
        (["--kubernetes", "--gpus-per-worker", "0", "--no-graphs"], "--no-graphs is for GPUs"),
        (["--cpus", "1", "--wait", "--while-queued"], "give --wait or --while-queued, not both"),
        (["--ray", "local"], "--ray 'local': is no cluster"),
        (["--ray", "auto", "--hosts", "a"], "give --hosts or --ray, not both"),
        (["--ray", "auto", "--cpus", "1"], "with --ray, give --gpus-per-worker"),
        (["--ray", "auto", "--logs", "x"], "--logs is not for a Ray cluster"),
        (["--ray", "auto", "--until-eof"], "--until-eof is not for a Ray cluster"),
        (["--ray", "auto", "--workers", "0"], "'0' is not a number from 1 to 100000 or auto"),
        (["--ray", "auto", "--max-workers", "3", "--workers", "2"], "--max-workers is for --workers auto"),
        (["--ray", "auto", "--mem", "32"], "--mem '32': is no size; write it as 32G"),
        (["--ray", "auto", "--gpus-per-worker", "3", "--gpus-per-trial", "2"], "a trial takes 2 GPUs"),
        (["--ray", "auto", "--runtime-env", "none.yaml"], "--runtime-env none.yaml: can't be read: No such file"),
        (["--cpus", "1", "--runtime-env", "a"], "--runtime-env is for a Ray cluster; add --ray too"),
        (["--kubernetes", "--slots", "many"], "'many' is neither auto nor a number"),
    ],
)
def test_what_launch_can_not_do_is_one_sentence(call, arguments, sentence):
    done = call("launch", *arguments)

    assert done.returncode == 2 and sentence in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("given", "passed"),
    [
        (["--no-graphs"], "--no-graphs"),
        (["--no-reuse"], "--no-reuse"),
        (["--while-queued"], "--while-queued"),
        (["--code", "/"], "--code=/"),
        (["--keep-checkpoints", "none"], "--keep-checkpoints=none"),
    ],
)
def test_launch_passes_on_how_workers_work(monkeypatch, tmp_path, given, passed):
    started = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CIFARSWEEP_DB", "sqlite:///x.db")  # what launch sets is undone with it
    monkeypatch.setattr("cifarsweep.worker.gpus.parse_gpus", lambda wanted: [0, 1])
    monkeypatch.setattr("cifarsweep.cli.launch.check_work", lambda *_: None)
    monkeypatch.setattr("cifarsweep.cli.launch._run", lambda members, logs: started.extend(members) or 0)

    assert CliRunner().invoke(app, ["launch", *given]).exit_code == 0

    assert [member.command[-3:] for member in started] == [(f"--gpu={n}", "--slots=1", passed) for n in (0, 1)]


@pytest.mark.parametrize(
    ("each", "devices"), [(None, ["0", "1", "2", "3"]), (2, ["0,1", "2,3"]), (4, ["0,1,2,3"]), (3, None)]
)
def test_launch_shares_the_gpus_out_to_trials_of_several(monkeypatch, each, devices):
    monkeypatch.setattr("cifarsweep.worker.gpus.parse_gpus", lambda wanted: [0, 1, 2, 3])
    work = Work(gpus_per_trial=each)
    if devices is None:
        with pytest.raises(typer.BadParameter, match="a trial takes 3 GPUs, so that 4 can't be shared out"):
            workers_here(work, "all", None)
        return

    members = workers_here(work, "all", None)

    assert [member.command[-2] for member in members] == [f"--gpu={each}" for each in devices]
    assert members == workers_of_job(work, 4)


def test_a_cluster_that_is_not_there_is_one_sentence(call):
    assert call("db", "upgrade").returncode == 0

    done = call("launch", "--ray", "127.0.0.1:1")

    assert done.returncode == 2 and "--ray 127.0.0.1:1: " in done.stderr and "refused" in done.stderr
    assert done.stderr.count("\n") == 1


def test_hosts_share_their_gpus_out_in_the_same_way(monkeypatch):
    asked = []
    group = SimpleNamespace(run=lambda: 0)
    monkeypatch.setattr("cifarsweep.worker.launch.ssh.HostGroup", lambda commands, *_: asked.append(commands) or group)
    given = ["--hosts", "a,b", "--db", "postgresql://db/x", "--gpus", "all", "--gpus-per-trial", "2"]

    assert CliRunner().invoke(app, ["launch", *given]).exit_code == 0

    (commands,) = asked
    assert set(commands) == {"a", "b"}
    assert all("--gpus=all --gpus-per-trial=2 --slots=1" in str(command) for command in commands.values())


def test_a_job_of_kubernetes_is_all_of_standard_output(call, tmp_path):
    given = ["--workers", "3", "--gpus-per-worker", "0", "--image", "cifarsweep:1", "--study", "lr-study", "--wait"]

    done = call("launch", "--kubernetes", *given, "--claim", "data", CIFARSWEEP_DB="postgresql://me:hidden@db/x")

    manifest = json.loads(done.stdout)
    kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)
    (worker,) = manifest["spec"]["template"]["spec"]["containers"]
    place = "--artifacts=/var/lib/cifarsweep/checkpoints"
    assert worker["args"] == ["worker", "--cpu", "--slots=1", "--study=lr-study", "--wait", place]
    assert "Job cifarsweep-lr-study: 3 pods of cifarsweep:1; give it to `kubectl apply -f -`" in done.stderr
    assert done.returncode == 0 and "hidden" not in done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_a_host_starts_is_for_no_person(call, tmp_path):
    done = call("attend", "logs", "--", "--cpus=1")

    assert done.returncode == 2 and "this command is for `launch --hosts`" in done.stderr
    assert list(tmp_path.iterdir()) == [] and "attend" not in call("--help").stdout


def test_a_database_that_is_not_there_is_one_sentence_not_one_of_every_worker(call, tmp_path):
    done = call("launch", "--cpus", "3")

    assert done.returncode == 2 and done.stderr.count("no such database") == 1
    assert not (tmp_path / "logs").exists()


def test_what_every_worker_would_refuse_starts_none(call, tmp_path):
    assert call("db", "upgrade").returncode == 0

    for option, sentence in (
        ("--slots=many", "'many' is neither auto nor a number"),
        ("--study=nope", "no study 'nope'"),
        ("--artifacts=s3://", "names no bucket"),
        ("--artifacts=foo://x", "Protocol not known: foo"),
    ):
        done = call("launch", "--cpus", "2", option)
        assert done.returncode == 2 and done.stderr.count(sentence) == 1, done.stderr
    assert not (tmp_path / "logs").exists()


@pytest.mark.skipif(importlib.util.find_spec("submitit") is None, reason="submitit is an extra and is not installed")
@pytest.mark.parametrize(
    "says",
    [
        "sbatch: error: invalid partition: gpux\nsbatch: error: Batch job submission failed",
        "sbatch: unrecognized option '--bogus=3'\nTry \"sbatch --help\" for more information",
    ],
)
def test_what_slurm_says_is_said_once(call, tmp_path, says):
    assert call("db", "upgrade").returncode == 0
    slurm = tmp_path / "slurm"
    slurm.mkdir()
    (slurm / "said").write_text(says)
    for name, body in (("srun", "exit 0"), ("sbatch", f"cat {slurm}/said >&2; exit 1")):
        (slurm / name).write_text(f"#!/bin/sh\n{body}\n")
        (slurm / name).chmod(0o755)

    done = call("launch", "--slurm", "--extra", "bogus=3", PATH=f"{slurm}:{os.environ['PATH']}")

    assert done.returncode == 2
    assert done.stderr == f"error: Slurm refuses the job: {says.splitlines()[0]}\n"


def test_the_compose_file_of_the_readme_is_one():
    compose = yaml.safe_load(block("yaml"))

    database = compose["services"]["db"]
    assert database["image"] == "postgres:18"
    assert {volume.split(":")[0] for volume in database["volumes"]} == set(compose["volumes"])
    assert set(database["secrets"]) == set(compose["secrets"])


def test_the_unit_of_the_readme_is_one(tmp_path):
    unit = configparser.ConfigParser()
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(block("ini"))
    command = unit["Service"]["ExecStart"]

    assert " launch " in command
    if shutil.which("systemd-analyze"):
        path = tmp_path / "cifarsweep.service"
        path.write_text(block("ini").replace(command.split()[0], "/bin/true").replace("User=cifarsweep", "User=root"))
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", path], capture_output=True, text=True)
        assert "cifarsweep.service" not in done.stderr, done.stderr


def test_workers_are_told_that_they_may_mix_images():
    assert "--other-data" in Work(other_data=True).arguments()
    assert "--other-data" not in Work().arguments()


def test_workers_are_told_that_they_must_not_reuse():
    assert "--no-reuse" in Work(no_reuse=True).arguments()
    assert "--no-reuse" not in Work().arguments()
