"""`create` and `extend` say what new trials are to train, and plan what they take from others."""

from pathlib import Path

import pytest
from sqlalchemy import select, update

from cifarsweep.spec.types import Outcome, TrialResult
from cifarsweep.store import Store
from cifarsweep.store.records import Environment
from cifarsweep.store.schema import attempt, trial

STUDY = """
name = "phases"
question = "When to lower the rate?"
seeds = 2
[settings]
dataset = "digits"
validation = { split = "test" }
batch_size = 103
epochs = 4
[[arms]]
name = "never"
set = { "schedule.warmup_epochs" = 0 }
[[arms]]
name = "late"
set = { "schedule.phases" = ["3-4 x0.5"] }
"""
ANY_IMAGES = '{"torch": "2.15.0", "python": "3.11.2"}'
CREATE = ("create", "phases.toml")


@pytest.fixture
def written(tmp_path: Path) -> Path:
    (tmp_path / "phases.toml").write_text(STUDY)
    return tmp_path


def links(folder: Path) -> list[tuple[int | None, int | None]]:
    query = select(trial.c.source_id, trial.c.branch_step).order_by(trial.c.trial_id)
    with Store.open(f"sqlite:///{folder}/cifarsweep.db") as store:
        return store._db.read(lambda conn: [tuple(row) for row in conn.execute(query)])


def test_shared_steps_are_planned_and_told(call, written):
    done = call(*CREATE)
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()

    assert said[:3] == [
        "phases: 4 trials added (2 cells x 2 seeds)",
        "2 trials take 84 steps from other trials, which train them anyway",
        "To train: 140 of 224 steps, 4.98 TFLOP",
    ]
    assert [step for _, step in links(written)].count(42) == 2
    again = call(*CREATE).stdout
    assert "To train" not in again and "is there already" in again


def test_nothing_is_planned_without_reuse(call, written):
    said = call(*CREATE, "--no-reuse").stdout
    assert "To train: 224 steps, 7.96 TFLOP" in said and "from other trials" not in said
    assert set(links(written)) == {(None, None)}


def test_more_seeds_are_planned_and_told(call, written):
    call(*CREATE)
    said = call("extend", "phases", "--seeds", "3").stdout
    assert "phases: 2 trials added" in said and "1 trial takes 42 steps from other trials" in said
    assert "To train: 70 of 112 steps" in said
    plain = call("extend", "phases", "--seeds", "4", "--no-reuse").stdout
    assert "To train: 112 steps" in plain and len(links(written)) == 8


def test_a_second_study_takes_its_twins_from_the_first(call, written):
    call(*CREATE)
    said = call(*CREATE, "--as", "again").stdout
    assert "4 trials take 224 steps from other trials" in said and "To train: 0 of 224 steps" in said


def trained(folder: Path, identity: str | None) -> None:
    """Let every queued trial be done, as workers of one device leave them."""
    environment = Environment({"digits": "d"}, "a processor", {"torch": "2.15.0", "python": "3.11.2"})
    with Store.open(f"sqlite:///{folder}/cifarsweep.db") as store:
        while lease := store.queue.claim("w", environment=environment):
            store.queue.finish(lease, [], None, TrialResult(Outcome.FINISHED, 56, {}, "f" * 64))
        store._db.write(lambda conn: conn.execute(update(attempt).values(identity=identity, versions=ANY_IMAGES)))
        store._db.write(lambda conn: conn.execute(update(trial).values(elapsed_s=60.0, rows_digest=identity)))


def test_what_was_trained_before_is_told_with_its_device(call, written):
    call(*CREATE, "--no-reuse")
    trained(written, "i")

    again = call(*CREATE, "--as", "again").stdout.splitlines()
    assert again[1:3] == [
        "4 trials were trained before, on a processor with torch 2.15.0: workers with that device and these versions "
        "take the results, others train them again",
        "To train: 0 of 224 steps",
    ]
    other = call(*CREATE, "--as", "other", "--set", "threads=2").stdout.replace("\N{NARROW NO-BREAK SPACE}", " ")
    assert "To train: 140 of 224 steps, 4.98 TFLOP, about 2 min 30 s on a processor for one trial" in other


def test_what_was_trained_without_an_identity_is_trained_again(call, written):
    call(*CREATE)
    trained(written, None)

    again = call(*CREATE, "--as", "again").stdout
    assert "4 trials were trained before and will be again: nobody can take their results" in again
    assert "2 trials take 84 steps from other trials" in again and "To train: 140 of 224 steps" in again


def test_a_search_says_nothing_of_steps(call, tmp_path):
    (tmp_path / "search.toml").write_text(
        'name = "s"\nquestion = "?"\nseeds = 1\n[settings]\ndataset = "digits"\nepochs = 1\n'
        '[search]\nn_trials = 2\n[search.space]\n"optimizer.lr" = { low = 0.001, high = 0.1 }\n'
    )
    said = call("create", "search.toml")
    assert said.returncode == 0 and "To train" not in said.stdout, said.stderr
