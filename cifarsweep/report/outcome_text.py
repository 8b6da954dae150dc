"""Puts into words how many runs fell out, and what that means for the numbers of a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from cifarsweep.analysis.outcomes import FallenOut
from cifarsweep.analysis.records import ReportStudy
from cifarsweep.analysis.results import CellResult
from cifarsweep.formatting import plural, value_text
from cifarsweep.spec.metrics import VAL_ACCURACY

#: More cells than this are counted instead of named.
_NAMED = 6


def fell_out_text(found: FallenOut) -> str:
    """`1 of 3 runs fell out (up to 86 % may)`, or that none trained."""
    if found.every:
        return "its only run fell out" if found.of == 1 else f"all {found.of} runs fell out"
    return f"{found.count} of {plural(found.of, 'run')} fell out ({_at_most(found)})"


def cells_fell_out_text(cells: Mapping[str, FallenOut]) -> str:
    """The same for several cells by name, those that do not train first; empty for none."""
    ranked = sorted(cells, key=lambda name: not cells[name].every)
    texts = [
        f"cell {name} does not train ({fell_out_text(cells[name])})"
        if cells[name].every
        else f"of {name}, {fell_out_text(cells[name])}"
        for name in ranked
    ]
    more = [f"and runs of {plural(len(texts) - _NAMED, 'more cell')}"] if len(texts) > _NAMED else []
    return "; ".join([*texts[:_NAMED], *more])


def fell_out_notes(report: ReportStudy, results: Sequence[CellResult]) -> Iterator[str]:
    """Say which runs fell out, what counts as that, and what is done about them."""
    found = {result.cell.name: result.fell_out for result in results if result.fell_out.of}
    some = {name: cell for name, cell in found.items() if cell.count}
    if some and report.study.program is not None:
        yield (
            "A run fell out if its program reported a value that is no finite number. Means, curves and verdicts are "
            "of the runs that trained; only a cell of which none did stands as it ended. "
            f"Here: {cells_fell_out_text(some)}."
        )
    elif some:
        yield (
            f"A run fell out if it diverged, or if its accuracy is no better than a guess{_guesses(report)}. Means, "
            "curves and verdicts are of the runs that trained; only a cell of which none did stands as it ended. "
            f"Here: {cells_fell_out_text(some)}."
        )
    if found and len(some) < len(found):
        fewest = min((cell for cell in found.values() if not cell.count), key=lambda cell: cell.of)
        where = "of the other cells " if some else ""
        leave = "leaves" if fewest.of == 1 else "leave"
        yield f"No run {where}fell out; {plural(fewest.of, 'run')} a cell {leave} open that {_at_most(fewest)}."
    if report.study.program is None:
        yield from _assumed(report)


def _at_most(found: FallenOut) -> str:
    return f"up to {100 * found.at_most:.0f} % may"


def _guesses(report: ReportStudy) -> str:
    """What a guess is right for, if that is the same for all trials."""
    guesses = {trial.guess for trial in report.trials if trial.done and trial.guess is not None}
    if len(guesses) != 1:
        return ""
    (guess,) = guesses
    if guess.images is None:
        return ""
    share = value_text(guess.share, VAL_ACCURACY)
    return f": {share} of the {guess.images:,} images, and up to 5 standard errors more"


def _assumed(report: ReportStudy) -> Iterator[str]:
    done = [trial for trial in report.trials if trial.done and not trial.pruned]
    equal = sum(trial.guess is not None and not trial.guess.recorded for trial in done)
    unknown = sum(trial.guess is None or trial.guess.images is None for trial in done)
    if equal:
        yield (
            f"{plural(equal, 'trial')} did not record how large the classes of their images are, as earlier "
            "versions did not: a guess is taken as 1 / classes."
        )
    if unknown:
        yield (
            f"Of {plural(unknown, 'trial')} it is not known on how many images accuracy was measured, or of how many "
            "classes: only those that diverged count as fallen out."
        )
