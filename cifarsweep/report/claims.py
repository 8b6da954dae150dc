"""The sentences that a study tests, in words, with the means of the cells they name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cifarsweep.analysis.results import CellResult, named_means
from cifarsweep.analysis.samples import sides
from cifarsweep.formatting import margin_text, mean_text, metric_label, target_text, visible
from cifarsweep.report.verdict_text import unlike_text
from cifarsweep.spec.hypothesis import Hypothesis
from cifarsweep.spec.metrics import is_loss
from cifarsweep.spec.study import Study, level_text


def hypothesis_view(hypothesis: Hypothesis, study: Study, results: Sequence[CellResult]) -> dict[str, Any]:
    """A sentence that the study tests, how, and the means of the cells that it names."""
    done = {result.cell.name for result in results if any(trial.done for trial in result.trials)}
    rows = [
        {
            "role": visible(named.role),
            "cell": visible(named.cell),
            "mean": mean_text(named.value, hypothesis.metric) if named.value else _no_mean(named.cell in done),
            "n": named.value.n if named.value else 0,
        }
        for named in named_means(hypothesis, study, results)
    ]
    unlike = unlike_text(hypothesis, sides(hypothesis, study))
    return {
        "claim": visible(hypothesis.claim),
        "test": visible(f"{condition(hypothesis)} Careful: {unlike}." if unlike else condition(hypothesis)),
        "metric": metric_label(hypothesis.metric),
        "rows": rows,
    }


def _no_mean(done: bool) -> str:
    return "no finite value" if done else "no trial is done"


def condition(hypothesis: Hypothesis) -> str:
    """What the numbers would have to show, in words."""
    metric = metric_label(hypothesis.metric).lower()
    less = is_loss(hypothesis.metric)
    worse = "above" if less else "below"
    match hypothesis.kind:
        case "greater":
            by = f" by more than {margin_text(hypothesis.margin, hypothesis.metric)}" if hypothesis.margin else ""
            return f"Holds if the mean {metric} of a is above that of b{by}."
        case "not_worse":
            margin = margin_text(hypothesis.margin, hypothesis.metric)
            return f"Holds if the mean {metric} of a is at most {margin} {worse} that of b."
        case "equivalent":
            margin = margin_text(hypothesis.margin, hypothesis.metric)
            return f"Holds if the mean {metric} of a and that of b differ by less than {margin} either way."
        case "at_chance":
            margin = margin_text(hypothesis.margin, hypothesis.metric)
            return f"Holds if the mean {metric} of a is within {margin} of guessing."
        case "reaches":
            target = target_text(hypothesis.target, hypothesis.metric)
            slack = f" or at most {margin_text(hypothesis.margin, hypothesis.metric)} {worse} it"
            bound = "at most" if less else "at least"
            return f"Holds if the mean {metric} of a is {bound} {target}{slack if hypothesis.margin else ''}."
        case "faster":
            axis = {"steps": "steps", "epoch": "epochs", "elapsed_s": "training time"}[hypothesis.by]
            target = target_text(hypothesis.target, hypothesis.metric)
            return f"Holds if a reaches a {metric} of {target} before b, counted in {axis}. Below: last values."
        case "best":
            level, top = level_text(hypothesis.level), "lowest" if less else "highest"
            return f"Holds if {hypothesis.factor} = {level} has the {top} mean {metric} of all its levels."
        case "trend":
            return (
                f"Holds if the mean {metric} is {hypothesis.direction} on average along the levels of "
                f"{hypothesis.factor} as listed."
            )
