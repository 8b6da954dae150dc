"""What Optuna's own tools see in our database."""

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages._rdb.models import BaseModel
from scenes import at_once, cut_connections, expire, make_cell, make_due, make_study, must_claim, result, rows_at
from sqlalchemy import event
from support.forks import forks

from cifarsweep.errors import StudyExists
from cifarsweep.spec.metrics import CONFUSION, VAL_ACCURACY
from cifarsweep.spec.study import Cell, Study
from cifarsweep.spec.types import AttemptEnd, MetricRow, Outcome, TrialResult
from cifarsweep.store import Store
from cifarsweep.store.optuna_view import projection
from cifarsweep.store.optuna_view.parameters import Parameters
from cifarsweep.store.records import WorkerInfo
from cifarsweep.store.url import parse_url

View = Callable[[], optuna.Study]
COMPLETE, FAIL = optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.FAIL


@pytest.fixture
def view(url: str) -> Iterator[View]:
    """Loads the study `s` as a user of Optuna does, who knows nothing of us."""
    storages = []

    def load() -> optuna.Study:
        storages.append(optuna.storages.RDBStorage(parse_url(url).render_as_string(hide_password=False)))
        return optuna.load_study(study_name="s", storage=storages[-1])

    yield load
    for storage in storages:
        storage.scoped_session.remove()
        storage.engine.dispose()


@pytest.fixture
def theirs(url: str, store: Store) -> Iterator[View]:
    """A study `s` of three trials that somebody makes with Optuna alone."""
    storage = optuna.storages.RDBStorage(parse_url(url).render_as_string(hide_password=False))

    def made() -> optuna.Study:
        study = optuna.create_study(study_name="s", storage=storage, load_if_exists=True)
        for value in (0.1, 0.2, 0.3) if not study.get_trials() else ():
            study.add_trial(optuna.trial.create_trial(value=value))
        return study

    yield made
    storage.scoped_session.remove()
    storage.engine.dispose()


def finish_all(store: Store) -> None:
    while lease := store.queue.claim("w"):
        curve = [MetricRow(VAL_ACCURACY, step, step / 100 + lease.number) for step in (1, 2, 3)]
        store.queue.finish(lease, curve + rows_at(1, 2), None, result(3, accuracy=lease.number / 10))


def numbers(study: optuna.Study) -> list[int]:
    return [trial.user_attrs["cifarsweep_trial"] for trial in study.trials]


def test_optuna_sees_every_trial_once_and_whole(busy_store: Store, view: View) -> None:
    busy_store.queue.register_worker(WorkerInfo("w", "box", 1, "cpu", 1))
    finish_all(busy_store)

    assert busy_store.sync_optuna() == 6

    study = view()
    assert numbers(study) == [0, 1, 2, 3, 4, 5]
    assert [trial.params for trial in study.trials] == [{"optimizer.lr": 0.1}, {"optimizer.lr": 0.05}] * 3
    assert [trial.value for trial in study.trials] == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
    assert study.trials[2].intermediate_values == {1: 2.01, 2: 2.02, 3: 2.03}
    assert {trial.state for trial in study.trials} == {COMPLETE}
    attributes = study.trials[3].user_attrs
    assert (attributes["seed"], attributes["cell"], attributes["host"]) == (1, "lr=0.05", "box")
    assert study.direction is optuna.study.StudyDirection.MAXIMIZE
    assert study.best_trial.number == 5


def test_times_are_those_of_the_training(busy_store: Store, view: View) -> None:
    finish_all(busy_store)
    busy_store.sync_optuna()

    row, trial = busy_store.trials.get("s", 4), view().trials[4]

    assert row.started_at is not None and row.finished_at is not None
    assert trial.datetime_start.astimezone() == row.started_at
    assert trial.datetime_complete.astimezone() == row.finished_at


def test_telling_again_tells_nothing(busy_store: Store, view: View) -> None:
    finish_all(busy_store)

    assert [busy_store.sync_optuna(4), busy_store.sync_optuna(), busy_store.sync_optuna()] == [4, 2, 0]
    assert numbers(view()) == [0, 1, 2, 3, 4, 5]


