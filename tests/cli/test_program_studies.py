"""Studies of a user's own program on the command line: create, extend, show, status and report."""

import json
from pathlib import Path

import pytest

from cifarsweep.spec.types import MetricRow, Outcome, TrialResult
from cifarsweep.store import Store

STUDY = """
name = "own"
question = "Which rate trains my net best?"
seeds = 2
[program]
command = ["python", "train.py", "--lr", "{lr}", "--seed", "{seed}"]
files = ["train.py"]
metric = "dev/error"
[settings]
epochs = 5
[factors]
lr = [0.1, 0.01]
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """The study's file beside its program."""
    (tmp_path / "train.py").write_text("print('Err: 3')\n")
    (tmp_path / "own.toml").write_text(STUDY)
    return tmp_path / "own.toml"


def test_create_tells_the_digest_and_knows_no_data_set(call, own):
    done = call("create", "own.toml")

    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first == "own: 4 trials added (2 cells x 2 seeds)"
    assert second.startswith("own: program ") and second.endswith(" of 1 file")


def test_extend_refuses_another_program_and_names_the_file(call, own):
    call("create", "own.toml")
    (own.parent / "train.py").write_text("print('Err: 4')\n")

    done = call("create", "own.toml", "--extend", "--seeds", "3")

    assert done.returncode == 2
    assert "(train.py was changed), and trials of two programs" in done.stderr
    (own.parent / "train.py").write_text("print('Err: 3')\n")
    assert "2 trials added" in call("create", "own.toml", "--extend", "--seeds", "3").stdout
    assert "own: 2 trials added" in call("extend", "own", "--seeds", "4").stdout


def test_bad_input_writes_nothing(call, own):
    for arguments, says in [
        (["--set", "rate=1"], "no such parameter"),
        (["--set", "lr=1"], "varies it"),
        (["--set", "epochs=many"], "is no text that"),
    ]:
        done = call("create", "own.toml", *arguments)
        assert done.returncode == 2 and says in done.stderr and "Traceback" not in done.stderr
    own.write_text(STUDY.replace('["train.py"]', '["trane.py"]'))
    done = call("create", "own.toml")
    assert done.returncode == 2 and "'trane.py': matches no file" in done.stderr
    assert not (own.parent / "cifarsweep.db").exists()


def test_steps_and_epochs_are_no_rivals_among_parameters(call, own):
    own.write_text(STUDY.replace("epochs = 5", "epochs = 5\nsteps = 7"))

    assert call("create", "own.toml", "--set", "epochs=1", "--set", "steps=2").returncode == 0


def test_a_worker_without_the_program_leaves_its_trials(call, own):
    call("create", "own.toml")

    done = call("worker", "--cpu", "--study", "own")

    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert json.loads(call("status", "own", "--json").stdout)["trials"]["queued"] == 4


def test_show_and_report_tell_parameters_and_the_metric(call, own):
    call("create", "own.toml")
    with Store.open(own.parent / "cifarsweep.db") as store:
        for error in (0.3, 0.1, 0.31, 0.11):
            lease = store.queue.claim("w")
            assert lease is not None
            result = TrialResult(Outcome.FINISHED, 2, {"dev/error": error}, "")
            store.queue.finish(lease, [MetricRow("dev/error", 2, error)], None, result)

    shown, fields = call("show", "own/0"), json.loads(call("show", "own/0", "--json").stdout)
    (report,) = json.loads(call("report", "own", "--json").stdout)
    page = call("report", "own")

    assert "parameters" in shown.stdout and "imported" not in shown.stdout
    assert fields["parameters"] == {"epochs": 5, "lr": 0.1} and fields["settings"] is None
    assert report["metric"] == "dev/error" and report["cells"][1]["mean"] == pytest.approx(0.105)
    assert page.returncode == 0 and "dev/error" in page.stdout, page.stderr


def test_chances_are_told_for_accuracies_alone(call, own):
    claim = '[[hypotheses]]\nkind = "greater"\nclaim = "x"\na = { lr = 0.1 }\nb = { lr = 0.01 }\n'
    own.write_text(STUDY + claim)

    assert "chance" not in call("create", "own.toml").stdout
    own.write_text(STUDY.replace("dev/error", "dev/accuracy") + claim)
    assert "as networks on CIFAR-10 do; state yours" in call("create", "own.toml", "--as", "b").stdout
