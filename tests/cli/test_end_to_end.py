"""The main job from end to end, with real processes: create, worker, report; killed, stopped and taken over."""

import json
import re
import signal
import subprocess
from pathlib import Path

import optuna
import pytest
from sqlalchemy import func, select
from support.waiting import wait_for

from cifarsweep.spec.metrics import TIMING_METRICS, VAL_ACCURACY
from cifarsweep.spec.types import AttemptEnd, TrialState
from cifarsweep.store import Store
from cifarsweep.store.schema import checkpoint

#: A study of two trials that train for a few seconds each.
CREATE = ["create", "demo", "--as", "small", "--seeds", "1", "--set", "epochs=4", "--set", "model.widths=[4, 8, 8]"]
QUICK = {"CIFARSWEEP_LEASE": "6", "CIFARSWEEP_BEAT": "0.3", "CIFARSWEEP_SAVE_EVERY": "0.3"}
NAMES = ["train/loss", "train/accuracy", "val/loss", VAL_ACCURACY, "lr", "epoch", "images"]


def outcome(folder: Path) -> dict[object, object]:
    """Everything that must be the same bits in every repetition."""
    assert not TIMING_METRICS & set(NAMES)
    with Store.open(f"sqlite:///{folder}/cifarsweep.db", read_only=True) as store:
        assert store.admin.check() == []
        trials = store.trials.all("small")
        assert {trial.state for trial in trials} == {TrialState.DONE}
        rows = {
            (number, name): [(int(step), float(value).hex()) for step, value in zip(*series, strict=True)]
            for (number, name), series in store.metrics.read("small", NAMES).items()
        }
    return {"weights": [trial.weights_sha256 for trial in trials], "rows": rows}


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory, data_root):
    """What the study leaves when nobody disturbs it."""
    import os
    import sys

    folder = tmp_path_factory.mktemp("undisturbed")
    environment = os.environ | {"CIFARSWEEP_DATA": str(data_root)}
    for arguments in (CREATE, ["worker", "--cpu"]):
        subprocess.run(
            [sys.executable, "-m", "cifarsweep.cli", *arguments], cwd=folder, env=environment, check=True, timeout=240
        )
    return outcome(folder)


def progress(folder: Path) -> int:
    """Steps of all trials, as the database has them."""
    with Store.open(f"sqlite:///{folder}/cifarsweep.db", read_only=True) as store:
        return sum(trial.step for trial in store.trials.all("small"))


def resumed(folder: Path) -> int:
    """Attempts that went on from a checkpoint."""
    with Store.open(f"sqlite:///{folder}/cifarsweep.db", read_only=True) as store:
        return sum(attempt.first_step > 0 for trial in store.trials.all("small") for attempt in trial.attempts)


def checkpoints(folder: Path) -> int:
    """What a worker that dies now leaves for others to go on from."""
    with Store.open(f"sqlite:///{folder}/cifarsweep.db", read_only=True) as store:
        return store._db.read(lambda conn: conn.execute(select(func.count()).select_from(checkpoint)).scalar_one())


def test_two_workers_share_a_study_and_the_report_shows_it(call, cli, start, tmp_path, undisturbed):
    assert cli(*CREATE).returncode == 0

    workers = [start("worker", "--cpu"), start("worker", "--cpu")]
    assert [worker.wait(200) for worker in workers] == [0, 0]

    assert outcome(tmp_path) == undisturbed
    reported = cli("report", "small", "--out", "pages")
    assert reported.returncode == 0 and "4 of 4 trials done" in reported.stdout
    assert "digits sha256 " in (tmp_path / "pages" / "small.html").read_text()
    shown = json.loads(call("show", "small/3", "--json").stdout)
    assert shown["state"] == "done" and shown["settings"]["epochs"] == 4 and len(shown["attempts"]) == 1
    assert all(word in call("show", "small/3").stdout for word in ("attempts", "val/accuracy", "model.widths"))
    assert json.loads(call("status", "small", "--json").stdout)["trials"]["done"] == 4


@pytest.mark.long
def test_a_killed_worker_is_taken_over_with_the_same_bits(call, cli, start, tmp_path, undisturbed):
    call(*CREATE)
    for _ in range(2):
        before = progress(tmp_path)
        worker = start("worker", "--cpu", "--slots", "2", **QUICK)
        wait_for(lambda before=before: progress(tmp_path) > before + 30 and checkpoints(tmp_path))
        worker.send_signal(signal.SIGKILL)
        worker.wait()

    done = cli("worker", "--cpu", "--slots", "2", **QUICK)
    assert done.returncode == 0, done.stderr

    assert outcome(tmp_path) == undisturbed
    assert resumed(tmp_path) > 0


