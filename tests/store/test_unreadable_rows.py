"""Whoever edits a row by hand gets a sentence, or a right result; nobody else is harmed, and no worker goes round."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from scenes import make_cell, make_study, result, rows_at, saved_at
from sqlalchemy import Boolean, Column, Double, Integer, insert, text

from cifarsweep.analysis.extension import next_seeds
from cifarsweep.analysis.study import analyse, load_study
from cifarsweep.cli.show import trial_fields
from cifarsweep.cli.status import status_fields
from cifarsweep.dashboard.live_state import message
from cifarsweep.errors import StoreError, UnreadableStudy
from cifarsweep.export.series import curves
from cifarsweep.report.render import render_study
from cifarsweep.spec.hypothesis import Greater
from cifarsweep.spec.search_space import Range, Search
from cifarsweep.spec.study import Study
from cifarsweep.spec.types import AttemptEnd, Hits, MetricRow
from cifarsweep.store import Store, columns
from cifarsweep.store.admin import check
from cifarsweep.store.cached import CachedStore
from cifarsweep.store.column_types import UtcDateTime
from cifarsweep.store.database import backend_of
from cifarsweep.store.notices import Watch
from cifarsweep.store.records import WorkerInfo
from cifarsweep.store.schema import branch, metadata, study_data
from cifarsweep.worker.eligibility import EligibleStudies
from cifarsweep.worker.replay import read_original
from cifarsweep.worker.search import SearchClient

#: Every setting or column in turn: the same on every version of Python.
pytestmark = pytest.mark.long

#: Of a data set that is here, as workers see it.
READY: Any = SimpleNamespace(sha256="0" * 64, path=None, classes=())
#: Bytes that are no UTF-8, in a column of texts.
NO_TEXT = b"\xff\x00"
#: What people and other programs may leave in a column of each kind, where the database lets them.
NUMBERS = ["abc"]
FLOATS = ["abc"]
MOMENTS = ["abc"]
TEXTS = [NO_TEXT]
#: And in these columns more.
SPECIAL: dict[str, list[object]] = {
    "cs_study.spec": ["{", "[" * 100_000, '{"name": "s", "warp": 1}'],
    "cs_cell.settings": ['{"epochs": 1, "warp": 9}', '{"epochs": 2}'],
    "cs_cell.levels": ['{"optimizer.lr": [[1]]}', '{"optimizer.lr": 1e999}', '{"optimizer.lr": 7}'],
    "cs_trial.final": ['{"val/accuracy": "abc"}', '{"a": {"b": 1}}', '{"a": 1e999}', '{"a": 1' + "0" * 400 + "}"],
    "cs_trial.seed": [-1],
    "cs_trial.elapsed_s": [float("inf"), -1.0],
    "cs_trial.reused_s": [float("inf"), -1.0],
    "cs_trial.source_id": [999, 1],
    "cs_trial.cell_id": [999],
    "cs_trial.state": ["done", "queued", "leased"],
    "cs_worker.versions": ['{"python": 3}'],
    "cs_attempt.started_at": ["0001-01-01 00:00:00.000000"],
    "cs_metric.value": [None],
    "cs_hits.images": [99],
    "cs_hits.metric": ["lr"],
    "cs_metric.name": ["val/confusion/x/y", "\x1b[2J"],
}
#: What a claim reads.
CLAIMED = ("cs_study", "cs_cell", "cs_trial", "cs_checkpoint", "cs_attempt")
#: The rows that are edited: of a study that compares, of one that searches, and of a worker of both.
PLACES = {
    "cs_study": ["name = 's'"],
    "cs_study_data": ["dataset = 'digits'"],
    "cs_cell": ["name = 'lr=0.1' AND study_id = 2"],
    "cs_trial": ["number IN (0, 4) AND study_id = 2"],
    "cs_lease_check": ["moment > 0"],
    "cs_look": ["seeds = 3"],
    "cs_checkpoint": ["step = 2"],
    "cs_branch": ["step = 1"],
    "cs_decision": ["step = 1"],
    "cs_attempt": ["attempt = 1 AND worker_id = 'w'"],
    "cs_hits": ["trial_id IN (SELECT trial_id FROM cs_trial WHERE study_id = 2 AND number = 0)"],
    "cs_note": ["text = 'a note'"],
    "cs_notice": ["event = 'an event'"],
    "cs_watch": ["target = 'a target'"],
    "cs_worker": ["worker_id = 'w'"],
    "cs_metric": [
        "name = 'train/loss' AND step = 2 AND trial_id IN (SELECT trial_id FROM cs_trial WHERE study_id = 2)"
    ],
}


COLUMNS = [column for table in metadata.tables.values() for column in table.columns]
in_every_column = pytest.mark.parametrize("column", COLUMNS, ids=str)


def values_for(column: Column[Any]) -> list[object]:
    values: list[object] = list(TEXTS)
    if isinstance(column.type, Boolean | Integer):
        values = list(NUMBERS)
    elif isinstance(column.type, Double):
        values = list(FLOATS)
    elif isinstance(column.type, UtcDateTime):
        values = list(MOMENTS)
    return [*values, *SPECIAL.get(str(column), []), *([None] if column.nullable else [])]


def work_off(store: Store, study: str, worker: str, most: int = 99) -> None:
    """Train with one that fails among them."""
    for place in range(most):
        if (lease := store.queue.claim(worker, studies=[study])) is None:
            return
        counts = [MetricRow("val/confusion/0/1", 2, 3.0)]
        lease = store.queue.write(lease, rows_at(1, 2) + rows_at(1, 2, name="val/accuracy") + counts, saved_at(2))
        if place == 1 and study == "s":
            store.queue.fail(lease, AttemptEnd.EXCEPTION, "boom", "trace")
        else:
            done = replace(result(3, 0.5 + place / 20), hits={"val/accuracy": Hits(8, "/w==")})
            store.queue.finish(lease, [MetricRow("train/loss", 3, float("nan"))], None, done)


def fill(store: Store) -> None:
    """Study `o` is done; `s` and `z` have trials in many states, and share the worker `w`."""
    for worker in "wv":
        store.queue.register_worker(WorkerInfo(worker, "host", 1, "cpu", 1, {"python": "3"}))
    compared = make_study(name="s")
    claim = Greater(kind="greater", claim="more is better", a="lr=0.1", b="lr=0.05")
    cells, space = (make_cell(0.1), make_cell(0.2)), {"optimizer.lr": Range(low=0.1, high=0.2)}
    search = Search(n_trials=5, sampler="random", space=space, fixed={"dataset": "digits", "epochs": 1})
    store.studies.create(make_study(name="o"))
    store.studies.create(compared.model_copy(update={"hypotheses": (claim,)}))
    store.studies.create(Study(name="z", question="Where?", cells=cells, seeds=(0,), search=search))
    work_off(store, "o", "v")
    work_off(store, "s", "w", 3)
    store.studies.add_seeds("s", [], [(3, 6)])
    for study in "sz":
        SearchClient(store).add_next_point([study])
        lease = store.queue.claim("w", studies=[study])
        assert lease is not None
        store.queue.write(lease, rows_at(1), saved_at(1), {1: False})
        row = {"trial_id": lease.trial_id, "step": 1, "identity": "i", "path": "p", "sha256": "0" * 64, "bytes": 1}
        store._db.write(lambda conn, row=row: conn.execute(insert(branch), row))  # type: ignore[misc]
    store.notes.add("s", 0, "a note")
    store.notices.claim("an event")
    store.notices.watch([Watch("s", "a target")])
    store.sync_optuna()


@pytest.fixture(autouse=True)
def no_optuna(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its tables are its own, and opening them for every edit would take most of the time."""
    monkeypatch.setattr(check, "_optuna", lambda db: [])


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("edited") / "template.db"
    with Store.open(path, upgrade=True) as store:
        fill(store)
        row = {"study_id": 2, "dataset": "digits", "sha256": READY.sha256}
        store._db.write(lambda conn: conn.execute(backend_of(conn).insert_ignore(study_data).values(row)))
    return path


