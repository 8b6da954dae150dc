"""The views that people query: every number as it was recorded, on both databases; and the queries of the page."""

import math
import re
from pathlib import Path
from typing import Any

import pytest
from scenes import make_study, must_claim
from sqlalchemy import text

from cifarsweep.spec.types import MetricRow, Outcome, TrialResult
from cifarsweep.store import Store

PAGE = Path(__file__).parents[2] / "docs/how-to/analyse.md"
NUMBERS = [0.1 + 0.2, -1e-300, math.inf, -math.inf, math.nan, -0.0, 0.0]


def ask(store: Store, query: str) -> list[dict[str, Any]]:
    return store._db.read(lambda conn: [dict(row) for row in conn.execute(text(query)).mappings()])


@pytest.fixture
def told_store(store: Store) -> Store:
    """A study of two cells and two seeds, its first trial done with an awkward loss."""
    store.studies.create(make_study(2, 2, name="lr-study"))
    lease = must_claim(store)
    rows = [MetricRow("val/accuracy", step, number) for step, number in enumerate(NUMBERS)]
    final = {"val/accuracy": 0.75, "val/loss": math.inf, "train/loss": 0.5, "params": 12.0}
    final |= {"test/accuracy": 0.5, "test/loss": 2.5, "best/test_accuracy": 0.625}
    store.queue.finish(lease, rows, None, TrialResult(Outcome.FINISHED, 7, final, "f" * 64))
    return store


def test_v_trial_has_one_row_a_trial(told_store: Store) -> None:
    rows = ask(told_store, "SELECT * FROM v_trial ORDER BY trial")

    assert [(row["study"], row["trial"], row["seed"], row["state"]) for row in rows] == [
        ("lr-study", 0, 0, "done"),
        ("lr-study", 1, 0, "queued"),
        ("lr-study", 2, 1, "queued"),
        ("lr-study", 3, 1, "queued"),
    ]


def test_v_trial_has_the_last_metrics_as_numbers(told_store: Store) -> None:
    done, waiting = ask(told_store, "SELECT * FROM v_trial WHERE trial < 2 ORDER BY trial")

    assert (done["val_accuracy"], done["val_loss"], done["params"]) == (0.75, math.inf, 12.0)
    assert (done["steps"], done["attempts"], done["best_accuracy"]) == (7, 1, None)
    assert (done["test_accuracy"], done["test_loss"], done["best_test_accuracy"]) == (0.5, 2.5, 0.625)
    assert done["finished_at"] is not None
    assert (waiting["val_accuracy"], waiting["attempts"], waiting["final"]) == (None, 0, None)


def test_v_metric_gives_numbers_back(told_store: Store) -> None:
    rows = ask(told_store, "SELECT * FROM v_metric ORDER BY step")

    found = [row["value"] for row in rows]
    nan = [None] if told_store.shown_url.startswith("sqlite") else ["nan"]
    assert [repr(value) for value in found if value is not None and value == value] == [
        repr(number) for number in NUMBERS if number == number
    ]
    assert [None if value is None else "nan" for value in found if value is None or value != value] == nan
    assert {(row["study"], row["trial"], row["seed"], row["name"]) for row in rows} == {
        ("lr-study", 0, 0, "val/accuracy")
    }


def test_v_note_has_notes_of_studies_and_trials(told_store: Store) -> None:
    number = told_store.notes.add("lr-study", None, "a guess")
    told_store.notes.add("lr-study", 2, "a loud GPU")

    of_study, of_trial = ask(told_store, "SELECT * FROM v_note ORDER BY note")

    assert [of_study[key] for key in ("study", "trial", "note", "text")] == ["lr-study", None, number, "a guess"]
    assert [of_trial[key] for key in ("trial", "cell", "seed", "text")] == [2, "lr=0.1", 1, "a loud GPU"]
    assert of_trial["written_at"] is not None


def test_the_queries_of_the_page_run(told_store: Store) -> None:
    told_store.notes.add("lr-study", 0, "a loud GPU")
    queries = re.findall(r"```sql\n(.*?)```", PAGE.read_text().replace("'demo'", "'lr-study'"), flags=re.DOTALL)

    answers = [ask(told_store, query) for block in queries for query in block.split(";") if query.strip()]

    assert len(answers) == 4
    assert all(answers)
