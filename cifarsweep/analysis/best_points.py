"""Makes a study of the best points of a search, to be judged by seeds that the search did not use.

The best of many trials is among the best because it is good and because it was lucky with its seed. Judged by the same
seeds again, it would keep that luck.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import count, islice

from cifarsweep.analysis.search import Point, SearchResult
from cifarsweep.errors import SpecError
from cifarsweep.formatting import metric_in_text, plural
from cifarsweep.spec.final import Final, default_final
from cifarsweep.spec.hypothesis import Greater
from cifarsweep.spec.metrics import is_loss
from cifarsweep.spec.study import Cell, Study, check_trial_count


def best_points_name(search: str, best: int) -> str:
    """The name of the study of the best points of a search, unless the user gives another."""
    return f"{search}-best-{best}"


def best_points_study(
    study: Study, found: SearchResult, cells: Mapping[str, Cell], *, best: int, seeds: int, name: str
) -> Study:
    """The study of the `best` points with that many `seeds`, or of as many points as there are.

    `cells` are those of all points, by name. Settings, program, code and metric are those of the search. The first
    point is tested against each of the others. Raises SpecError if no point is done.
    """
    chosen = found.candidates[:best]
    if not chosen:
        raise SpecError(_why_none(study.name, found))
    check_trial_count(len(chosen) * seeds, f"{name}: --best {best} --seeds {seeds}")
    arms = tuple(cells[point.cell].model_copy(update={"name": point.name}) for point in chosen)
    return Study(
        name=name,
        question=_question(study, len(chosen)),
        source=_source(study),
        cells=arms,
        seeds=other_seeds(study.seeds, seeds),
        hypotheses=tuple(_hypotheses(chosen, study.metric)),
        final=_final(study, arms),
        expected_sd=study.expected_sd,
        program=study.program,
        code=study.code,
    )


def _why_none(search: str, found: SearchResult) -> str:
    """Why no point can be the best one: none has ended, or how those that have ended did."""
    states = Counter(point.state for point in found.points)
    went_on = states.pop("open", 0)
    if not states:
        return f"{search}: none of its points has trained to its end yet, so that there is no best one"
    counts = [f"{number} {state}" for state, number in states.items()] + ([f"{went_on} open"] if went_on else [])
    return f"{search}: none of its points trained well enough ({', '.join(counts)}), so that there is no best one"


def other_seeds(used: Collection[int], wanted: int) -> tuple[int, ...]:
    """The lowest seeds that were not used."""
    return tuple(islice((seed for seed in count() if seed not in used), wanted))


def notes_on_best(study: Study, found: SearchResult, best: int) -> Iterator[str]:
    """Sentences on what the choice of the best points leaves open."""
    chosen, others = found.candidates[:best], found.candidates[best:]
    if len(chosen) < best:
        yield f"{plural(len(chosen), 'point')} of {study.name} trained to the end, and not {best}"
    if tied := [point.name for point in others if point.value == chosen[-1].value]:
        some = ", ".join(tied[:3]) + (f" and {len(tied) - 3} more" if len(tied) > 3 else "")
        yield f"{chosen[-1].name} is no better than {some}: the earlier one of equal points is taken"
    trained = sum(point.state != "open" for point in found.points)
    if trained < found.search.points:
        yield f"{study.name} has tried {trained} of its {found.search.points} points: better ones may come"
    used = f"seed {study.seeds[0]} is" if len(study.seeds) == 1 else f"the {len(study.seeds)} seeds of the search are"
    yield f"{used} left out: the search chose these points by it, so that they owe part of their place to luck"


def _question(study: Study, points: int) -> str:
    if points == 1:
        return f"How good is the best point of the search {study.name}, with seeds that the search did not use?"
    return (
        f"Which of the best {points} points of the search {study.name} is best, with seeds that the search did not use?"
    )


def _source(study: Study) -> str:
    how = f"The points of the search {study.name} with the best {metric_in_text(study.metric)}."
    return " ".join(filter(None, (how, study.source)))


def _hypotheses(chosen: Sequence[Point], metric: str) -> Iterator[Greater]:
    first, *others = chosen
    for other in others:
        above, below = (other, first) if is_loss(metric) else (first, other)
        claim = f"{first.name}, the best point of the search, is better than {other.name}"
        yield Greater(kind="greater", claim=claim, a=above.name, b=below.name, metric=metric)


def _final(study: Study, arms: Sequence[Cell]) -> Final:
    """As a file with these settings would have it, unless the search has its own."""
    if study.program is not None or study.final != Final():
        return study.final
    return default_final(arm.settings for arm in arms)
