"""Search studies in the database: each point is asked for once, whoever asks, and decisions last."""

import json
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from wsgiref.simple_server import make_server

import optuna
import optuna_dashboard
import pytest
from scenes import at_once, must_claim, rows_at, saved_at, taken_over

from cifarsweep.errors import StoreError
from cifarsweep.search import suggest
from cifarsweep.spec.metrics import VAL_ACCURACY
from cifarsweep.spec.reader import read_study
from cifarsweep.spec.study import Study
from cifarsweep.spec.types import MetricRow, Outcome, StopRequest, TrialResult, TrialState
from cifarsweep.store import Store
from cifarsweep.store.records import ControlResult, Lease
from cifarsweep.store.search import SearchState
from cifarsweep.store.url import parse_url
from cifarsweep.worker.search import PruningDecider, SearchClient

FILE = """
name = "find"
question = "Which rate?"
seeds = {seeds}
[settings]
dataset = "digits"
epochs = 1
[search]
sampler = "random"
pruner = "median"
n_trials = {n_trials}
[search.space]
"optimizer.lr" = {{ low = 1e-4, high = 1.0, log = true }}
"model.widths" = {{ choices = [[8], [8, 16]] }}
"""


def study(tmp_path: Path, n_trials: int = 6, seeds: int = 1) -> Study:
    path = tmp_path / "find.toml"
    path.write_text(FILE.format(n_trials=n_trials, seeds=seeds))
    return read_study(path)


@pytest.fixture
def search_store(store: Store, tmp_path: Path) -> Store:
    store.studies.create(study(tmp_path))
    return store


def state_of(store: Store) -> SearchState:
    state = store.search.state("find")
    assert state is not None
    return state


def ask(store: Store) -> bool:
    """What a worker does that found nothing to claim."""
    state = state_of(store)
    if not state.wants_more:
        return False
    assert state.spec.search is not None
    cell = suggest(state.spec.search, state.asked, state.tried)
    assert cell is not None
    return store.search.add("find", state.asked, cell)


def ask_until_it_has_enough(store: Store) -> int:
    added = 0
    while state_of(store).wants_more:
        added += ask(store)
    return added


def pruned_at(step: int, accuracy: float) -> TrialResult:
    return TrialResult(Outcome.PRUNED, step, {VAL_ACCURACY: accuracy}, "")


def done_at(step: int, accuracy: float) -> TrialResult:
    return TrialResult(Outcome.FINISHED, step, {VAL_ACCURACY: accuracy}, "f" * 64)


def test_a_search_begins_without_trials_and_creating_it_again_changes_nothing(store: Store, tmp_path: Path) -> None:
    created = store.studies.create(study(tmp_path))
    again = store.studies.create(study(tmp_path))

    assert (created.added, again.added) == (6, 0)
    assert store.queue.claim("w") is None
    assert store.studies.status("find")[0].to_ask == 6 and store.queue.studies_left() == ["find"]


def test_a_plain_study_is_no_search(busy_store: Store) -> None:
    assert busy_store.search.state("s") is None
    assert busy_store.studies.status("s")[0].to_ask == 0


def test_a_point_that_was_asked_for_is_a_trial(search_store: Store) -> None:
    ask(search_store)

    lease = must_claim(search_store)

    assert (lease.study, lease.number, lease.seed) == ("find", 0, 0)
    assert search_store.trials.all("find")[0].levels["optimizer.lr"] == lease.settings.optimizer.lr
    assert [tried.state for tried in state_of(search_store).tried] == ["running"]


def test_an_answer_that_is_out_of_date_is_not_added(search_store: Store) -> None:
    state = state_of(search_store)
    assert state.spec.search is not None
    cells = [suggest(state.spec.search, number, ()) for number in (0, 1)]

    added = [search_store.search.add("find", 0, cell) for cell in cells if cell]

    assert added == [True, False]
    assert len(search_store.trials.all("find")) == 1


def test_eight_that_ask_at_once_ask_for_each_point_once(search_store: Store) -> None:
    added = at_once(*[lambda: ask_until_it_has_enough(search_store)] * 8)

    trials = search_store.trials.all("find")
    assert sum(added) == 6 == len(trials)
    assert len({repr(trial.levels) for trial in trials}) == 6
    assert search_store.studies.status("find")[0].to_ask == 0


def test_a_search_grows_by_points_and_by_seeds(search_store: Store, tmp_path: Path) -> None:
    ask_until_it_has_enough(search_store)

    grown = search_store.studies.create(study(tmp_path, n_trials=8, seeds=2), extend=True)
    ask_until_it_has_enough(search_store)

    trials = search_store.trials.all("find")
    assert grown.added == 8 * 2 - 6
    assert len(trials) == 16 and len({(trial.cell, trial.seed) for trial in trials}) == 16


