"""`extend` as a user runs it: it looks, adds seeds where they are needed, and ends."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.studies import count_open
from typer.testing import CliRunner, Result

from cifarsweep.cli.app import app
from cifarsweep.errors import UnknownStudy
from cifarsweep.spec.metrics import VAL_ACCURACY
from cifarsweep.spec.reader import read_study
from cifarsweep.spec.types import Outcome, TrialResult
from cifarsweep.store import Store

STUDY = """
name = "rates"
question = "Which rate?"
seeds = 3
[settings]
dataset = "digits"
epochs = 1
[factors]
"optimizer.lr" = [0.1, 0.2, 0.3]
[[hypotheses]]
kind = "greater"
claim = "0.1 is above 0.2"
a = { "optimizer.lr" = 0.1 }
b = { "optimizer.lr" = 0.2 }
[[hypotheses]]
kind = "greater"
claim = "0.2 is above 0.3"
a = { "optimizer.lr" = 0.2 }
b = { "optimizer.lr" = 0.3 }
"""
#: By cell, what a trial of each seed ends with: the first two cross, the third is far below.
ENDS: dict[str, Callable[[int], float]] = {
    "lr=0.1": lambda seed: 0.9 + 0.01 * (seed % 2),
    "lr=0.2": lambda seed: 0.91 - 0.01 * (seed % 2),
    "lr=0.3": lambda seed: 0.1 + 0.001 * (seed % 3),
}
UNTIL = ["extend", "rates", "--until-decided"]


@pytest.fixture
def rates(tmp_path: Path) -> Path:
    (tmp_path / "rates.toml").write_text(STUDY)
    with Store.open(f"sqlite:///{tmp_path}/cifarsweep.db", upgrade=True) as store:
        store.studies.create(read_study(tmp_path / "rates.toml"))
    return tmp_path


@pytest.fixture
def run(rates: Path) -> Callable[..., Result]:
    """Run a command in this process, which saves a second each."""
    database = f"sqlite:///{rates}/cifarsweep.db"
    return lambda *arguments: CliRunner().invoke(app, [*arguments, "--db", database])


def finish_all(folder: Path, but: int = 0) -> None:
    """Let every queued trial end as `ENDS` says, but for some."""
    with Store.open(f"sqlite:///{folder}/cifarsweep.db") as store:
        while count_open(store) > but:
            lease = store.queue.claim("w")
            assert lease is not None
            value = ENDS[lease.cell](lease.seed)
            store.queue.finish(lease, [], None, TrialResult(Outcome.FINISHED, 1, {VAL_ACCURACY: value}, "f" * 64))


def seeds(folder: Path) -> dict[str, int]:
    with Store.open(f"sqlite:///{folder}/cifarsweep.db", read_only=True) as store:
        cells = [trial.cell for trial in store.trials.all("rates")]
    return {cell: cells.count(cell) for cell in ENDS}


def test_seeds_are_added_where_they_are_needed_until_none_are_left(call: Any, run: Any, rates: Path) -> None:
    finish_all(rates)

    first = run(*UNTIL, "--max-seeds", "6")
    assert first.exit_code == 0
    warning, *rest = first.output.splitlines()
    assert "after a look that was not planned: the chance of a false verdict is at most 7.5 %, not 5 %" in warning
    assert "added" in rest[-2] and "To train: 66 steps" in rest[-1], "it says so first"
    assert (
        "6 trials added, of up to 6 seeds a cell" in first.output
        and "looks at 3 seeds at 5 %, 6 seeds at 2.5 %" in first.output
    )
    assert seeds(rates) == {"lr=0.1": 6, "lr=0.2": 6, "lr=0.3": 3}

    assert "6 trials not finished" in run(*UNTIL).output
    finish_all(rates)
    last = run(*UNTIL)
    assert "1 stay undecided" in last.output
    assert "\n- 0.2 is above 0.3: cell lr=0.3 does not train (all 3 runs fell out); 90." in last.output
    assert seeds(rates) == {"lr=0.1": 6, "lr=0.2": 6, "lr=0.3": 3}
    words = " ".join(call("report", "rates").stdout.split())
    assert "corrected for 2 tests and 2 looks" in words and "at most 7.5 %, not 5 %" in words
    found = json.loads(call("report", "rates", "--json").stdout)
    found = found[0] if isinstance(found, list) else found
    assert found["plans"] == [[3], [6]] and found["false_verdicts_at_most"] == pytest.approx(0.075)


def test_a_look_changes_nothing(run: Any, rates: Path) -> None:
    finish_all(rates)

    found = run(*UNTIL, "--max-seeds", "12", "--look")

    assert (
        "6 trials would be added" in found.output
        and "looks at 3 seeds at 5 %, 6 seeds at 0.833 %, 12 seeds at 1.67 %" in found.output
    )
    assert seeds(rates) == dict.fromkeys(ENDS, 3)
    with Store.open(f"sqlite:///{rates}/cifarsweep.db", read_only=True) as store:
        assert store.studies.plans("rates") == ()


def test_a_plan_before_the_first_look_keeps_the_promise(call: Any, run: Any, rates: Path) -> None:
    planned = run(*UNTIL, "--max-seeds", "6")
    finish_all(rates)
    found = run(*UNTIL)

    assert planned.output == (
        "rates: looks at 3 seeds at 2.5 %, 6 seeds at 2.5 %\nrates: 9 trials not finished; look again when all are\n"
    )
    assert "6 trials added, of up to 6 seeds a cell" in found.output and "not planned" not in found.output
    assert "not planned" not in call("report", "rates").stdout
    with Store.open(f"sqlite:///{rates}/cifarsweep.db", read_only=True) as store:
        assert store.studies.plans("rates") == ((3, 6),)


def test_before_the_trials_are_done_nothing_is_said_of_them(run: Any, rates: Path) -> None:
    finish_all(rates, but=4)
    run(*UNTIL, "--max-seeds", "12")

    found = run(*UNTIL, "--max-seeds", "12")

    assert found.output == "rates: 4 trials not finished; look again when all are\n"


def test_every_cell_can_have_more_seeds(run: Any, rates: Path) -> None:
    finish_all(rates)

    found = run("extend", "rates", "--seeds", "5")
    assert "at most 7.5 %, not 5 %" in found.output.splitlines()[0] and "rates: 6 trials added" in found.output

    assert seeds(rates) == dict.fromkeys(ENDS, 5)
    with Store.open(f"sqlite:///{rates}/cifarsweep.db", read_only=True) as store:
        assert store.studies.plans("rates") == ((3,), (5,))
    assert "0 would be added" in run("extend", "rates", "--seeds", "4").output


def test_a_cancelled_search_that_is_extended_says_what_comes_back(run: Any, rates: Path) -> None:
    search = '[search]\nn_trials = 6\n[search.space]\n"optimizer.lr" = { low = 0.1, high = 1.0 }\n'
    (rates / "find.toml").write_text(STUDY.split("[factors]")[0].replace("rates", "find") + search)
    run("create", str(rates / "find.toml"))
    assert "6 points to ask cancelled" in run("cancel", "find").output

    found = run("extend", "find", "--seeds", "4")

    assert "find: was cancelled; 6 points not asked for come back" in found.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["rates"], "give --seeds N for every cell, or --until-decided"),
        (["rates", "--seeds", "4", "--until-decided"], "give --seeds N for every cell, or --until-decided"),
        (["rates", "--seeds", "4", "--max-seeds", "9"], "--max-seeds goes with --until-decided"),
        (["rates", "--until-decided"], "give --max-seeds N"),
    ],
)
def test_what_makes_no_sense_is_refused(run: Any, rates: Path, arguments: list[str], words: str) -> None:
    refused = run("extend", *arguments)

    assert refused.exit_code == 2
    assert words in " ".join(refused.output.replace("│", " ").split())
    assert seeds(rates) == dict.fromkeys(ENDS, 3)


def test_a_study_that_is_not_there_is_named(run: Any) -> None:
    found = run("extend", "rate", "--until-decided", "--max-seeds", "9")

    assert isinstance(found.exception, UnknownStudy) and "Did you mean 'rates'?" in str(found.exception)


def test_no_distribution_library_is_imported_that_takes_seconds(rates: Path, environment: dict[str, str]) -> None:
    finish_all(rates)
    script = (
        "import sys; from cifarsweep.cli.app import app; app(['report', 'rates'], standalone_mode=False); "
        "sys.exit(sorted({'scipy.stats', 'statsmodels', 'pandas', 'torch'} & set(sys.modules)) or 0)"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], cwd=rates, env=environment, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr


def test_seeds_between_two_looks_decide_nothing(call: Any, run: Any, rates: Path) -> None:
    """Under a plan of 3, 6 and 12 the fourth seed waits for the look at 6, whatever it would decide."""
    run(*UNTIL, "--max-seeds", "12")
    finish_all(rates)
    (first,) = json.loads(call("report", "rates", "--json").stdout)

    assert run("create", str(rates / "rates.toml"), "--seeds", "4", "--extend").exit_code == 0
    finish_all(rates)
    (found,) = json.loads(call("report", "rates", "--json").stdout)

    assert seeds(rates) == dict.fromkeys(ENDS, 4) and found["plans"] == [[3, 6, 12]]
    for before, after in zip(first["verdicts"], found["verdicts"], strict=True):
        assert (after["seeds"], after["level"]) == (3, 0.0125)
        assert (after["decision"], after["p"]) == (before["decision"], before["p"])


def test_create_names_hypotheses_that_are_one_test(run: Any, tmp_path: Path) -> None:
    twice = STUDY.replace("0.2 is above 0.3", "0.2 is below 0.1").replace("= 0.3 }", "= 0.1 }")
    (tmp_path / "twice.toml").write_text(twice.replace('"rates"', '"twice"'))

    created = run("create", str(tmp_path / "twice.toml"))

    words = "0.1 is above 0.2\N{RIGHT DOUBLE QUOTATION MARK} and \N{LEFT DOUBLE QUOTATION MARK}0.2 is below 0.1"
    assert f"note: \N{LEFT DOUBLE QUOTATION MARK}{words}" in created.output and "are one test" in created.output
