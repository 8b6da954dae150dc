"""Writes every figure of a study's page into a file of its own, drawn by the page's scripts in Chromium."""

from __future__ import annotations

import base64
import io
import json
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from html import escape, unescape
from pathlib import Path
from typing import Any, Literal

from cifarsweep.analysis.study import StudyAnalysis
from cifarsweep.errors import NothingYet, OutputError, SpecError
from cifarsweep.files import part, scratch, write_atomically
from cifarsweep.report.browser_print import read_dom
from cifarsweep.report.browser_printer import printer
from cifarsweep.report.render import PLOTLY, plotly_js, render_for_files
from cifarsweep.spec.validation import nearest

FigureFormat = Literal["svg", "pdf", "png"]
Face = Literal["serif", "sans"]

#: Widths in mm: of a column of two, and of a page (https://www.springer.com/gp/authors-editors, artwork guidelines).
WIDTHS: Mapping[str, float] = {"column": 84.0, "page": 174.0}
LEAST_MM, MOST_MM = 40.0, 400.0
_MM_PER_INCH, _PIXELS_PER_INCH, _POINTS_PER_INCH = 25.4, 96, 72
#: Size of the text, in points.
_TEXT_PT = 8
_FACES: Mapping[Face, str] = {
    "serif": "STIX Two Text, Latin Modern Roman, Times New Roman, Liberation Serif, Times, serif",
    "sans": "Helvetica Neue, Helvetica, Arial, Liberation Sans, sans-serif",
}
#: Cells in a legend: more leave no room for the curves.
LEGEND_MOST = 24
#: Marks and heights of rows, relative to those on a page.
_MARKS, _ROWS = 0.7, 0.75
_FOUND = re.compile(r'<script type="application/json" id="figure-files">(.*?)</script>', re.DOTALL)
_ROOT = re.compile(r"<svg\b[^>]*>")
#: Characters of a part of a file's name.
_LONGEST_PART = 40
#: Names that a message lists.
_MOST_LISTED = 20


@dataclass(frozen=True, slots=True)
class Paper:
    """What figures are drawn for. `view` is the fragment of the page's address, with which a page shows the same."""

    form: FigureFormat = "svg"
    face: Face = "sans"
    width_mm: float = WIDTHS["column"]
    view: str = ""

    @property
    def fragment(self) -> str:
        """The view without the sign that begins it in an address."""
        return self.view.removeprefix("#")

    @property
    def width(self) -> int:
        """In pixels."""
        return round(self.width_mm / _MM_PER_INCH * _PIXELS_PER_INCH)

    @property
    def font(self) -> float:
        """The size of texts in pixels."""
        return round(_TEXT_PT / _POINTS_PER_INCH * _PIXELS_PER_INCH, 2)


@dataclass(frozen=True, slots=True)
class Figure:
    """A drawn figure: SVG as text, or the bytes of a PNG."""

    name: str
    title: str
    width: int
    height: int
    """In pixels of 1/96 inch."""
    content: str | bytes
    unnamed: int = 0
    """Cells that are too many for a legend in it; 0 where it has one or needs none."""


def writable(out: Path) -> None:
    """Check that the folder of figures takes files or can be made, and make nothing. Raises OutputError."""
    there = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    with _said_of(out), part(there / "figure"):
        pass


def write_figures(study: str, figures: Sequence[Figure], out: Path, paper: Paper) -> Iterator[Path]:
    """Write each figure into a file STUDY-FIGURE of the folder `out` and yield its path. Raises OutputError."""
    with printer() if paper.form == "pdf" else nullcontext() as print_page:
        for figure in figures:
            path = out / f"{study}-{figure.name}.{paper.form}"
            content = _content(figure, paper, print_page)
            with _said_of(out):
                out.mkdir(parents=True, exist_ok=True)
                write_atomically(path, content)
            yield path


@contextmanager
def _said_of(out: Path) -> Iterator[None]:
    """Raise OutputError where the folder can't be written to."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{out}: the figures can't be written there: {error.strerror}; give --figures another folder"
        ) from error


def drawn_figures(analysis: StudyAnalysis, paper: Paper) -> list[Figure]:
    """Draw every figure of the study's page.

    Raises NothingYet if it has none yet, SpecError where the view names what the page does not have, or OutputError.
    """
    study = analysis.study.name
    html = render_for_files(analysis, _constants(paper), _style(paper))
    if 'id="no-plotly"' not in html:
        raise NothingYet(f"study {study!r} has no figure yet: no trial has a result; run `cifarsweep worker`")
    with scratch() as folder:
        (folder / PLOTLY).write_bytes(plotly_js())
        page = folder / "page.html"
        page.write_text(html, encoding="utf-8")
        dom = read_dom(page, max(paper.width, 360), paper.fragment and f"#{paper.fragment}")
    found = _FOUND.search(dom)
    answer: dict[str, Any] = json.loads(found[1]) if found else {"error": "it did not end in time"}
    if "unknown" in answer:
        raise SpecError(_unknown(study, **answer["unknown"]))
    if "error" in answer:
        raise OutputError(f"the figures of study {study!r} can't be drawn: {answer['error'].splitlines()[0]}")
    return _named(answer["files"])


def _unknown(study: str, key: str | None, text: str, known: list[str]) -> str:
    """Say which part of the view names nothing on the page, and what there is."""
    part = text if key is None else f"{key}={text}"
    more = f" and {len(known) - _MOST_LISTED} more" if len(known) > _MOST_LISTED else ""
    there = ", ".join(known[:_MOST_LISTED]) + more or "nothing"
    named = "no part of a view" if key is None else f"nothing on the page of study {study!r}"
    return f"--view: {part!r} names {named}.{nearest(text, known)} There is: {there}"


def _constants(paper: Paper) -> dict[str, Any]:
    """The constants of files.js."""
    chosen = {part.partition("=")[0] for part in paper.fragment.split("&") if "=" in part}
    picture = "png" if paper.form == "png" else "svg"
    sizes = {"width": paper.width, "font": paper.font, "marks": _MARKS, "rows": _ROWS, "legend": LEGEND_MOST}
    return {"format": picture, **sizes, "chosen": sorted(chosen), "view": paper.fragment}


def _style(paper: Paper) -> str:
    """Rules that give the page the width, the face and the size of the paper, and light colours on white."""
    # Small texts of a page are 13 of its 16 pixels high.
    root = paper.font * 16 / 13
    return f"""