def test_only_final_trials_are_told_and_late_ones_follow(busy_store: Store, view: View) -> None:
    first, second = must_claim(busy_store), must_claim(busy_store)
    busy_store.queue.finish(second, [], None, result())
    assert busy_store.sync_optuna() == 1

    busy_store.queue.finish(first, [], None, result())

    assert busy_store.sync_optuna() == 1
    assert numbers(view()) == [1, 0]


def test_failures_and_odd_results_are_told_too(busy_store: Store, view: View) -> None:
    for _ in range(2):
        lease = must_claim(busy_store)
        busy_store.queue.fail(lease, AttemptEnd.EXCEPTION, "boom", "")
        make_due(busy_store, lease)
    strange = [MetricRow(VAL_ACCURACY, step, value) for step, value in enumerate([float("nan"), float("inf")])]
    busy_store.queue.finish(
        must_claim(busy_store), strange, None, TrialResult(Outcome.DIVERGED, 1, {VAL_ACCURACY: 0.1}, "a")
    )
    busy_store.queue.finish(must_claim(busy_store), [], None, TrialResult(Outcome.FINISHED, 1, {}, "a"))

    assert busy_store.sync_optuna() == 3

    failed, diverged, without_value = view().trials
    assert (failed.state, failed.user_attrs["outcome"], failed.user_attrs["error"]) == (FAIL, "failed", "boom")
    assert (diverged.state, diverged.value, diverged.user_attrs["outcome"]) == (COMPLETE, 0.1, "diverged")
    assert str(diverged.intermediate_values) == "{0: nan, 1: inf}"
    assert without_value.state is FAIL
    assert busy_store.admin.check() == []


def varied(values: list[object], seeds: int = 1) -> Study:
    """A study of one odd factor, whose cells differ in the learning rate behind the scenes."""
    cells = [make_cell(0.1 / (place + 1), f"c{place}") for place in range(len(values))]
    told = tuple(
        Cell.model_construct(name=cell.name, levels={"odd": value}, settings=cell.settings)
        for cell, value in zip(cells, values, strict=True)
    )
    return Study.model_construct(name="s", question="?", cells=told, seeds=tuple(range(seeds)))


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([True], [True]),
        ([False, True], [False, True]),
        ([3, 1], [3, 1]),
        ([0.1, 2], [0.1, 2]),
        (["sgd", "adamw"], ["sgd", "adamw"]),
        ([(8, 16), (32,)], ["8-16", "32"]),
        ([None, 100], [None, "100"]),
        ([1e-300, 1e300], [1e-300, 1e300]),
    ],
)
def test_levels_of_any_kind_are_parameters(values: list[object], shown: list[object]) -> None:
    study = varied(values)
    parameters = Parameters.of(study)
    target = optuna.create_study()

    for cell in study.cells:
        params, distributions = parameters.encode(cell.levels), parameters.distributions(optuna)
        target.add_trial(optuna.create_trial(params=params, distributions=distributions, value=0.5))

    assert [trial.params["odd"] for trial in target.trials] == shown


def test_numbers_may_widen_without_writing_anew() -> None:
    narrow, wide = (Parameters.of(varied(values)) for values in ([0.1, 0.2], [0.1, 0.2, 9.0]))

    assert narrow.signature() == wide.signature()
    assert narrow.signature() != Parameters.of(varied([0.1, "auto"])).signature()


@pytest.mark.parametrize("more", [[(8,), (16,), (32,)], [(8,), (16,), None]])
def test_an_extension_with_new_choices_is_told_as_a_whole(store: Store, view: View, more: list[object]) -> None:
    store.studies.create(varied([(8,), (16,)]))
    finish_all(store)
    assert store.sync_optuna() == 2

    store.studies.create(varied(more), extend=True)
    finish_all(store)

    assert store.sync_optuna() == 3
    study = view()
    assert sorted(numbers(study)) == [0, 1, 2]
    assert len({str(trial.distributions) for trial in study.trials}) == 1
    assert store.admin.check() == []


def test_an_extension_with_numbers_adds_to_what_is_there(busy_store: Store, view: View) -> None:
    finish_all(busy_store)
    busy_store.sync_optuna()

    busy_store.studies.create(make_study(4, 3), extend=True)
    finish_all(busy_store)

    assert busy_store.sync_optuna() == 6
    assert numbers(view()) == list(range(12))


