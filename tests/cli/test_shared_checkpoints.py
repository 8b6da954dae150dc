"""`worker --artifacts`: a worker that is killed is taken over through an S3 server, and bad places are refused."""

import signal
from pathlib import Path

import pytest
from sqlalchemy import func, select
from support.waiting import wait_for

from cifarsweep.spec.metrics import TIMING_METRICS
from cifarsweep.spec.types import TrialState
from cifarsweep.store import Store
from cifarsweep.store.schema import checkpoint

pytestmark = pytest.mark.long

#: Two trials of real training, a few seconds each.
STUDY = """
name = "shared"
question = "Does a trial go on elsewhere?"
seeds = 2
[settings]
dataset = "digits"
validation = { split = "holdout", fraction = 0.2 }
epochs = 4
batch_size = 32
model = { widths = [4, 8, 8], convs_per_stage = 1 }
"""
QUICK = {"CIFARSWEEP_LEASE": "6", "CIFARSWEEP_BEAT": "1", "CIFARSWEEP_SAVE_EVERY": "0.2"}


@pytest.fixture
def created(call, tmp_path):
    """Make the study, again if need be."""

    def create() -> None:
        (tmp_path / "shared.toml").write_text(STUDY)
        assert call("create", "shared.toml").returncode == 0

    create()
    return create


def outcome(folder: Path) -> dict[object, object]:
    """Weights and rows of every trial, to the last bit."""
    with Store.open(f"sqlite:///{folder}/cifarsweep.db", read_only=True) as store:
        assert store.admin.check() == []
        trials = store.trials.all("shared")
        assert {trial.state for trial in trials} == {TrialState.DONE}
        series = store.metrics.read("shared", sorted(set(trials[0].final) - TIMING_METRICS))
        rows = {key: [(int(s), float(v).hex()) for s, v in zip(*both, strict=True)] for key, both in series.items()}
    return {"weights": [trial.weights_sha256 for trial in trials], "rows": rows}


def attempts(folder: Path) -> list[int]:
    """The first steps of all attempts."""
    with Store.open(f"sqlite:///{folder}/cifarsweep.db", read_only=True) as store:
        return [attempt.first_step for trial in store.trials.all("shared") for attempt in trial.attempts]


def pointers(folder: Path) -> int:
    """Checkpoints that the database knows: those that it does not are of no use to a successor."""
    with Store.open(f"sqlite:///{folder}/cifarsweep.db", read_only=True) as store:
        return store._db.read(lambda conn: conn.execute(select(func.count()).select_from(checkpoint)).scalar_one())


def test_a_killed_worker_is_taken_over_through_s3_with_the_same_bits(cli, created, start, tmp_path, s3, s3_place):
    there = {**s3.environment, **QUICK, "CIFARSWEEP_ARTIFACTS": s3_place}
    worker = start("worker", "--cpu", **there)
    wait_for(lambda: pointers(tmp_path), what=lambda: "no checkpoints arrived")
    worker.send_signal(signal.SIGKILL)
    worker.wait()

    taken_over = cli("worker", "--cpu", **there)

    assert taken_over.returncode == 0 and "not visible" not in taken_over.stdout
    assert max(attempts(tmp_path)) > 0 and len(attempts(tmp_path)) == 3
    assert len(s3.names(s3_place)) == 2
    assert not (tmp_path / "cifarsweep.checkpoints").exists()
    disturbed = outcome(tmp_path)
    (tmp_path / "cifarsweep.db").unlink()
    created()
    assert cli("worker", "--cpu").returncode == 0
    assert outcome(tmp_path) == disturbed


def test_a_place_that_cannot_be_used_is_one_sentence_before_anything_is_claimed(cli, created, tmp_path, s3):
    before = sorted(tmp_path.iterdir())
    bad = {"s3://me:hush@bucket/x": "password", "cifarsweep.db/x": "Not a directory", "s3://nobody/x": "does not exist"}

    for place, says in bad.items():
        refused = cli("worker", "--cpu", "--artifacts", place, **s3.environment)

        assert refused.returncode == 2 and says in refused.stderr and "hush" not in refused.stderr
        assert refused.stderr.startswith("error: ") and refused.stderr.count("\n") == 1
    assert attempts(tmp_path) == [] and sorted(tmp_path.iterdir()) == before