:root:root {{
  --sans: {_FACES[paper.face]}; --serif: var(--sans); --figure-size: {paper.font};
  --paper: #ffffff; --panel: #ffffff; --ink: #000000; --soft: #333333;
  color-scheme: only light; font-size: {root:.2f}px;
}}
figure, .plot {{ width: {paper.width}px !important; max-width: none !important; }}
figure {{ margin: 0 !important; padding: 8px; }}
figure * {{ overflow: visible !important; }}
figcaption, .controls, figure details {{ display: none !important; }}
.crossing .scroll {{ flex: 1 !important; }}
table.heat {{ width: 100% !important; }}
.parallel {{ min-width: 0 !important; margin-bottom: 3.4rem !important; }}
/* In a column the names of two axes are wider than the room between them. */
.parallel .axis:nth-child(odd) b {{ top: calc(100% + 1.8rem) !important; }}
.axis-name {{ grid-column: 1 / -1; margin: 0 0 .6rem; font-size: .8125rem; line-height: 1.4; color: var(--ink); }}
.axis-name:last-child {{ margin: 0; text-align: center; }}
.effect-panels {{ gap: .8rem 1rem !important; margin: 0 !important; }}
"""


def _named(files: list[dict[str, Any]]) -> list[Figure]:
    """The figures, each with a name of its own that is safe in any file system."""
    names: dict[str, int] = {}
    figures = []
    for file in files:
        name = "-".join(filter(None, map(_slug, file["name"]))) or "figure"
        names[name] = names.get(name, 0) + 1
        name = name if names[name] == 1 else f"{name}-{names[name]}"
        content = file["content"]
        drawn = content if content.startswith("<svg") else base64.b64decode(content.rpartition(",")[2])
        size = round(file["width"]), round(file["height"])
        figures.append(Figure(name, file["title"], *size, drawn, file["unnamed"]))
    return figures


def _slug(text: str) -> str:
    """`val-accuracy` for `val/accuracy`: small letters, digits and hyphens."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain)[:_LONGEST_PART].strip("-")


def _content(figure: Figure, paper: Paper, print_page: Callable[[Path], bytes] | None) -> bytes:
    """The contents of the file."""
    if isinstance(figure.content, bytes):
        return _with_resolution(figure.content, paper)
    svg = _in_millimetres(figure, paper)
    return _pdf(svg, figure, paper, print_page) if print_page else svg.encode()


def _height_mm(figure: Figure, paper: Paper) -> float:
    return paper.width_mm * figure.height / figure.width


def _in_millimetres(figure: Figure, paper: Paper) -> str:
    """The SVG with its size on paper and its title."""
    assert isinstance(figure.content, str)
    size = f'width="{paper.width_mm:g}mm" height="{_height_mm(figure, paper):.2f}mm"'
    namespaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    root = f'<svg {namespaces} {size} viewBox="0 0 {figure.width} {figure.height}" role="img">'
    title = f"<title>{escape(unescape(figure.title))}</title>"
    return _ROOT.sub(lambda _: root + title, figure.content, count=1)


def _pdf(svg: str, figure: Figure, paper: Paper, print_page: Callable[[Path], bytes]) -> bytes:
    """A PDF of one page of the size of the figure, with its fonts embedded."""
    width, height = f"{paper.width_mm:g}mm", f"{_height_mm(figure, paper):.2f}mm"
    rules = f"@page {{ size: {width} {height}; margin: 0 }} html, body {{ margin: 0; height: 99%; overflow: hidden }}"
    head = f'<meta charset="utf-8"><title>{escape(figure.title)}</title><style>{rules} svg {{ display: block }}</style>'
    html = f"<!DOCTYPE html>{head}{svg}"
    with scratch() as folder:
        page = folder / "figure.html"
        page.write_text(html, encoding="utf-8")
        return print_page(page)


def _with_resolution(picture: bytes, paper: Paper) -> bytes:
    """The PNG, which says how many dots an inch has."""
    from PIL import Image

    out = io.BytesIO()
    with Image.open(io.BytesIO(picture)) as drawn:
        dots = drawn.width / (paper.width_mm / _MM_PER_INCH)
        drawn.convert("RGB").save(out, "PNG", dpi=(dots, dots))
    return out.getvalue()
