"""Which hypotheses of a study are one test: these count once when its verdicts are corrected for their number."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from cifarsweep.analysis.samples import Side, sides
from cifarsweep.spec.hypothesis import Hypothesis, moment_of
from cifarsweep.spec.study import Study


def key_of_test(hypothesis: Hypothesis, compared: Sequence[Side]) -> Hashable:
    """What is equal for hypotheses that are one test.

    Of two sides, `greater` without a margin, `best` and `trend` all ask which one is above. Else only hypotheses that
    say the same in other words are one test.
    """
    match hypothesis.kind:
        case "greater":
            asks_which = not hypothesis.margin
        case kind:
            asks_which = kind in ("best", "trend")
    if asks_which and len(compared) == 2 and compared[0].matched:
        return hypothesis.metric, moment_of(hypothesis), frozenset(side.cells for side in compared)
    return hypothesis.model_dump_json(exclude={"claim"})


def one_test(study: Study) -> list[tuple[Hypothesis, ...]]:
    """The groups of two or more hypotheses of a study that are one test, in its order."""
    groups: dict[Hashable, list[Hypothesis]] = {}
    for hypothesis in study.hypotheses:
        groups.setdefault(key_of_test(hypothesis, sides(hypothesis, study)), []).append(hypothesis)
    return [tuple(group) for group in groups.values() if len(group) > 1]