def test_nothing_is_asked_for_a_study_that_is_paused_or_cancelled(search_store: Store) -> None:
    search_store.control.pause("find")
    assert not ask(search_store) and search_store.studies.status("find")[0].to_ask == 0

    search_store.control.resume("find")
    assert ask(search_store)
    search_store.control.cancel("find")
    assert not ask(search_store)


def test_extending_a_cancelled_search_tells_of_the_points_that_come_back(search_store: Store, tmp_path: Path) -> None:
    ask(search_store)
    search_store.control.cancel("find")

    created = search_store.studies.create(study(tmp_path, n_trials=8), extend=True)

    assert (created.added, created.reopened) == (2, 5)
    assert search_store.studies.status("find")[0].to_ask == 7
    assert search_store.studies.create(study(tmp_path, n_trials=9), extend=True).reopened == 0


def test_steering_tells_of_the_points_that_are_still_to_be_asked_for(search_store: Store) -> None:
    ask(search_store)

    assert search_store.control.pause("find") == ControlResult(1, 0, points=5)
    found = search_store.studies.status("find")[0]
    assert (found.to_ask, found.held, found.stop_request) == (0, 5, StopRequest.PAUSE)
    assert search_store.control.pause("find") == ControlResult(0, 0, points=0)
    assert search_store.control.resume("find") == ControlResult(1, 0, points=5)
    assert search_store.control.cancel("find") == ControlResult(1, 0, points=5)
    assert search_store.control.retry("find") == ControlResult(1, 0, points=5)
    assert search_store.studies.status("find")[0].to_ask == 5


def test_a_trial_of_a_search_that_asked_for_none_yet_is_named_as_that(search_store: Store) -> None:
    with pytest.raises(StoreError, match="has no trial 0; it has none yet"):
        search_store.trials.get("find", 0)


def test_a_pause_that_comes_while_a_worker_thinks_keeps_its_point_out(search_store: Store) -> None:
    state = state_of(search_store)
    search_store.control.pause("find")
    assert state.spec.search is not None
    cell = suggest(state.spec.search, 0, ())

    assert cell is not None and not search_store.search.add("find", 0, cell)


def test_the_value_of_a_point_is_the_mean_over_its_seeds(store: Store, tmp_path: Path) -> None:
    store.studies.create(study(tmp_path, seeds=2))
    ask(store)
    store.queue.finish(must_claim(store), [], None, done_at(9, 0.5))
    assert state_of(store).tried[0].state == "running"

    store.queue.finish(must_claim(store), [], None, done_at(9, 0.7))

    assert (state_of(store).tried[0].state, state_of(store).tried[0].value) == ("complete", pytest.approx(0.6))


def test_decisions_outlive_the_attempt_that_made_them_and_its_rows(search_store: Store) -> None:
    ask(search_store)
    lease = search_store.queue.write(must_claim(search_store), rows_at(2), saved_at(2))
    search_store.queue.write(lease, rows_at(3, 4), None, {3: False, 4: False})

    successor = taken_over(search_store, lease)
    search_store.queue.write(successor, rows_at(3), None, {3: False})

    assert search_store.search.decisions(lease.trial_id) == {3: False, 4: False}


def test_the_decision_and_the_end_it_makes_are_one(search_store: Store) -> None:
    ask(search_store)
    lease = must_claim(search_store)
    rows = [MetricRow(VAL_ACCURACY, 3, 0.25)]

    search_store.queue.finish(lease, rows, None, pruned_at(3, 0.25), decisions={3: True})
    search_store.queue.finish(lease, rows, None, pruned_at(3, 0.25), decisions={3: True})

    trial = search_store.trials.all("find")[0]
    assert (trial.state, trial.outcome, trial.step, trial.value) == (TrialState.DONE, Outcome.PRUNED, 3, 0.25)
    assert search_store.search.decisions(lease.trial_id) == {3: True}
    assert search_store.studies.status("find")[0].pruned == 1
    assert [tried.state for tried in state_of(search_store).tried] == ["pruned"]
    assert search_store.admin.check() == []


