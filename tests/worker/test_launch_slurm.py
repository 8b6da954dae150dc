"""Workers in a real Slurm on this machine, which warns, requeues and cancels them as a cluster would."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import slurm_cluster
from support import child, worker
from support.waiting import wait_for

from cifarsweep.errors import CifarsweepError, SpecError
from cifarsweep.spec.metrics import VAL_ACCURACY
from cifarsweep.spec.reader import find, read_study
from cifarsweep.spec.types import TrialState
from cifarsweep.store import Store
from cifarsweep.worker.launch.slurm import Job, submit

pytest.importorskip("submitit")
needs_slurm = pytest.mark.skipif(bool(slurm_cluster.missing()), reason=slurm_cluster.missing() or "there is one")
pytestmark = pytest.mark.long

TRIALS = 12
#: What every start of an element says.
STARTED = "Starting with JobEnvironment"


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory):
    with slurm_cluster.cluster(tmp_path_factory.mktemp("slurm")) as environment:
        yield environment


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/test.db"
    with Store.open(url, upgrade=True) as store:
        store.studies.create(read_study(find("demo"), seeds=TRIALS // 4))
    return url


@pytest.fixture
def submitted(slurm, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Submit workers of one processor, whose trials are held until the test lets go; the number of the job array."""
    for name, value in slurm.items():
        monkeypatch.setenv(name, value)

    def _submit(workers: int = 2, **options: str) -> str:
        (tmp_path / "hold").touch()
        members = (worker.member(0, url, tmp_path, "held"),)
        return submit(Job(members, tmp_path / "logs"), workers, {"cpus-per-task": "1", "mem": "0", **options})

    return _submit


def counts(url: str) -> dict[TrialState, int]:
    with Store.open(url, read_only=True) as store:
        return dict(store.studies.status("demo")[0].trials)


def jobs(job: str) -> list[str]:
    """The states of the job's elements that Slurm still has something to do for."""
    done = subprocess.run(["squeue", "-h", "-r", "-j", job, "-o", "%T"], capture_output=True, text=True)
    return done.stdout.split()


def logs(job: str, folder: Path) -> list[str]:
    """What the two elements of the job have said so far."""
    paths = [folder / "logs" / f"{job}_{element}_0_log.out" for element in range(2)]
    return [path.read_text() if path.exists() else "" for path in paths]


def until(true: Callable[[], object], folder: Path) -> None:
    wait_for(true, what=lambda: "\n".join(path.read_text() for path in (folder / "logs").rglob("*.out")))


def attempts(url: str) -> list[str]:
    """How every attempt ended, after a look that every trial is there once."""
    with Store.open(url) as store:
        trials, curves = store.trials.all("demo"), store.metrics.read("demo", [VAL_ACCURACY])
        for trial in trials:
            steps, values = curves[trial.number, VAL_ACCURACY]
            assert trial.state is TrialState.DONE and list(steps) == list(range(1, child.STEPS + 1))
            assert list(values) == [child.value(trial.seed, int(step)) for step in steps]
        assert store.admin.check() == []
        return [attempt.end.value for trial in trials for attempt in trial.attempts if attempt.end]


@needs_slurm
def test_workers_that_are_warned_or_requeued_come_back_until_all_is_done_once(submitted, url, tmp_path):
    job = submitted()
    until(lambda: counts(url)[TrialState.LEASED] == 2, tmp_path)

    subprocess.run(["scancel", "--signal=USR2", f"{job}_0"], check=True)  # what Slurm sends before the time limit
    subprocess.run(["scontrol", "requeue", f"{job}_1"], check=True)
    until(lambda: [text.count(STARTED) for text in logs(job, tmp_path)] == [2, 2], tmp_path)
    (tmp_path / "hold").unlink()

    until(lambda: not jobs(job), tmp_path)
    ends = attempts(url)
    assert ends.count("done") == TRIALS and ends.count("released") > 0
    assert [text.count("time is up") for text in logs(job, tmp_path)] == [1, 0]
    assert [text.count(STARTED) for text in logs(job, tmp_path)] == [2, 2]


@needs_slurm
def test_a_cancelled_job_gives_its_trials_back_and_stays_away(submitted, url, tmp_path):
    job = submitted()
    until(lambda: counts(url)[TrialState.LEASED] == 2, tmp_path)

    subprocess.run(["scancel", job], check=True)

    until(lambda: not jobs(job), tmp_path)
    assert counts(url)[TrialState.LEASED] == 0 and counts(url)[TrialState.QUEUED] > 0


@needs_slurm
def test_what_slurm_refuses_is_one_sentence(submitted):
    with pytest.raises(SpecError, match=r"Slurm refuses the job: sbatch: error: .*partition"):
        submitted(partition="no-such-partition")


@needs_slurm
def test_an_option_that_slurm_does_not_know_is_named(submitted):
    with pytest.raises(SpecError, match=r"Slurm refuses the job: sbatch: .*--bogus=3"):
        submitted(bogus="3")


def test_where_there_is_no_slurm_it_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(CifarsweepError, match="there is no Slurm here"):
        submit(Job((), tmp_path), 2, {})
