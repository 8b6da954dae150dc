"""Writes the pages: one for each study, an index, and plotly.js beside them or inside each."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cifarsweep.analysis.comparison import Comparison
from cifarsweep.analysis.study import StudyAnalysis
from cifarsweep.errors import CifarsweepError, UnreadableStudy
from cifarsweep.files import write_atomically
from cifarsweep.formatting import timestamp
from cifarsweep.report.comparison_page import comparison_view
from cifarsweep.report.palette import colour_rules
from cifarsweep.report.study_page import study_view
from cifarsweep.report.summary import index_row
from cifarsweep.text import escape_controls, page_text, page_texts

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

PLOTLY = "plotly.min.js"
INDEX = "index.html"
#: Scripts of a study's page; each uses those before it.
_SCRIPTS = (
    "plot.js",
    "view.js",
    "fold.js",
    "looks.js",
    "panels.js",
    "chips.js",
    "curves.js",
    "figures.js",
    "effects.js",
    "search.js",
    "classes.js",
    "contents.js",
    "copy.js",
    "tables.js",
    "compared_curves.js",
    "compare.js",
    "report.js",
)
#: Styles of a study's page; other pages take the first alone.
_STYLES = (
    "report.css",
    "figures.css",
    "contents.css",
    "chips.css",
    "effects.css",
    "tables.css",
    "search.css",
    "compare.css",
    "fold.css",
)
_TEMPLATES = Path(__file__).with_name("templates")
#: Lets Chromium compile plotly.js while it reads the page, instead of function by function when a figure is drawn:
#: https://v8.dev/blog/explicit-compile-hints
_ALL_AT_ONCE = "//# allFunctionsCalledOnLoad"
#: The heading of a section of a page, with the id that leads there.
_HEADING = re.compile(r'<h2 id="([^"]+)">(.*?)</h2>', re.DOTALL)


def write_pages(
    studies: Sequence[StudyAnalysis], out: Path, *, single_file: bool = False, left_out: Sequence[UnreadableStudy] = ()
) -> list[Path]:
    """Write a page for each study and the index into the folder `out`, and return their paths, the index last.

    The index says why studies that were `left_out` can't be read. With `single_file` every page holds plotly.js itself
    (5 MB) and can be mailed alone. A page replaces its older version in one step, so a reader never sees half of one.
    Raises CifarsweepError if `out` can't be written.
    """
    with _folder(out):
        if not single_file:
            _write_once(out / PLOTLY, plotly_js())
        paths = [out / page_name(analysis.study.name) for analysis in studies]
        for path, analysis in zip(paths, studies, strict=True):
            write_atomically(path, render_study(analysis, single_file=single_file).encode())
        write_atomically(out / INDEX, render_index(studies, left_out=left_out).encode())
    return [*paths, out / INDEX]


def write_comparison(found: Comparison, out: Path) -> Path:
    """Write the page of a comparison, which needs no other file, and return its path. Raises CifarsweepError."""
    # Names of studies have no plus sign, so this replaces no page of a study.
    path = out / f"{found.a.study.name}+{found.b.study.name}.html"
    names = [found.a.study.name, found.b.study.name]
    # A study that is compared between two databases gets no link: the page beside may be of either.
    beside = {name: page_name(name) for name in names if (out / page_name(name)).is_file() and len(set(names)) > 1}
    html = _render("compare.html", comparison_view(found), beside=beside)
    with _folder(out):
        write_atomically(path, html.encode())
    return path


@contextmanager
def _folder(out: Path) -> Iterator[None]:
    """Make the folder. Raises CifarsweepError if it can't be written to."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise CifarsweepError(
            f"{out}: the report can't be written there: {error.strerror}; choose another folder with --out"
        ) from error


def page_name(study: str) -> str:
    """The file name of a study's page; a study called index must not replace the index."""
    return f"{study}.html" if f"{study}.html".lower() != INDEX else "_index.html"


def render_study(analysis: StudyAnalysis, *, single_file: bool = False, live: str | None = None) -> str:
    """A study's page as HTML. With `live`, the stamp of its contents, the dashboard's script keeps it fresh."""
    plotly = _plotly() if single_file else None
    script = _script()
    # A page with plotly.js beside it may load scripts from its own folder, a single file from nowhere.
    sources = [_hash(script), _hash(plotly) if plotly is not None else "'self'"]
    files: dict[str, Any] = {"plotly_file": PLOTLY, "index_file": INDEX, "plotly": plotly, "script": script}
    return _render("page.html", study_view(analysis), sources, live, **files)


