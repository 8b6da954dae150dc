"""Writes the pages: one a study, an index, and one copy of plotly.js beside them or inside each."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from cifarsweep.errors import CifarsweepError
from cifarsweep.report.source import ReportStudy
from cifarsweep.report.view import index_row, study_view
from cifarsweep.report.wording import moment

if TYPE_CHECKING:
    from jinja2 import Environment

PLOTLY = "plotly.min.js"
INDEX = "index.html"
_TEMPLATES = Path(__file__).with_name("templates")


def write_pages(studies: Sequence[ReportStudy], out: Path, *, single_file: bool = False) -> list[Path]:
    """Write a page per study and the index into `out`, which is made where it is absent.

    With `single_file` every page holds plotly.js itself (5 MB) and can be mailed alone. A page replaces its older
    version in one step, so a reader never sees half of one. Returns the paths of the pages, the index last. Raises
    CifarsweepError where `out` can't be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        if not single_file:
            _write_once(out / PLOTLY, _plotly())
        paths = [out / page_name(report.study.name) for report in studies]
        for path, report in zip(paths, studies, strict=True):
            _write(path, render_study(report, single_file=single_file).encode())
        _write(out / INDEX, render_index(studies).encode())
    except OSError as error:
        raise CifarsweepError(
            f"{out}: the report can't be written there: {error.strerror}; choose another folder with --out"
        ) from error
    return [*paths, out / INDEX]


def page_name(study: str) -> str:
    """The file name of a study's page; `index` would take the place of the index."""
    return f"{study}.html" if f"{study}.html".lower() != INDEX else "_index.html"


def render_study(report: ReportStudy, *, single_file: bool = False) -> str:
    """A study's page as HTML."""
    plotly = _plotly().decode() if single_file else None
    script = _asset("report.js")
    # A page of its own needs no file; a page with plotly.js beside it may load scripts from its own place.
    sources = [_hash(script), _hash(plotly) if plotly is not None else "'self'"]
    return (
        _environment()
        .get_template("page.html")
        .render(
            study_view(report),
            policy=_policy(sources),
            style=_asset("report.css"),
            script=script,
            plotly=plotly,
            plotly_file=PLOTLY,
            index_file=INDEX,
        )
    )


def render_index(studies: Sequence[ReportStudy]) -> str:
    """The index as HTML: one line a study."""
    rows = [index_row(report) | {"page": page_name(report.study.name)} for report in studies]
    made_at = moment(max((report.made_at for report in studies), default=None))
    template = _environment().get_template("index.html")
    return template.render(rows=rows, made_at=made_at, policy=_policy([]), style=_asset("report.css"))


def _policy(script_sources: Sequence[str]) -> str:
    """A content security policy under which nothing leaves the browser.

    plotly.js sets styles on elements, hence the inline styles; its button that saves a picture goes through data: and
    blob: images, which are no requests.
    """
    scripts = " ".join(script_sources) or "'none'"
    return (
        f"default-src 'none'; script-src {scripts}; style-src 'unsafe-inline'; img-src data: blob:; "
        "connect-src 'none'; base-uri 'none'; form-action 'none'"
    )


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


@lru_cache(maxsize=1)
def _plotly() -> bytes:
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
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    return environment


def _asset(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def _write_once(path: Path, content: bytes) -> None:
    """Leave a file alone that is already right; plotly.js is large and rarely changes."""
    if not path.is_file() or path.stat().st_size != len(content) or path.read_bytes() != content:
        _write(path, content)


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