def test_optuna_sees_the_space_and_what_was_pruned(search_store: Store, url: str) -> None:
    finish_two(search_store)
    assert search_store.sync_optuna() == 2

    complete, pruned = trials_of_optuna(url)

    assert (complete.state.name, pruned.state.name) == ("COMPLETE", "PRUNED")
    assert pruned.intermediate_values == {3: 0.25} and pruned.value == 0.25
    space = optuna.distributions
    assert complete.distributions == {
        "optimizer.lr": space.FloatDistribution(1e-4, 1.0, log=True),
        "model.widths": space.CategoricalDistribution(["8", "8-16"]),
    }
    assert search_store.admin.check() == []


def finish_two(store: Store) -> None:
    """One trial that came to its end, and one that was pruned."""
    for number, end in enumerate((done_at, pruned_at)):
        ask(store)
        lease = must_claim(store)
        rows: list[Any] = [MetricRow(VAL_ACCURACY, 3, 0.25 + 0.5 * (1 - number))]
        store.queue.finish(lease, rows, None, end(3, rows[0].value), decisions={3: bool(number)})


def trials_of_optuna(url: str) -> list[optuna.trial.FrozenTrial]:
    """As a user of Optuna reads them, who knows nothing of us."""
    storage = optuna.storages.RDBStorage(parse_url(url).render_as_string(hide_password=False))
    try:
        return optuna.load_study(study_name="find", storage=storage).trials
    finally:
        storage.scoped_session.remove()
        storage.engine.dispose()


def test_a_successor_keeps_to_what_was_decided_and_asks_only_what_was_not(search_store: Store) -> None:
    """At step 3 nothing was known that could end the trial; later everything speaks against it."""
    ask(search_store)
    first = must_claim(search_store)
    decider = judge_of(search_store, first)
    assert [judged(decider, step, 0.1) for step in (1, 2, 3)] == [False, False, False]
    first = search_store.queue.write(first, accuracies(1, 2, value=0.1), saved_at(2), {1: False, 2: False})
    search_store.queue.write(first, accuracies(3, value=0.1), None, {3: False})
    for _ in range(5):
        ask(search_store)
        search_store.queue.finish(
            must_claim(search_store, "other"), accuracies(1, 2, 3, 4, value=0.9), None, done_at(4, 0.9)
        )

    successor = taken_over(search_store, first)
    decider = judge_of(search_store, successor)

    assert [judged(decider, step, 0.1) for step in (3, 4)] == [False, True]


def test_what_was_evaluated_while_nobody_could_judge_counts_later(search_store: Store) -> None:
    """Step 2 comes while the database is away: at step 3 the trial is compared as one of three evaluations."""
    ask(search_store)
    decider = judge_of(search_store, must_claim(search_store))
    for _ in range(5):
        ask(search_store)
        values = [MetricRow(VAL_ACCURACY, step, 0.2 * step) for step in (1, 2, 3, 4)]
        search_store.queue.finish(must_claim(search_store, "other"), values, None, done_at(4, 0.8))

    assert judged(decider, 1, 0.2) is False
    decider.observe(2, 0.4)

    # Above the median of the second evaluations, 0.4, but below that of the third, which this one is.
    assert judged(decider, 3, 0.5) is True


def judged(decider: PruningDecider, step: int, accuracy: float) -> bool | None:
    decider.observe(step, accuracy)
    return decider(step)


def judge_of(store: Store, lease: Lease) -> PruningDecider:
    """The decider of a worker that knows nothing yet."""
    return SearchClient(store).pruning_decider(lease)


def accuracies(*steps: int, value: float) -> list[MetricRow]:
    return [MetricRow(VAL_ACCURACY, step, value) for step in steps]


@pytest.fixture
def dashboard(url: str) -> Iterator[str]:
    """The address of an optuna-dashboard that has our database open."""
    storage = optuna.storages.RDBStorage(parse_url(url).render_as_string(hide_password=False))
    with make_server("127.0.0.1", 0, optuna_dashboard.wsgi(storage)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/api/studies"
        server.shutdown()
    storage.engine.dispose()


def test_optuna_dashboard_shows_studies_trials_and_curves(search_store: Store, dashboard: str) -> None:
    finish_two(search_store)
    search_store.sync_optuna()

    [summary] = fetched(dashboard)["study_summaries"]
    complete, pruned = fetched(f"{dashboard}/{summary['study_id']}")["trials"]

    assert summary["study_name"] == "find"
    assert (complete["state"], pruned["state"]) == ("Complete", "Pruned")
    assert {parameter["name"] for parameter in complete["params"]} == {"optimizer.lr", "model.widths"}
    assert [(point["step"], point["value"]) for point in pruned["intermediate_values"]] == [(3, 0.25)]


def fetched(address: str) -> Any:
    with urllib.request.urlopen(address, timeout=60) as answer:
        return json.load(answer)
