"""Search spaces and Optuna: which point to try next, whether to end a trial early, and which parameters matter.

All depend on their arguments alone. Each call builds an Optuna study in memory from our own rows, so that no worker
needs to remember anything, and no pickle is read from a database.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cifarsweep.errors import SpecError, install_command
from cifarsweep.spec.search_reader import point_cell
from cifarsweep.spec.search_space import Choices, Curve, PointResult, Pruner, Search
from cifarsweep.spec.study import Cell
from cifarsweep.spec.types import Value

Point = dict[str, Value]

#: Points of the sampler that may be known or refused before any other point will do; and how many of those.
_TRIES, _OTHERS = 20, 200
#: The largest space whose points are all tried.
_COUNTABLE = 10_000
#: Median: complete trials that it needs, and evaluations that no trial ends before.
_STARTUP, _WARMUP = 5, 2
#: Shuffles of the results that importance is held against.
SHUFFLES = 19
#: Hyperband: one of so many trials goes on beyond each rung (Li et al. 2018).
_REDUCTION = 3


def suggest(
    search: Search,
    number: int,
    tried: Sequence[PointResult],
    *,
    free: bool = False,
    less_is_better: bool = False,
    as_before: bool = False,
) -> Cell | None:
    """The cell of point `number`; None if no new point is left that the settings accept.

    `tried` are all earlier points in order. The same arguments give the same cell. `free` is for a program, whose
    parameters have any name; with `as_before` cells are named as earlier versions did.
    """
    if less_is_better:
        tried = [replace(one, value=None if one.value is None else -one.value) for one in tried]
    entropy = np.random.SeedSequence([search.seed, number])
    seed = int(entropy.generate_state(1)[0])
    known = {_key(each.params) for each in tried}
    for point in _candidates(search, seed, tried):
        if _key(point) not in known:
            # Refused points are not tried again either.
            known.add(_key(point))
            with contextlib.suppress(SpecError):
                return point_cell(search, point, "search", free=free, as_before=as_before)
    return None


def _key(point: Mapping[str, Value]) -> str:
    return repr([float(v) if isinstance(v, int) and not isinstance(v, bool) else v for _, v in sorted(point.items())])


def _candidates(search: Search, seed: int, tried: Sequence[PointResult]) -> Iterator[Point]:
    """Yield points of the sampler and then, if all are known or refused, any others."""
    points = _cmaes_points(search, seed, tried) if search.sampler == "cmaes" else _sampler_points(search, seed, tried)
    yield from points
    if search.size is not None and search.size <= _COUNTABLE:
        every = list(search.every_point())
        yield from (every[index] for index in np.random.default_rng(seed).permutation(len(every)))
    else:
        rest = search.model_copy(update={"sampler": "random"})
        yield from _sampler_points(rest, seed + 1, (), _OTHERS)


def _sampler_points(search: Search, seed: int, tried: Sequence[PointResult], tries: int = _TRIES) -> Iterator[Point]:
    with _quiet() as optuna:
        if search.sampler == "random":
            sampler = optuna.samplers.RandomSampler(seed=seed)
        else:
            # The constant liar keeps new points away from those under way, at other workers for example.
            sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)
        study = optuna.create_study(direction="maximize", sampler=sampler, pruner=optuna.pruners.NopPruner())
        distributions = {key: _distribution(optuna, search, key) for key in sorted(search.space)}
        study.add_trials(_frozen(optuna, search, distributions, each) for each in tried)
        for _ in range(tries):
            params = study.ask(distributions).params
            yield {key: _decoded(search, key, params[key]) for key in search.space}


def _distribution(optuna: Any, search: Search, key: str) -> Any:
    parameter = search.space[key]
    if isinstance(parameter, Choices):
        # By index, because Optuna has no lists and takes True and 1 for the same choice.
        return optuna.distributions.CategoricalDistribution(range(len(parameter.choices)))
    return parameter.distribution(optuna.distributions)


def _decoded(search: Search, key: str, value: Any) -> Value:
    parameter = search.space[key]
    return parameter.choices[value] if isinstance(parameter, Choices) else parameter.rounded(value)


def _encoded(search: Search, key: str, value: Any) -> int | float:
    parameter = search.space[key]
    if isinstance(parameter, Choices):
        keys = [_key({key: choice}) for choice in parameter.choices]
        return keys.index(_key({key: value}))
    return int(value) if parameter.whole else float(value)


def _frozen(optuna: Any, search: Search, distributions: Mapping[str, Any], tried: PointResult) -> Any:
    states = optuna.trial.TrialState
    state = {"complete": states.COMPLETE, "pruned": states.PRUNED, "running": states.RUNNING}.get(tried.state)
    return optuna.trial.create_trial(
        state=states.FAIL if state is None else state,
        params={key: _encoded(search, key, tried.params[key]) for key in distributions},
        distributions=dict(distributions),
        value=tried.value if tried.state == "complete" else None,
        intermediate_values={tried.step: tried.value} if tried.state == "pruned" else None,
    )


def _cmaes_points(search: Search, seed: int, tried: Sequence[PointResult]) -> Iterator[Point]:
    """CMA-ES (Hansen 2016) on the unit cube. Optuna's sampler pickles its state; ours gets all points again."""
    try:
        from cmaes import CMA
    except ModuleNotFoundError:
        raise SpecError(f"the sampler cmaes needs one more package: {install_command('search')}") from None
    keys = sorted(search.space)
    bounds = np.array([[0.0, 1.0]] * len(keys))
    optimizer = CMA(np.full(len(keys), 0.5), 1 / 6, bounds, seed=seed)
    done = [each for each in tried if each.value is not None and each.state in ("complete", "pruned")]
    many = optimizer.population_size
    for start in range(0, len(done) - many + 1, many):
        generation = done[start : start + many]
        optimizer.tell([(_unit(search, keys, each.params), -(each.value or 0.0)) for each in generation])
    optimizer.reseed_rng(seed)
    for _ in range(_TRIES):
        yield _from_unit(search, keys, optimizer.ask())


