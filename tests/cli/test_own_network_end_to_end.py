"""A study of the user's own network, with real processes: created, trained, taken over, replayed, and never mixed."""

import signal

import pytest
from support.own_code import LAYERS, STUDY, write_files, write_study
from support.waiting import wait_for

from cifarsweep.spec.types import TrialState
from cifarsweep.store import Store

QUICK = {"CIFARSWEEP_LEASE": "6", "CIFARSWEEP_BEAT": "0.3", "CIFARSWEEP_SAVE_EVERY": "0.2"}


def trials(folder):
    with Store.open(f"sqlite:///{folder}/cifarsweep.db", read_only=True) as store:
        assert store.admin.check() == []
        return store.trials.all("mine")


@pytest.mark.long
def test_create_train_and_replay(cli, tmp_path):
    write_study(tmp_path)
    created = cli("create", "mine.toml")
    assert created.returncode == 0, created.stderr
    assert "2 trials added" in created.stdout and "To train: 42 steps, " in created.stdout
    assert "can be one CUDA graph was not tried, without a GPU" in created.stdout

    without = cli("worker", "--cpu")
    assert without.returncode == 2
    assert "study 'mine': it trains code of its own (layers.py, nets.py)" in without.stderr

    write_files(tmp_path, {"layers.py": LAYERS + "\n"})
    changed = cli("worker", "--cpu", "--code", ".")
    assert changed.returncode == 2 and "layers.py is not the file that the study was created with" in changed.stderr
    assert not any(trial.attempts for trial in trials(tmp_path))

    write_files(tmp_path)
    assert cli("worker", "--cpu", "--code", ".").returncode == 0
    assert {trial.state for trial in trials(tmp_path)} == {TrialState.DONE}
    replayed = cli("replay", "mine/1", "--cpu", "--code", ".")
    assert replayed.returncode == 0 and "reproduced" in replayed.stdout


@pytest.mark.long
def test_a_worker_without_the_code_trains_other_studies(call, cli, tmp_path):
    write_study(tmp_path)
    assert call("create", "mine.toml").returncode == 0
    small = ("--seeds", "1", "--set", "epochs=1", "--set", "model.widths=[4]")
    assert call("create", "demo", *small).returncode == 0

    worked = cli("worker", "--cpu")

    # What is left can't be trained here, as where images are missing.
    assert worked.returncode == 2 and "study 'mine' is left to other workers" in worked.stdout
    assert not any(trial.attempts for trial in trials(tmp_path))
    with Store.open(f"sqlite:///{tmp_path}/cifarsweep.db", read_only=True) as store:
        assert {trial.state for trial in store.trials.all("demo")} == {TrialState.DONE}


@pytest.mark.long
def test_killed_and_taken_over_to_the_same_bits(call, cli, start, tmp_path):
    write_study(tmp_path, STUDY.replace("epochs = 1", "epochs = 8").replace('depth" = [1, 2]', 'depth" = [1]'))
    assert call("create", "mine.toml").returncode == 0
    worker = start("worker", "--cpu", "--code", ".", **QUICK)
    wait_for(lambda: any(trial.step for trial in trials(tmp_path)))
    worker.send_signal(signal.SIGKILL)
    worker.wait(200)
    assert trials(tmp_path)[0].state is TrialState.LEASED

    assert cli("worker", "--cpu", "--code", ".", **QUICK).returncode == 0

    (trial,) = trials(tmp_path)
    assert trial.state is TrialState.DONE and trial.attempts[-1].first_step > 0
    assert cli("replay", "mine/0", "--cpu", "--code", ".").returncode == 0


def test_what_is_wrong_is_said_before_anything_is_written(call, cli, tmp_path):
    write_study(tmp_path, STUDY.replace("width = 4", "widht = 4"))
    refused = call("create", "mine.toml")
    assert refused.returncode == 2 and not (tmp_path / "cifarsweep.db").exists()
    assert (
        "cell 'depth=1' and 1 more: model.widht: nets:Wide has no such argument. Did you mean 'width'?"
        in refused.stderr
    )

    nowhere = cli("worker", "--cpu", "--code", "nowhere")
    assert "is neither a folder, nor a study file, nor an installed package" in nowhere.stderr