def test_a_study_that_somebody_deleted_is_told_again_with_the_next_trial(busy_store: Store, view: View) -> None:
    finish_all(busy_store)
    busy_store.sync_optuna()
    optuna.delete_study(study_name="s", storage=view()._storage)
    busy_store.studies.create(make_study(2, 4), extend=True)
    finish_all(busy_store)

    assert busy_store.sync_optuna() == 8

    assert numbers(view()) == list(range(8))


def test_a_view_that_another_process_wrote_anew_is_not_mistaken_for_the_old(url: str, store: Store, view: View) -> None:
    store.studies.create(varied([(8,), (16,)], seeds=2))
    for lease in [must_claim(store) for _ in range(4)][::-1]:
        store.queue.finish(lease, [], None, result())
        assert store.sync_optuna() == 1  # so the first that it remembers is the last by number
    with Store.open(url) as other:
        store.studies.create(varied([(8,), (16,), (32,)], seeds=2), extend=True)
        finish_all(store)
        assert other.sync_optuna(1) == 1

    assert store.sync_optuna() == 5
    assert sorted(numbers(view())) == list(range(6))
    assert store.admin.check() == []


def die_before_the_mark(url: str) -> None:
    projection.mark_synced = lambda conn, study_id, numbers: os.kill(os.getpid(), signal.SIGKILL)
    with Store.open(url) as store:
        store.sync_optuna(4)


def test_a_teller_that_is_killed_doubles_and_loses_nothing(url: str, busy_store: Store, view: View) -> None:
    finish_all(busy_store)
    process = forks().Process(target=die_before_the_mark, args=(url,))
    process.start()
    process.join(200)
    assert process.exitcode == -signal.SIGKILL
    assert numbers(view()) == [0, 1, 2, 3]

    assert busy_store.sync_optuna() == 6

    assert numbers(view()) == [0, 1, 2, 3, 4, 5]
    assert busy_store.admin.check() == []


def test_two_tellers_at_once_double_nothing(url: str, busy_store: Store, view: View) -> None:
    finish_all(busy_store)
    busy_store.sync_optuna(1)
    with Store.open(url) as other:
        while sum(at_once(busy_store.sync_optuna, other.sync_optuna)):
            pass

    assert numbers(view()) == [0, 1, 2, 3, 4, 5]


