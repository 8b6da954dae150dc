"""Optuna's own queues and tables: what one would use without ours."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import optuna
from crew import Crew, Tally, timed, together, twice

from cifarsweep.store.url import parse_url

optuna.logging.set_verbosity(optuna.logging.ERROR)


def optuna_storage(url: str) -> Any:
    if not url.startswith("journal:"):
        return optuna.storages.RDBStorage(parse_url(url).render_as_string(hide_password=False))
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return JournalStorage(JournalFileBackend(url.removeprefix("journal:")))


def _drain(url: str, enqueued: int, tally: Tally) -> None:
    """Ask, suggest and tell until what was enqueued is gone; what comes then is drawn from a far larger range."""
    sampler = optuna.samplers.RandomSampler()
    study = optuna.load_study(study_name="queue", storage=optuna_storage(url), sampler=sampler)
    with together(tally):
        while len(tally.errors) < 20:
            try:
                trial = study.ask()
                x = trial.suggest_float("x", 0.0, 1e9)
                if x >= enqueued:
                    break
                tally.claimed.append(int(x))
                study.tell(trial, 0.5)
            except Exception as error:  # noqa: BLE001 - whatever it raises is a figure here
                tally.errors.append(f"{type(error).__name__}: {error}"[:200])


def drain_queue(crew: Crew, url: str, trials: int, processes: int) -> tuple[float, int, int]:
    """Milliseconds from enqueue_trial through ask to tell, trials that two processes got, and errors."""
    study = optuna.create_study(storage=optuna_storage(url), study_name="queue")
    for place in range(trials):
        study.enqueue_trial({"x": float(place)})
    tallies, seconds = crew.work([partial(_drain, url, trials)] * processes)
    return 1e3 * seconds / trials, twice(tallies), sum(len(tally.errors) for tally in tallies)


def report_rate(url: str, count: int) -> float:
    """Rows a second through Trial.report."""
    trial = optuna.create_study(storage=optuna_storage(url), study_name="report").ask()
    ms: list[float] = []
    for step in range(count):
        timed(ms, partial(trial.report, 0.5, step))
    return 1e3 * count / sum(ms)