def edits(column: Column[Any]) -> Iterator[tuple[object, str]]:
    """Each value at each place."""
    for where in PLACES[column.table.name]:
        for value in values_for(column):
            yield value, where


def edit_file(path: Path, column: Column[Any], value: object, where: str) -> bool:
    """Whether SQLite took it, which it does nearly always."""
    how = "CAST(? AS TEXT)" if value == NO_TEXT else "?"
    statement = f"UPDATE {column.table.name} SET {column.name} = {how} WHERE {where}"  # noqa: S608
    with closing(sqlite3.connect(path)) as conn:
        try:
            changed = conn.execute(statement, (value,)).rowcount
        except sqlite3.IntegrityError:
            return False
        assert changed > 0
        conn.commit()
    return True


def look(store: Store, reference: object) -> None:
    """Read everything in every way. What can't be read is a sentence with study and column, for `db check` too."""
    known = {each.study: each for each in store.studies.status(live=True)}
    assert not known["o"].unreadable and store.trials.all("o") == reference
    json.dumps([status_fields(each) for each in known.values()], allow_nan=False)
    found = store.admin.check()
    for row in store.studies.all():
        try:
            read_all(store, row.name)
        except UnreadableStudy as error:
            assert row.name != "o"
            assert str(error).startswith(f"study {row.name!r}") and "cs_" in str(error)
            assert any("cs_" in sentence for sentence in found)
        else:
            assert not row.unreadable


