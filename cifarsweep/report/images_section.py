"""The section on single test images: how many all cells miss, which ones tell two cells apart, and pictures of them."""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from cifarsweep.analysis.images import Apart, ImageResults, image_results
from cifarsweep.analysis.records import ReportStudy
from cifarsweep.analysis.results import CellResult
from cifarsweep.analysis.verdicts import Verdict
from cifarsweep.data.pictures import read_pictures
from cifarsweep.formatting import keep_together, plural, signed_text
from cifarsweep.report.new_images_text import new_images_text
from cifarsweep.spec.metrics import VAL_ACCURACY

#: Pictures of each of the three groups.
_SHOWN = 8
#: Pixels a side of a page that a picture takes at most.
_SIDE = 64


def images_view(
    report: ReportStudy, results: Sequence[CellResult], verdicts: Sequence[Verdict] = ()
) -> dict[str, Any] | None:
    """The variables of `images.html`; None where no trial recorded which images it got right.

    How far the two best cells are apart is left to a verdict that says it.
    """
    found = image_results(report, results)
    if found is None:
        return None
    told = [{cell for side in verdict.sides for cell in side.cells} for verdict in verdicts if verdict.new_images]
    groups, shown = list(_groups(found)), None
    sha256 = re.fullmatch(rf"{re.escape(found.dataset)} sha256 ([0-9a-f]{{64}})", report.data_digest or "")
    if sha256:
        places = [place for _, listed in groups for place in sample(listed)]
        shown = read_pictures(found.dataset, sha256[1], places)
    known = {picture.place: picture for picture in shown or ()}
    return {
        "lead": keep_together(" ".join(_sentences(found, told))),
        "groups": [
            {
                "title": f"{title}: {plural(len(listed), 'image')}",
                "pictures": [
                    {
                        "png": base64.b64encode(known[place].png).decode(),
                        "label": known[place].label,
                        "place": place,
                        "side": _side(known[place].side),
                        "smooth": known[place].side > _SIDE,
                    }
                    for place in sample(listed)
                    if place in known
                ],
            }
            for title, listed in groups
        ],
        "without": None
        if shown is not None
        else f"The images of {found.dataset} that were trained on are not here, so no pictures are shown.",
    }


def _side(pixels: int) -> int:
    """Show each pixel of a small picture as a square of whole pixels of the page."""
    return pixels * (_SIDE // pixels) if pixels <= _SIDE else _SIDE


def _groups(found: ImageResults) -> Iterator[tuple[str, tuple[int, ...]]]:
    every = "every cell" if found.cells > 1 else "the cell"
    yield f"Missed by every run of {every}", found.missed
    if found.apart is not None:
        best, second = found.apart.best, found.apart.next
        yield f"Got by every run of {best}, by none of {second}", found.apart.only_best
        yield f"Got by every run of {second}, by none of {best}", found.apart.only_next


def sample(listed: Sequence[int]) -> list[int]:
    """Choose some at equal distances: test sets are often sorted by class."""
    shown = min(_SHOWN, len(listed))
    return [listed[index * len(listed) // shown] for index in range(shown)]


def _sentences(found: ImageResults, told: Collection[set[str]]) -> Iterator[str]:
    cells = "the cell" if found.cells == 1 else f"all {found.cells} cells that trained"
    if not found.complete:
        yield "Runs of earlier versions did not record which images they get: what follows is of the others."
        cells = "the cell" if found.cells == 1 else f"these {found.cells} cells"
    yield (
        f"Of the {found.images:,} test images, every run of {cells} gets {found.got:,}, and no run gets "
        f"{len(found.missed):,}."
    )
    if found.apart is not None and {found.apart.best, found.apart.next} not in told:
        yield _apart_text(found.apart)


def _apart_text(apart: Apart) -> str:
    apart_by = signed_text(apart.difference, apart.new_images.interval.half, VAL_ACCURACY)
    return f"The mean of {apart.best} is {apart_by} above that of {apart.next}; {new_images_text(apart.new_images)}."