def render_for_files(analysis: StudyAnalysis, paper: Mapping[str, Any], style: str) -> str:
    """A study's page whose script draws each figure for a file, as `files.js` describes, with plotly.js beside it.

    `paper` are its constants, `style` more rules.
    """
    constants = json.dumps(paper).replace("<", "\\u003c")  # a view may hold the end of a script
    script = _script("\n".join([f"const paper = {constants};", *map(_asset, ("asked.js", "flat.js", "files.js"))]))
    files: dict[str, Any] = {"plotly_file": PLOTLY, "index_file": INDEX, "plotly": None, "script": script}
    sources = [_hash(script), "'self'"]
    return _render("page.html", study_view(analysis), sources, None, style, **files)


def render_index(
    studies: Sequence[StudyAnalysis], *, live: str | None = None, left_out: Sequence[UnreadableStudy] = ()
) -> str:
    """The index as HTML, a line for each study; see `render_study` on `live` and `write_pages` on `left_out`."""
    unread = [unreadable_row(error.study, f"Can't be read: {error}", page=None) for error in left_out]
    return render_rows([*map(linked_row, studies), *unread], live=live)


def unreadable_row(name: str, sentence: str, *, page: str | None) -> dict[str, Any]:
    """The line of a study that can't be read, with the sentence that says why."""
    return {"name": name, "page": page, "unread": sentence}


def linked_row(analysis: StudyAnalysis) -> dict[str, Any]:
    """The line of a study in the index, with the page that it leads to."""
    page, made_at = page_name(analysis.study.name), analysis.report.made_at
    return index_row(analysis) | {"page": page, "made_at": made_at, "unread": None}


def render_rows(rows: Sequence[Mapping[str, Any]], *, live: str | None = None) -> str:
    """The index as HTML from its lines."""
    made_at = timestamp(max((row["made_at"] for row in rows if not row["unread"]), default=None))
    return _render("index.html", {"rows": rows, "made_at": made_at}, live=live)


def _render(
    template: str,
    view: Mapping[str, Any],
    sources: Sequence[str] = (),
    live: str | None = None,
    more_style: str = "",
    **more: Any,
) -> str:
    """Fill in a template; scripts of the page come from `sources` alone."""
    styles = _STYLES if template == "page.html" else _STYLES[:1]
    style = colour_rules() + "".join(map(_asset, styles)) + more_style
    policy = _policy(sources, live=live is not None)
    return _environment().get_template(template).render(view, policy=policy, live=live, style=style, **more)


def _policy(script_sources: Sequence[str], *, live: bool = False) -> str:
    """A content security policy: a page sends no request, a live page only requests to its own server.

    plotly.js needs inline styles, and its button that saves a picture needs data: and blob: images.
    """
    own = ["'self'"] if live else []
    scripts = " ".join(dict.fromkeys([*script_sources, *own])) or "'none'"
    styles, asked = " ".join([*own, "'unsafe-inline'"]), " ".join(own) or "'none'"
    return (
        f"default-src 'none'; script-src {scripts}; style-src {styles}; img-src data: blob:; "
        f"connect-src {asked}; base-uri 'none'; form-action 'none'"
    )


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


@lru_cache(maxsize=1)
def plotly_js() -> bytes:
    """The contents of plotly.js, for a file of its own."""
    return f"{_ALL_AT_ONCE}\n{_plotly()}".encode()


@lru_cache(maxsize=1)
def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


@lru_cache(maxsize=1)
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    environment.filters["verbatim"] = _verbatim
    environment.filters["headings"] = _headings
    environment.policies["json.dumps_function"] = _json
    return environment


def _finalize(value: Any) -> Any:
    """Escape what an expression of a template yields, but for HTML of ours."""
    return page_text(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def _verbatim(text: str) -> Markup:
    """Escape a text that readers may copy into a file: nothing is added to it."""
    from markupsafe import escape

    return escape(escape_controls(text))


def _headings(sections: Markup) -> list[tuple[str, Markup]]:
    """The id and the words of each heading within sections of a page, in their order."""
    return [(id_, type(sections)(words)) for id_, words in _HEADING.findall(sections)]


def _json(value: Any, **_: Any) -> str:
    return json.dumps(page_texts(value), separators=(",", ":"), allow_nan=False)


def _script(more: str = "") -> str:
    """The scripts that draw the figures, in one scope, and one more after them."""
    parts = "\n".join([*(_asset(name) for name in _SCRIPTS), more])
    return f'"use strict";\n(() => {{\n{parts}}})();\n'


def _asset(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def _write_once(path: Path, content: bytes) -> None:
    """Write a file unless it is there already; plotly.js is large and rarely changes."""
    if not path.is_file() or path.stat().st_size != len(content) or path.read_bytes() != content:
        write_atomically(path, content)