def _unit(search: Search, keys: Sequence[str], params: Mapping[str, Any]) -> NDArray[np.float64]:
    return np.array([_share(*_scale(search, key), params[key]) for key in keys])


def _share(low: float, high: float, log: bool, value: float) -> float:
    value = math.log(value) if log else value
    return (value - low) / (high - low)


def _from_unit(search: Search, keys: Sequence[str], shares: NDArray[np.float64]) -> Point:
    point: Point = {}
    for key, share in zip(keys, shares.tolist(), strict=True):
        low, high, log = _scale(search, key)
        value = low + share * (high - low)
        parameter = search.space[key]
        assert not isinstance(parameter, Choices)
        value = math.exp(value) if log else value
        if parameter.step:
            value = parameter.low + parameter.step * round((value - parameter.low) / parameter.step)
        point[key] = parameter.rounded(value)
    return {key: point[key] for key in search.space}


def _scale(search: Search, key: str) -> tuple[float, float, bool]:
    """Both ends, and whether they are logarithms."""
    parameter = search.space[key]
    assert not isinstance(parameter, Choices)
    low, high = float(parameter.low), float(parameter.high)
    return (math.log(low), math.log(high), True) if parameter.log else (low, high, False)


def should_prune(
    pruner: Pruner, study: str, number: int, curves: Sequence[Curve], *, less_is_better: bool = False
) -> bool:
    """Whether trial `number` should end at the last value of its curve. `curves` has those of all trials, by number.

    Trials are compared evaluation by evaluation, whatever number of steps lies between two. `study` is its name, by
    which Hyperband deals out its brackets.
    """
    if pruner == "none" or not any(curve.complete for curve in curves):
        return False
    if less_is_better:
        curves = [replace(curve, values=tuple(-value for value in curve.values)) for curve in curves]
    return (_behind_the_median if pruner == "median" else _stopped_at_a_rung)(study, number, curves)


def _behind_the_median(study: str, number: int, curves: Sequence[Curve]) -> bool:
    mine = curves[number].values
    rivals = [curve.values for curve in curves if curve.complete]
    if len(rivals) < _STARTUP or len(mine) < _WARMUP:
        return False
    with _quiet() as optuna:
        optuna_pruner = optuna.pruners.MedianPruner(_STARTUP, _WARMUP)
        memory = optuna.create_study(study_name=study, direction="maximize", pruner=optuna_pruner)
        now = len(mine)
        for values in rivals:
            seen = {now: values[now - 1]} if now <= len(values) else {}
            memory.add_trial(optuna.trial.create_trial(value=values[-1], intermediate_values=seen))
        asked = optuna.trial.create_trial(
            state=optuna.trial.TrialState.RUNNING, intermediate_values=dict(enumerate(mine, start=1))
        )
        return bool(optuna_pruner.prune(memory, asked))


