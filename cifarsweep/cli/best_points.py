"""`create --from`: the study of the best points of a search."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cifarsweep.cli.db import report_upgrade

if TYPE_CHECKING:
    from cifarsweep.spec.study import Study

#: How many points, and how many seeds of each, unless the user says so.
_BEST, _SEEDS = 5, 5


def best_points_of(
    db: str, search: str, best: int | None, seeds: int | None, name: str | None, *, upgrade: bool
) -> tuple[Study, list[str]]:
    """Make a study of the best points of a search, and return it with notes. Their settings have trained already.

    With `upgrade`, a database of an older version is brought up to date.
    """
    from cifarsweep.analysis.best_points import best_points_name, best_points_study, notes_on_best
    from cifarsweep.analysis.collect import point_cells, read_trials
    from cifarsweep.analysis.search import search_result
    from cifarsweep.errors import SpecError
    from cifarsweep.formatting import labels_of
    from cifarsweep.spec.reader import check_name
    from cifarsweep.store import Store

    best, seeds = _BEST if best is None else best, _SEEDS if seeds is None else seeds
    name = check_name(best_points_name(search, best) if name is None else name, "--as")
    with Store.open(db, upgrade=upgrade, create=False, read_only=not upgrade) as store:
        report_upgrade(store)
        report, cells = read_trials(store, search), point_cells(store, search)
    found = search_result(report)
    if found is None:
        raise SpecError(
            f"study {search!r} has no search: --from takes one that has; a study that compares has its arms"
        )
    with labels_of(report.study):
        spec = best_points_study(report.written or report.study, found, cells, best=best, seeds=seeds, name=name)
        return spec, list(notes_on_best(report.study, found, best))
