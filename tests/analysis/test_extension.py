"""Which seeds come next, at which looks, and what these looks promise."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats
from support.studies import ABOVE, CELLS, FAR, HIGH, LOW, MIDDLE, UNDECIDED

from cifarsweep.analysis.extension import next_seeds
from cifarsweep.analysis.samples import seed_order
from cifarsweep.analysis.verdicts import verdicts
from cifarsweep.spec.hypothesis import AtChance, Greater
from cifarsweep.stats.multiplicity import bound

MIDDLE_WORSE = Greater(kind="greater", claim="Low is above middle", a=LOW, b=MIDDLE, margin=0.1)


def test_only_cells_of_undecided_hypotheses_get_seeds(tried: Any) -> None:
    found = next_seeds(tried(UNDECIDED, ABOVE, MIDDLE_WORSE), most=12)

    assert [verdict.decision for verdict in found.verdicts] == ["undecided", "supported"]
    assert found.added == tuple((cell, seed) for seed in (3, 4, 5) for cell in (LOW, HIGH))
    assert found.plans == ((3,), (6, 12)) and found.unplanned


def test_nothing_is_looked_at_before_every_trial_is_final(tried: Any) -> None:
    found = next_seeds(tried(UNDECIDED | {LOW: [0.9, 0.91, None]}, ABOVE), most=12)

    assert (found.unfinished, found.added) == (1, ())
    assert found.plans == ((3, 6, 12),) and not found.unplanned, "so that a plan is in time"


TWICE = {LOW: [0.9, 0.91, 0.92] * 2, HIGH: [0.93, 0.9, 0.925] * 2}


def test_a_plan_may_grow_until_its_first_look(tried: Any) -> None:
    waiting = UNDECIDED | {LOW: [0.9, 0.91, None]}
    begun = {cell: [*values, None] for cell, values in UNDECIDED.items()}

    found = [next_seeds(tried(values, ABOVE, plans=((3, 6),)), most=12).plans for values in (waiting, begun)]

    assert found == [((3, 6, 12),), ((3, 6), (12,))]


def test_a_hypothesis_whose_cells_are_all_done_may_have_been_looked_at(tried: Any) -> None:
    found = next_seeds(tried(UNDECIDED | {MIDDLE: [0.5, 0.511, None]}, ABOVE, MIDDLE_WORSE), most=12)

    assert found.plans == ((3,), (6, 12)) and (found.unfinished, found.added) == (1, ())


def test_at_the_most_seeds_it_stays_undecided(tried: Any) -> None:
    found = next_seeds(tried(TWICE, ABOVE, plans=((3, 6),)), most=6)

    assert (found.added, len(found.stuck), found.plans) == ((), 1, ((3, 6),))


def test_seeds_that_nobody_planned_decide_nothing_before_the_next_look(tried: Any) -> None:
    plans = ((3, 6, 12),)
    at_three = tried(UNDECIDED, ABOVE, plans=plans)
    far_off = {LOW: [*UNDECIDED[LOW], *[0.1, 0.101, 0.1] * 2], HIGH: [*UNDECIDED[HIGH], *[0.99, 0.991, 0.99] * 2]}

    for seeds in (4, 5, 6, 8):
        (found,) = verdicts(tried({cell: values[:seeds] for cell, values in far_off.items()}, ABOVE, plans=plans))

        if seeds < 6:
            assert (found.seeds, found.p, found.decision) == (3, verdicts(at_three)[0].p, "undecided")
        else:
            assert found.seeds == 6 and not found.preliminary


def test_a_longer_plan_keeps_the_looks_that_were_taken(tried: Any) -> None:
    found = next_seeds(tried(TWICE, ABOVE, plans=((3, 6),)), most=12)

    assert found.plans == ((3, 6), (12,)) and len(found.added) == 12 and found.unplanned


def test_what_seeds_can_not_decide_gets_none(tried: Any) -> None:
    found = next_seeds(tried(FAR, AtChance(kind="at_chance", claim="c", a=LOW), classes={}), most=12)

    assert found.added == () and len(found.stuck) == 1


def test_new_seeds_follow_the_old_ones(make: Any) -> None:
    assert seed_order(make.study({}, seeds=1).model_copy(update={"seeds": (0, 7, 3)}), 5) == (0, 7, 3, 8, 9)


@pytest.mark.parametrize(
    ("plans", "after"), [(((3, 6, 12),), ((3, 6, 12),)), ((), ((3,), (6, 12)))], ids=["planned", "unplanned"]
)
def test_extending_until_decided_keeps_the_error_rate(tried: Any, make: Any, plans: Any, after: Any) -> None:
    """250 studies where nothing differs, each extended until all is decided or 12 seeds are used up.

    With a true rate of what is promised more than this go wrong once in a thousand such tests.
    """
    equal = Greater(kind="greater", claim="Middle is above low", a=MIDDLE, b=LOW)
    limit = stats.binom.ppf(0.999, 250, bound(after))
    rng = np.random.default_rng(5)
    wrong, most = 0, 0
    for _ in range(250):
        draws = {cell: rng.normal(0.9, 0.01, 12) for cell in CELLS}
        report = tried({cell: draws[cell][:3] for cell in CELLS}, ABOVE, equal, plans=plans)
        while (found := next_seeds(report, most=12)).added:
            new = [make.trial(0, cell, seed, final={"val/accuracy": draws[cell][seed]}) for cell, seed in found.added]
            report = replace(report, trials=(*report.trials, *new), plans=found.plans)
        wrong += any(verdict.decision != "undecided" for verdict in found.verdicts)
        most = max(most, len(report.trials))

    assert wrong <= limit and most == 36 and found.plans == after