@pytest.mark.long
def test_ctrl_c_gives_back_and_the_next_worker_goes_on_from_the_checkpoint(call, cli, start, tmp_path, undisturbed):
    call(*CREATE)
    worker = start("worker", "--cpu", "--slots", "2", CIFARSWEEP_BEAT="0.3", CIFARSWEEP_LEASE="60")
    wait_for(lambda: progress(tmp_path) > 30)

    worker.send_signal(signal.SIGINT)

    assert worker.wait(200) == 130
    counts = json.loads(call("status", "small", "--json").stdout)["trials"]
    assert counts["leased"] == 0 and counts["queued"] > 0
    assert cli("worker", "--cpu").returncode == 0
    assert outcome(tmp_path) == undisturbed
    with Store.open(f"sqlite:///{tmp_path}/cifarsweep.db", read_only=True) as store:
        stopped = [trial for trial in store.trials.all("small") if len(trial.attempts) > 1]
    assert stopped and all(trial.attempts[0].end is AttemptEnd.RELEASED for trial in stopped)
    assert resumed(tmp_path) > 0


@pytest.mark.long
def test_optuna_sees_every_trial_once(call, cli, tmp_path):
    call(*CREATE)
    cli("worker", "--cpu", "--slots", "2")

    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path}/cifarsweep.db")
    trials = optuna.load_study(study_name="small", storage=storage).get_trials()
    storage.engine.dispose()

    assert len(trials) == 4
    assert {trial.state for trial in trials} == {optuna.trial.TrialState.COMPLETE}
    assert all(len(trial.intermediate_values) == 4 and trial.value is not None for trial in trials)
    assert {(trial.params["optimizer.lr"], trial.params["model.skip"]) for trial in trials} == {
        (lr, skip) for lr in (3e-3, 1e-5) for skip in (False, True)
    }


def test_create_again_changes_nothing_and_extend_adds(call):
    assert "4 trials added" in call(*CREATE).stdout

    again = call(*CREATE)
    more = call(*[("2" if word == "1" else word) for word in CREATE], "--extend")

    assert again.returncode == 0 and "is there already" in again.stdout
    assert more.returncode == 0 and "4 trials added" in more.stdout


@pytest.mark.long
def test_a_trial_that_fails_does_not_end_the_worker(call, cli, tmp_path):
    (tmp_path / "bad.toml").write_text("""
name = "bad"
question = "Can batch norm train on one pixel of one image?"
seeds = 1
[settings]
dataset = "digits"
steps = 10
batch_size = 1
model = { widths = [4, 4, 4, 4, 4, 4] }
""")
    assert call("create", "bad.toml").returncode == 0
    call("create", "demo", "--as", "small", "--seeds", "1", "--set", "epochs=1")

    # A trial that fails is tried again after a sixth of the lease.
    done = cli("worker", "--cpu", "--slots", "2", CIFARSWEEP_LEASE="12", CIFARSWEEP_BEAT="0.2")

    assert done.returncode == 0
    counts = {each["study"]: each["trials"] for each in json.loads(call("status", "--json").stdout)}
    assert counts["small"]["done"] == 4 and counts["bad"]["failed"] == 1
    assert "batch" in json.loads(call("show", "bad/0", "--json").stdout)["error"]
    assert "Traceback" in call("show", "bad/0").stdout


@pytest.mark.long
def test_no_command_imports_what_it_does_not_need(tmp_path, environment):
    import sys

    # Most of them count nothing with NumPy; `create`, which comes first, tells the chance of each verdict.
    plain = (["--help"], ["studies"], ["status"], ["pause", "demo"], ["db", "check"], ["models"])
    arrays = (["report"], ["report", "--json"], ["export", "demo", "--out", "-"], ["show", "demo/0"])
    needless = {arguments[0]: {"torch", "numpy", "scipy", "optuna", "pandas", "plotly"} for arguments in plain}
    for arguments in (["create", "demo"], *plain, ["data", "list"], ["models", "vit", "resnet18"], *arrays):
        command = [sys.executable, "-X", "importtime", "-m", "cifarsweep.cli", *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        imported = set(re.findall(r"\|\s+(\S+)$", done.stderr, flags=re.MULTILINE))
        assert "cifarsweep.cli.app" in imported, arguments
        assert not imported & needless.get(arguments[0], {"torch", "optuna", "pandas"}), arguments
