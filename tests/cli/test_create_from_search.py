"""`create --from`: the best points of a search as a study of their own, judged by other seeds."""

import contextlib
import json
import re
import sqlite3
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from cifarsweep.search import suggest
from cifarsweep.spec.metrics import VAL_ACCURACY
from cifarsweep.spec.reader import read_study
from cifarsweep.spec.study import Study
from cifarsweep.spec.types import Outcome, TrialResult
from cifarsweep.store import Store

Run = Callable[..., Any]

SEARCH = """
name = "find"
question = "Which rate?"
seeds = [0, 2]
[settings]
dataset = "digits"
epochs = 3
schedule.name = "constant"
[search]
sampler = "random"
n_trials = 6
[search.space]
"optimizer.lr" = { low = 1e-4, high = 1.0, log = true }
"optimizer.name" = { choices = ["sgd", "adamw"] }
"""
SMALL = SEARCH.replace("[0, 2]", "1")
PROGRAM = """
name = "find"
question = "Which size?"
seeds = 1
[program]
command = ["{python}", "train.py", "{{size}}", "{{seed}}"]
files = ["train.py"]
metric = "dev/error"
[search]
sampler = "random"
n_trials = 3
[search.space]
size = {{ low = 1, high = 1000 }}
"""
SCRIPT = """
import cifarsweep, sys
size, seed = map(int, sys.argv[1:])
cifarsweep.trial().log(1, {"dev/error": size + seed / 1000})
"""
FINISHED, PRUNED, DIVERGED = Outcome.FINISHED, Outcome.PRUNED, Outcome.DIVERGED


def searched(
    folder: Path, results: Sequence[tuple[Outcome, float]], text: str = SMALL, metric: str = VAL_ACCURACY
) -> None:
    """Store a search in the folder, and end one trial after the other with these results."""
    path = folder / "find.toml"
    if not path.exists():
        path.write_text(text)
    study, left = read_study(path), list(results)
    assert study.search is not None
    with Store.open(f"sqlite:///{folder / 'cifarsweep.db'}", upgrade=True) as store:
        store.studies.create(study)
        while left:
            state = store.search.state(study.name)
            assert state is not None
            point = suggest(study.search, state.asked, state.tried)
            assert point is not None and store.search.add(study.name, state.asked, point)
            while left and (lease := store.queue.claim("w")):
                outcome, value = left.pop(0)
                result = TrialResult(outcome, 3, {VAL_ACCURACY: value}, "")
                store.queue.finish(lease, [], None, result)


def stored(folder: Path, name: str) -> Study:
    with Store.open(f"sqlite:///{folder / 'cifarsweep.db'}", read_only=True) as store:
        return store.studies.get(name).spec


def test_the_best_points_become_arms_with_seeds_that_the_search_did_not_use(call: Run, tmp_path: Path) -> None:
    searched(tmp_path, [(FINISHED, value) for value in (0.5, 0.7, 0.9, 0.6, 0.8, 0.4)])

    created = call("create", "--from", "find", "--best", "3", "--seeds", "4")
    again = call("create", "--from", "find", "--best", "3", "--seeds", "4")

    study = stored(tmp_path, "find-best-3")
    assert created.returncode == again.returncode == 0, created.stderr + again.stderr
    assert "find-best-3: 12 trials added (3 cells x 4 seeds)" in created.stdout
    assert "note: seed 0 is left out" in created.stdout
    assert "is there already, with the same contents and 12 trials" in again.stdout
    assert [cell.name for cell in study.cells] == ["#2", "#4", "#1"] and study.seeds == (1, 2, 3, 4)
    assert study.question == (
        "Which of the best 3 points of the search find is best, with seeds that the search did not use?"
    )
    assert [(one.kind, one.a, one.b) for one in study.hypotheses] == [("greater", "#2", "#4"), ("greater", "#2", "#1")]


