"""Where a search goes next, and which trials it ends: functions of what was tried, and of nothing else."""

import math

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cifarsweep.search import should_prune, suggest
from cifarsweep.spec.search_space import Choices, Curve, PointResult, Range, Search

FIXED = {"dataset": "digits", "epochs": 1}
RATE = {"optimizer.lr": Range(low=1e-4, high=1.0, log=True)}
NUMBERS = RATE | {"batch_size": Range(low=16, high=64, step=16), "optimizer.momentum": Range(low=0, high=0.9)}
CHOICES = {"model.norm": Choices(choices=("batch", "layer")), "model.widths": Choices(choices=((8,), (8, 16)))}
SAMPLERS = {"random": NUMBERS | CHOICES, "tpe": NUMBERS | CHOICES, "cmaes": NUMBERS}


def searched(sampler: str, space=None, **more) -> Search:
    return Search(sampler=sampler, n_trials=100, space=space or SAMPLERS[sampler], fixed=FIXED, **more)


def value_of(params) -> float:
    """Best at a rate of 0.01."""
    return 1 / (1 + abs(math.log10(params.get("optimizer.lr", 1.0)) + 2))


def run(search: Search, count: int) -> list[PointResult]:
    tried: list[PointResult] = []
    for number in range(count):
        cell = suggest(search, number, tried)
        if cell is None:
            break
        tried.append(PointResult(cell.levels, "complete", value_of(cell.levels)))
    return tried


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_same_history_gets_the_same_point_and_another_number_or_seed_another(sampler: str):
    search = searched(sampler)
    tried = run(search, 12)

    point = suggest(search, 12, tried)

    assert suggest(search, 12, list(tried)) == point
    assert suggest(search, 13, tried) != point != suggest(searched(sampler, seed=1), 12, tried)


@pytest.mark.parametrize("sampler", ["tpe", "cmaes"])
def test_a_search_comes_closer_to_the_best_than_chance(sampler: str):
    near = lambda tried: sum(each.value > 0.7 for each in tried[-20:])  # noqa: E731

    assert near(run(searched(sampler, NUMBERS), 60)) > near(run(searched("random", NUMBERS), 60)) + 4


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_space_of_choices_is_gone_through_once_and_then_ends(sampler: str):
    tried = run(searched(sampler, CHOICES), 10)

    assert len(tried) == 4
    assert len({repr(each.params) for each in tried}) == 4


def test_points_that_the_settings_refuse_are_passed_over():
    space = {
        "model.widths": Choices(choices=((8,), (12,), (16,))),
        "model.norm": Choices(choices=("batch", "group")),
    }

    tried = run(searched("tpe", space), 10)

    assert len(tried) == 5, "widths of 12 are not divided by 8 groups"


states = st.sampled_from(["running", "complete", "pruned", "failed"])
history = st.lists(
    st.tuples(st.floats(1e-4, 1.0), st.sampled_from([16, 32, 48, 64]), states, st.floats(0, 1)), max_size=30
)


@pytest.mark.parametrize("sampler", SAMPLERS)
@settings(max_examples=15)
@given(history=history, seed=st.integers(0, 2**32 - 1))
def test_whatever_happened_the_next_point_is_new_and_inside(sampler: str, history, seed: int):
    search = searched(sampler, RATE | {"batch_size": NUMBERS["batch_size"]}, seed=seed)
    tried = [
        PointResult(
            {"optimizer.lr": rate, "batch_size": size}, state, value if state in ("complete", "pruned") else None, 7
        )
        for rate, size, state, value in history
    ]

    cell = suggest(search, len(tried), tried)

    assert cell is not None
    assert 1e-4 <= cell.settings.optimizer.lr <= 1.0 and cell.settings.batch_size in (16, 32, 48, 64)
    assert cell.levels not in [each.params for each in tried]
    assert float(f"{cell.settings.optimizer.lr:.6g}") == cell.settings.optimizer.lr


def test_points_under_way_are_kept_away_from():
    search = searched("tpe", RATE)
    tried = run(search, 15)
    asked = [suggest(search, 15, tried)]
    for _ in range(3):
        under_way = [PointResult(cell.levels, "running") for cell in asked if cell]
        asked.append(suggest(search, 15 + len(under_way), [*tried, *under_way]))

    assert len({cell.name for cell in asked if cell}) == 4


FULL = [Curve((0.2, 0.4, 0.6, 0.8), complete=True)] * 5


@pytest.mark.parametrize(
    ("values", "ends"),
    [((0.1,), False), ((0.1, 0.3), True), ((0.1, 0.5), False), ((0.5, 0.3), False), ((0.2, float("nan")), True)],
)
def test_the_median_ends_what_was_never_as_good_as_half_of_the_others(values: tuple[float, ...], ends: bool):
    assert should_prune("median", "s", 5, [*FULL, Curve(values)]) is ends


def test_nothing_is_ended_before_five_trials_are_done():
    assert not should_prune("median", "s", 4, [*FULL[:4], Curve((0.0, 0.0))])
    assert not should_prune("hyperband", "s", 1, [Curve((0.1, 0.2)), Curve((0.0,))])
    assert not should_prune("none", "s", 5, [*FULL, Curve((0.0, 0.0))])


def test_hyperband_decides_as_optuna_does_for_a_study_of_its_own():
    """The same values, reported to Optuna's study by study.optimize, one trial after the other."""
    ours: list[Curve] = [Curve(tuple((step + 1) / 27 for step in range(27)), complete=True)]

    def objective(trial: optuna.Trial) -> float:
        quality = (trial.number * 7 % 20) / 20
        values: list[float] = []
        for step in range(1, 28):
            values.append(step / 27 * quality if trial.number else step / 27)
            trial.report(values[-1], step)
            theirs = trial.should_prune()
            if trial.number and step < 27:
                expected = should_prune("hyperband", "s", trial.number, [*ours, Curve(tuple(values))])
                assert theirs is expected, (trial.number, step)
            if theirs and step < 27:
                ours.append(Curve(tuple(values)))
                raise optuna.TrialPruned
        if trial.number:
            ours.append(Curve(tuple(values), complete=True))
        return values[-1]

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        pruner = optuna.pruners.HyperbandPruner(1, 28, 3)
        study = optuna.create_study(study_name="s", direction="maximize", pruner=pruner)
        study.optimize(objective, n_trials=25)
    finally:
        optuna.logging.set_verbosity(before)

    assert sum(not curve.complete for curve in ours) > 5
