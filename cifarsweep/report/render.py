"""Writes the pages: one a study, an index, and one copy of plotly.js beside them or inside each."""

from __future__ import annotations

import base64
import hashlib
import json
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
#: In the order in which they build on each other.
_SCRIPTS = ("plot.js", "curves.js", "figures.js", "classes.js", "report.js")
_TEMPLATES = Path(__file__).with_name("templates")


def write_pages(
    studies: Sequence[StudyAnalysis], out: Path, *, single_file: bool = False, left_out: Sequence[UnreadableStudy] = ()
) -> list[Path]:
    """Write a page per study and the index into `out`, which is made where it is absent.

    The index says of the studies that were `left_out` why they can't be read.

    With `single_file` every page holds plotly.js itself (5 MB) and can be mailed alone. A page replaces its older
    version in one step, so a reader never sees half of one. Returns the paths of the pages, the index last. Raises
    CifarsweepError where `out` can't be written.
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
    # No study's name has a plus sign, so that no study's page is replaced.
    path = out / f"{found.a.study.name}+{found.b.study.name}.html"
    template = _environment().get_template("compare.html")
    names = [found.a.study.name, found.b.study.name]
    # Of two databases the study that stands beside the page would be one of the two: which, nobody knows.
    beside = {name: page_name(name) for name in names if (out / page_name(name)).is_file() and len(set(names)) > 1}
    html = template.render(
        comparison_view(found), beside=beside, policy=_policy([]), live=None, style=_style("report.css")
    )
    with _folder(out):
        write_atomically(path, html.encode())
    return path


@contextmanager
def _folder(out: Path) -> Iterator[None]:
    """Make the folder, and say it in a sentence where nothing can be written there."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise CifarsweepError(
            f"{out}: the report can't be written there: {error.strerror}; choose another folder with --out"
        ) from error


def page_name(study: str) -> str:
    """The file name of a study's page; `index` would take the place of the index."""
    return f"{study}.html" if f"{study}.html".lower() != INDEX else "_index.html"


def render_study(analysis: StudyAnalysis, *, single_file: bool = False, live: str | None = None) -> str:
    """A study's page as HTML; with `live`, the stamp of what it shows, one that the dashboard's script keeps fresh."""
    plotly = plotly_js().decode() if single_file else None
    script = _script()
    # A page of its own needs no file; a page with plotly.js beside it may load scripts from its own place.
    sources = [_hash(script), _hash(plotly) if plotly is not None else "'self'"]
    return (
        _environment()
        .get_template("page.html")
        .render(
            study_view(analysis),
            policy=_policy(sources, live=live is not None),
            live=live,
            style=_style("report.css", "figures.css"),
            script=script,
            plotly=plotly,
            plotly_file=PLOTLY,
            index_file=INDEX,
        )
    )


def render_index(
    studies: Sequence[StudyAnalysis], *, live: str | None = None, left_out: Sequence[UnreadableStudy] = ()
) -> str:
    """The index as HTML: one line a study; `live` as for a study's page, `left_out` as for `write_pages`."""
    unread = [unread_row(error.study, f"Can't be read: {error}", page=None) for error in left_out]
    return render_rows([*map(listed, studies), *unread], live=live)


def unread_row(name: str, sentence: str, *, page: str | None) -> dict[str, Any]:
    """The line of a study of which there is nothing to say but that."""
    return {"name": name, "page": page, "unread": sentence}


def listed(analysis: StudyAnalysis) -> dict[str, Any]:
    """A study's line of the index, and where it leads."""
    page, made_at = page_name(analysis.study.name), analysis.report.made_at
    return index_row(analysis) | {"page": page, "made_at": made_at, "unread": None}


def render_rows(rows: Sequence[Mapping[str, Any]], *, live: str | None = None) -> str:
    """The index of these lines; of one that could not be read it says why, under `unread`."""
    made_at = timestamp(max((row["made_at"] for row in rows if not row["unread"]), default=None))
    template = _environment().get_template("index.html")
    policy = _policy([], live=live is not None)
    return template.render(rows=rows, made_at=made_at, policy=policy, live=live, style=_style("report.css"))


def _policy(script_sources: Sequence[str], *, live: bool = False) -> str:
    """A content security policy under which nothing leaves the browser, or of a live page its own server.

    plotly.js sets styles on elements, hence the inline styles; its button that saves a picture goes through data: and
    blob: images, which are no requests.
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
    """The library that draws the figures."""
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs()).encode()


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
    environment.policies["json.dumps_function"] = _json
    return environment


def _finalize(value: Any) -> Any:
    """Escape what an expression of a template yields, but for HTML of ours."""
    return page_text(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def _verbatim(text: str) -> Markup:
    """Escape a text that readers may copy into a file: nothing is added to it."""
    from markupsafe import escape

    return escape(escape_controls(text))


def _json(value: Any, **_: Any) -> str:
    return json.dumps(page_texts(value), separators=(",", ":"), allow_nan=False)


def _script() -> str:
    """What draws the figures: files of one kind each, in one scope of their own."""
    parts = "\n".join(_asset(name) for name in _SCRIPTS)
    return f'"use strict";\n(() => {{\n{parts}}})();\n'


def _style(*names: str) -> str:
    return colour_rules() + "".join(map(_asset, names))


def _asset(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def _write_once(path: Path, content: bytes) -> None:
    """Leave a file alone that is already right; plotly.js is large and rarely changes."""
    if not path.is_file() or path.stat().st_size != len(content) or path.read_bytes() != content:
        write_atomically(path, content)