def test_arms_have_the_settings_that_the_points_were_trained_with(call: Run, tmp_path: Path) -> None:
    searched(tmp_path, [(FINISHED, 0.5), (FINISHED, 0.7)])
    with Store.open(f"sqlite:///{tmp_path / 'cifarsweep.db'}", read_only=True) as store:
        points = {f"#{row.number}": row for row in store.trials.all("find")}

    assert call("create", "--from", "find", "--as", "two").returncode == 0

    for cell in stored(tmp_path, "two").cells:
        assert cell.settings == points[cell.name].settings and dict(cell.levels) == dict(points[cell.name].levels)


def test_what_was_pruned_or_diverged_is_no_arm_and_that_there_are_fewer_is_said(call: Run, tmp_path: Path) -> None:
    searched(tmp_path, [(FINISHED, 0.5), (PRUNED, 0.95), (DIVERGED, 0.1), (FINISHED, 0.7)])

    created = call("create", "--from", "find", "--best", "5", "--as", "fewer")

    assert [cell.name for cell in stored(tmp_path, "fewer").cells] == ["#3", "#0"]
    assert "note: 2 points of find trained to the end, and not 5" in created.stdout
    assert "note: find has tried 4 of its 6 points: better ones may come" in created.stdout


def test_of_equal_points_the_earlier_one_is_taken(call: Run, tmp_path: Path) -> None:
    searched(tmp_path, [(FINISHED, value) for value in (0.5, 0.7, 0.7, 0.9, 0.7, 0.4)])

    created = call("create", "--from", "find", "--best", "2")

    assert [cell.name for cell in stored(tmp_path, "find-best-2").cells] == ["#3", "#1"]
    assert "note: #1 is no better than #2, #4: the earlier one of equal points is taken" in created.stdout


def test_a_point_of_several_seeds_counts_by_their_mean(call: Run, tmp_path: Path) -> None:
    results = [(FINISHED, value) for value in (0.9, 0.3, 0.7, 0.7, 0.5, 0.6)]
    searched(tmp_path, results, SEARCH)

    created = call("create", "--from", "find", "--best", "2", "--seeds", "3")

    study = stored(tmp_path, "find-best-2")
    assert [cell.name for cell in study.cells] == ["#2", "#0"] and study.seeds == (1, 3, 4)
    assert "the 2 seeds of the search are left out" in created.stdout


def test_one_point_is_measured_and_tested_against_nothing(call: Run, tmp_path: Path) -> None:
    searched(tmp_path, [(FINISHED, 0.5), (FINISHED, 0.7)])

    assert call("create", "--from", "find", "--best", "1").returncode == 0

    study = stored(tmp_path, "find-best-1")
    assert study.hypotheses == () and study.question.startswith("How good is the best point of the search find")


def test_its_file_makes_the_same_study(call: Run, tmp_path: Path) -> None:
    searched(tmp_path, [(FINISHED, value) for value in (0.5, 0.7, 0.9)])

    printed = call("create", "--from", "find", "--best", "2", "--toml")
    before = call("status", "--json").stdout
    call("create", "--from", "find", "--best", "2")
    (tmp_path / "best.toml").write_text(printed.stdout)

    assert "find-best-2" not in before
    assert read_study(tmp_path / "best.toml").sha256 == stored(tmp_path, "find-best-2").sha256
    assert "is there already, with the same contents" in call("create", "best.toml").stdout