def _stopped_at_a_rung(study: str, number: int, curves: Sequence[Curve]) -> bool:
    now, longest = len(curves[number].values), max(len(curve.values) for curve in curves if curve.complete)
    rungs = [_REDUCTION**power for power in range(20) if _REDUCTION**power <= now]
    if now not in rungs:
        return False
    with _quiet() as optuna:
        optuna_pruner = optuna.pruners.HyperbandPruner(1, longest + 1, _REDUCTION)
        memory = optuna.create_study(study_name=study, direction="maximize", pruner=optuna_pruner)
        trials = [memory.ask() for _ in curves]
        # Optuna records a trial's value at a rung when it is asked there: so ask for all trials, for ours last.
        for index in [*(index for index in range(len(curves)) if index != number), number]:
            for rung in rungs:
                if rung <= len(curves[index].values):
                    trials[index].report(curves[index].values[rung - 1], rung)
                    verdict = trials[index].should_prune()
    return bool(verdict)


@dataclass(frozen=True, slots=True)
class ParameterImportance:
    """How much a parameter sets the best points apart from all."""

    share: float
    """Of what all parameters do together; the same for all where they do nothing."""
    beyond_chance: bool
    """Whether it does so by more than any parameter does in `SHUFFLES` shuffles of the results.

    Where none matters, chance brings one beyond in 1 of 20 searches.
    """


def importances(
    search: Search, tried: Sequence[PointResult], best: int, *, less_is_better: bool = False
) -> dict[str, ParameterImportance]:
    """How much each parameter of the space sets the `best` points apart from all points that are complete.

    PED-ANOVA (Watanabe et al. 2023, https://arxiv.org/abs/2304.10255), Optuna's default: the Pearson divergence of the
    density of a parameter among the best points from that among all. It takes milliseconds where fANOVA takes minutes
    for 1,000 points, and asks what makes points good, where fANOVA mostly tells what makes bad ones bad. Its shares add
    up to 1 even where no parameter matters; so they are held against those of shuffled results. Nothing is drawn anew.

    Points with a value outside of the space, and without a finite one, don't count. Raises ValueError unless `best` is
    at least 1 and less than the number of those that count.
    """
    complete = [
        one
        for one in tried
        if one.state == "complete" and one.value is not None and math.isfinite(one.value) and search.holds(one.params)
    ]
    if not 1 <= best < len(complete):
        raise ValueError(f"best: must be from 1 to {len(complete) - 1}, not {best}")
    losses = np.array([one.value for one in complete], dtype=float) * (1 if less_is_better else -1)
    rng = np.random.default_rng(0)
    shuffled = [rng.permutation(losses) for _ in range(SHUFFLES)]
    found = _divergences(search, complete, best, [losses, *shuffled])
    # The greatest of all parameters corrects for their number (the max-T of Westfall and Young 1993).
    chance = found[1:].max()
    shares = found[0] / total if (total := found[0].sum()) else np.full(len(search.space), 1 / len(search.space))
    return {
        key: ParameterImportance(float(share), bool(divergence > chance))
        for key, share, divergence in zip(search.space, shares, found[0], strict=True)
    }


def _divergences(
    search: Search, points: Sequence[PointResult], best: int, losses: Sequence[NDArray[np.float64]]
) -> NDArray[np.float64]:
    """What PED-ANOVA finds for each parameter of the space (columns), for each array of losses of the points (rows)."""
    with _quiet() as optuna, warnings.catch_warnings():
        from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

        # It warns that it takes the least values as the best, which losses are.
        warnings.simplefilter("ignore", UserWarning)
        distributions = {key: _distribution(optuna, search, key) for key in search.space}
        study = optuna.create_study()
        study.add_trials(_frozen(optuna, search, distributions, one) for one in points)
        # Half a point less, so that rounding up gives this number whatever the last bit of the quotient is.
        evaluator = PedAnovaImportanceEvaluator(target_quantile=(best - 0.5) / len(points))
        rows = []
        for each in losses:
            values = each.tolist()
            found = get_param_importances(
                study,
                evaluator=evaluator,
                params=list(distributions),
                target=lambda trial, values=values: values[trial.number],  # type: ignore[misc]
                normalize=False,
            )
            rows.append([found[key] for key in search.space])
        return np.array(rows)


@contextlib.contextmanager
def _quiet() -> Iterator[Any]:
    """Yield Optuna with its messages turned off."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield optuna
    finally:
        optuna.logging.set_verbosity(before)