def read_all(store: Store, name: str) -> None:
    """As the commands do: report, verdicts, export, show, replay, and both kinds of extend."""
    report = load_study(store, name).report
    if name == "s":
        render_study(analyse(report))
    assert list(curves(store, name, ()))
    store.studies.plans(name, 5)
    for row in report.trials:
        json.dumps(trial_fields(store.trials.get(name, row.number), {}), default=str, allow_nan=False)
    if name == "s":
        next_seeds(report, 6)
        with suppress(StoreError):
            read_original(store, name, 0)


def watch(path: Path | str) -> None:
    """As the dashboard does."""
    with CachedStore.open(path, read_only=True) as store:
        json.dumps(message(store.snapshot()), allow_nan=False)


def work(store: Store) -> None:
    """Train all that is left, as workers do: each trial once."""
    for table, column in (("cs_trial", "lease_until"), ("cs_trial", "not_before"), ("cs_lease_check", "moment")):
        # Time passes, but not for what is no time.
        late = text(f"UPDATE {table} SET {column} = 0 WHERE {column} BETWEEN 0 AND 1e12")  # noqa: S608
        store._db.write(lambda conn, late=late: conn.execute(late))  # type: ignore[misc]
    trainable = EligibleStudies(store, lambda name: READY)
    with suppress(UnreadableStudy):
        names = trainable(())
        searching, taken = SearchClient(store), set[int]()
        while (lease := store.queue.claim("n", studies=names)) or searching.add_next_point(names):
            if lease is not None:
                assert lease.trial_id not in taken
                taken.add(lease.trial_id)
                store.queue.finish(store.queue.write(lease, rows_at(5), saved_at(5)), rows_at(6), None, result(6))
        assert not store.queue.has_unfinished(names)


def test_a_text_that_steers_a_terminal_is_an_edit_and_of_no_newer_version() -> None:
    edited = make_study(name="s").model_copy(update={"question": "\x1b[2J"}).canonical()

    with pytest.raises(columns.BadValue, match="question") as refused:
        columns.spec(edited)

    assert "restore a backup" in str(refused.value) and "newer" not in str(refused.value)


@in_every_column
def test_an_edited_file_is_read_or_complained_of(column: Column[Any], template: Path, tmp_path: Path) -> None:
    with Store.open(template, read_only=True) as store:
        reference = store.trials.all("o")
    for value, where in edits(column):
        path = Path(shutil.copy(template, tmp_path / "results.db"))
        if edit_file(path, column, value, where):
            with Store.open(path) as store:
                look(store, reference)
                watch(path)
                if column.table.name in CLAIMED:
                    work(store)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE cs_study SET spec = '{' WHERE name = 's'",
        "UPDATE cs_trial SET state = 'flying', elapsed_s = 'nan' WHERE number = 0 AND study_id = 2",
        "UPDATE cs_trial SET attempt = 0 WHERE number = 3 AND study_id = 2",
        "UPDATE cs_trial SET lease_until = 'infinity', not_before = 'nan' WHERE study_id = 2",
        "UPDATE cs_attempt SET ending = 'bored' WHERE worker_id = 'w'",
        "UPDATE cs_attempt SET ended_at = 'infinity', error = 'boom' WHERE worker_id = 'w'",
        "UPDATE cs_worker SET versions = '[]', beat = 'nan', started_at = '-infinity' WHERE worker_id = 'w'",
        "UPDATE cs_metric SET kind = 'odd' WHERE trial_id > 6",
    ],
)
def test_an_edited_server_is_read_or_complained_of(cleared_postgres: str, statement: str) -> None:
    with Store.open(cleared_postgres) as store:
        fill(store)
        reference = store.trials.all("o")
        store._db.write(lambda conn: conn.execute(text(statement)))

        look(store, reference)
        watch(cleared_postgres)
        work(store)


@pytest.mark.parametrize("statement", ["UPDATE cs_attempt SET started_at = 'soon'", "UPDATE cs_trial SET told = 'yes'"])
def test_a_backup_with_an_edited_row_is_refused_in_a_sentence(template: Path, tmp_path: Path, statement: str) -> None:
    path = Path(shutil.copy(template, tmp_path / "copy.db"))
    with closing(sqlite3.connect(path)) as conn:
        conn.execute(statement)
        conn.commit()

    with Store.open_backup(path) as copy, Store.open(tmp_path / "new.db", upgrade=True) as store:
        with pytest.raises(
            StoreError, match="study 'o', trial 0: .*cs_(attempt.started_at is 'soon'|trial.told is 'yes')"
        ):
            store.admin.restore(copy.admin)
        assert store.studies.all() == []