@pytest.mark.long
def test_points_of_a_program_are_run_by_the_same_program_as_its_page_says(cli: Run, call: Run, tmp_path: Path) -> None:
    """Given a search of a program, when the command of its page is run, a worker of that program trains the arms."""
    (tmp_path / "train.py").write_text(SCRIPT)
    (tmp_path / "find.toml").write_text(PROGRAM.format(python=sys.executable))
    assert call("create", "find.toml").returncode == 0
    assert cli("worker", "--cpu", "--program", "find.toml").returncode == 0
    assert call("report", "find").returncode == 0
    page = (tmp_path / "reports" / "find.html").read_text()
    command = re.search("<pre.*?>cifarsweep (create --from .*?)</pre>", page)
    assert command is not None

    created = call(*command[1].split())
    worker = cli("worker", "--cpu", "--program", "find.toml")
    report = call("report", "find-best-3", "--json")

    assert created.returncode == worker.returncode == report.returncode == 0, worker.stderr
    (told,) = json.loads(report.stdout)
    assert (told["done"], told["metric"], len(told["verdicts"])) == (15, "dev/error", 2)
    assert all(one["decision"] == "supported" for one in told["verdicts"])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--from", "fond"], "no study 'fond'"),
        (["--from", "demo"], "study 'demo' has no search"),
        (["--from", "find", "demo"], "give a study, a .toml file or --from SEARCH: one of them"),
        ([], "give a study, a .toml file or --from SEARCH: one of them"),
        (["demo", "--best", "3"], "--best goes with --from SEARCH"),
        (["--from", "find", "--set", "epochs=9"], "--set goes with a file"),
        (["--from", "find", "--best", "0"], "--best"),
        (["--from", "find", "--seeds", "0"], "--seeds"),
        (["--from", "find", "--as", "a/b"], "--as: 'a/b' can't be a name"),
        (["--from", "find", "--as", "demo"], "study 'demo'"),
        (["--from", "find", "--best", "1000", "--seeds", "90000"], "a study has at most 100,000"),
    ],
)
def test_what_can_not_be_is_refused_and_nothing_is_written(
    call: Run, tmp_path: Path, arguments: list[str], sentence: str
) -> None:
    searched(tmp_path, [(FINISHED, 0.5), (FINISHED, 0.7)])
    assert call("create", "demo").returncode == 0
    before = call("status", "--json").stdout

    refused = call("create", *arguments)

    assert refused.returncode == 2 and sentence in refused.stderr and "Traceback" not in refused.stderr
    assert call("status", "--json").stdout == before


def test_a_search_without_a_point_that_trained_has_no_best_one(call: Run, tmp_path: Path) -> None:
    searched(tmp_path, [(PRUNED, 0.5), (DIVERGED, 0.1)])

    refused = call("create", "--from", "find")

    assert refused.returncode == 2
    assert "find: none of its points trained well enough (1 pruned, 1 fell out), so that there is no best one" in (
        refused.stderr
    )


def test_a_search_of_which_no_point_has_ended_has_no_best_one(call: Run, tmp_path: Path) -> None:
    searched(tmp_path, [])

    refused = call("create", "--from", "find")

    assert refused.returncode == 2
    assert "find: none of its points has trained to its end yet, so that there is no best one" in refused.stderr


def made_older(path: Path) -> None:
    """Undo the revisions after 0016."""
    with contextlib.closing(sqlite3.connect(path)) as conn:
        conn.executescript("""
            DROP TABLE cs_lease_check;
            DROP INDEX ix_cs_trial_expired;
            ALTER TABLE cs_trial DROP COLUMN expired;
            UPDATE cifarsweep_alembic_version SET version_num = '0016';
        """)


def test_an_older_database_is_upgraded_as_by_any_create(call: Run, tmp_path: Path) -> None:
    searched(tmp_path, [(FINISHED, 0.5), (FINISHED, 0.7)])
    made_older(tmp_path / "cifarsweep.db")

    printed = call("create", "--from", "find", "--best", "2", "--toml")
    created = call("create", "--from", "find", "--best", "2")

    assert printed.returncode == 2 and "cifarsweep db upgrade" in printed.stderr
    assert created.returncode == 0, created.stderr
    assert created.stdout.count("was of an older version (0016) and is upgraded") == 1
    assert len(stored(tmp_path, "find-best-2").cells) == 2


def test_without_a_database_it_is_said(call: Run) -> None:
    refused = call("create", "--from", "find")

    assert refused.returncode == 2 and "cifarsweep.db" in refused.stderr and "Traceback" not in refused.stderr