def test_a_teller_finds_the_lock_taken_and_goes_on(
    url: str, busy_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish_all(busy_store)
    mark = projection.mark_synced
    attempts = []
    connections: list[object] = []

    def meanwhile(*args: object, **kwargs: object) -> bool:
        with Store.open(url) as other:
            event.listen(other._db.engine, "connect", lambda connection, _: connections.append(connection))
            attempts.append(other.sync_optuna())
        return mark(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(projection, "mark_synced", meanwhile)

    assert busy_store.sync_optuna() == 6
    # Thousands of workers ask at each beat: none opens a connection for that.
    assert (attempts, connections) == ([0], [])


def test_trouble_with_optuna_is_a_warning_and_no_more(
    busy_store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    finish_all(busy_store)

    def refuse(*args: object, **kwargs: object) -> None:
        raise RuntimeError("tables of another version\ndetails")

    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(projection, "OptunaLink", refuse)
        assert [busy_store.sync_optuna(), busy_store.sync_optuna()] == [0, 0]

    assert len(caplog.records) == 1
    assert "tables of another version" in caplog.text
    assert busy_store.sync_optuna() == 6


def test_telling_says_nothing(busy_store: Store, capfd: pytest.CaptureFixture[str]) -> None:
    before = optuna.logging.get_verbosity()
    finish_all(busy_store)

    busy_store.sync_optuna()

    assert capfd.readouterr() == ("", "")
    assert optuna.logging.get_verbosity() == before


def test_optuna_is_told_no_counts_of_confusions(busy_store: Store, view: View) -> None:
    lease = must_claim(busy_store)
    lease = busy_store.queue.write(lease, [MetricRow(f"{CONFUSION}0/0", 9, 7.0)])

    busy_store.queue.finish(lease, [], None, result(step=9))
    busy_store.sync_optuna()

    told = view().trials[0]
    assert CONFUSION not in str((told.user_attrs, told.intermediate_values, told.params))


def test_a_killed_attempt_leaves_no_trace_in_optuna(busy_store: Store, view: View) -> None:
    lease = busy_store.queue.write(must_claim(busy_store), [MetricRow(VAL_ACCURACY, 7, 0.9)])
    expire(busy_store, lease)
    finish_all(busy_store)

    busy_store.sync_optuna()

    assert view().trials[0].intermediate_values == {1: 0.01, 2: 0.02, 3: 0.03}
    assert len(busy_store.trials.get("s", 0).attempts) == 2


def test_a_cut_between_two_trials_doubles_nothing(cleared_postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store.open(cleared_postgres) as store:
        store.studies.create(make_study())
        finish_all(store)
        store.sync_optuna(1)
        freeze, frozen = projection._frozen, []

        def cut_at_the_third(*args: Any) -> Any:
            frozen.append(1)
            if len(frozen) == 3:
                cut_connections(cleared_postgres)
            return freeze(*args)

        monkeypatch.setattr(projection, "_frozen", cut_at_the_third)

        assert store.sync_optuna() == 0
        assert store.unsynced() == 5
        assert store.sync_optuna() == 5
        assert store.admin.check() == []


def test_an_answer_that_optuna_lost_doubles_nothing(cleared_postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Optuna itself would add the trial once more: it repeats what failed in COMMIT."""
    with Store.open(cleared_postgres) as store:
        store.studies.create(make_study())
        finish_all(store)
        store.sync_optuna(1)
        assert store._projection._link is not None
        dialect = store._projection._link._backend.engine.dialect
        commit, freeze, adding = dialect.do_commit, projection._frozen, []

        def begin_to_add(*args: Any) -> Any:
            adding.append(1)
            return freeze(*args)

        def commit_and_vanish(connection: Any) -> None:
            commit(connection)
            if adding:
                cut_connections(cleared_postgres)
                raise dialect.loaded_dbapi.OperationalError("server closed the connection unexpectedly")

        monkeypatch.setattr(projection, "_frozen", begin_to_add)
        monkeypatch.setattr(dialect, "do_commit", commit_and_vanish)

        assert (store.sync_optuna(), store.unsynced()) == (0, 5)
        assert (store.sync_optuna(), store.admin.check()) == (5, [])


def test_a_study_of_somebody_elses_is_neither_replaced_nor_joined(store: Store, theirs: View) -> None:
    theirs()

    with pytest.raises(StudyExists, match=r"Optuna has a study 's' of its own .* use --as NAME"):
        store.studies.create(make_study())

    assert store.studies.all() == []
    assert len(theirs().trials) == 3


@pytest.mark.parametrize("made", range(1, 6))
def test_a_study_is_created_while_optuna_makes_the_tables_of_a_file(tmp_path: Path, made: int) -> None:
    # One by one, where PostgreSQL's are there at once; `trials` is the sixth.
    with Store.open(f"sqlite:///{tmp_path / 'results.db'}", upgrade=True) as store:
        with store._db.engine.begin() as conn:
            for table in BaseModel.metadata.sorted_tables[:made]:
                table.create(conn)

        store.studies.create(make_study())

        finish_all(store)
        assert store.sync_optuna() == 6 and store.admin.check() == []


def test_a_study_that_somebody_made_after_ours_stays_and_the_others_are_told(store: Store, theirs: View) -> None:
    store.studies.create(make_study())
    store.studies.create(make_study(name="t"))
    theirs()
    for name in ("s", "t"):
        lease = store.queue.claim("w", studies=[name])
        assert lease
        store.queue.finish(lease, [], None, result())

    assert store.sync_optuna() == 1

    assert len(theirs().trials) == 3
    assert not store.sync_failing
    for _ in range(5):
        store.sync_optuna()
    assert store.sync_failing


def test_a_sync_that_outlives_its_store_leaves_no_connection_open(
    left_open: Callable[[], list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a worker ends because its device is bad: it waits for no sync."""
    store = Store.open(f"sqlite:///{tmp_path}/results.db", upgrade=True)
    store.studies.create(make_study())
    finish_all(store)
    tell, amid, closed = optuna.Study.add_trial, threading.Event(), threading.Event()

    def told_later(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        amid.set()
        closed.wait()
        tell(study, trial)

    monkeypatch.setattr(optuna.Study, "add_trial", told_later)
    syncing = threading.Thread(target=store.sync_optuna)
    syncing.start()
    amid.wait()
    store.close()
    closed.set()
    syncing.join()

    assert left_open() == []
