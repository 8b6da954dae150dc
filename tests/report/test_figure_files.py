"""Figures as files: what Chromium hands back becomes files with safe names, or one sentence that says why not."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.studies import WAITING

from cifarsweep.analysis.study import analyse
from cifarsweep.errors import NothingYet, OutputError
from cifarsweep.report.browser_print import VARIABLE
from cifarsweep.report.figure_files import Figure, Paper, _slug, drawn_figures, writable, write_figures

SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="317" height="200"><text>a</text></svg>'


@pytest.fixture
def browser_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], Path]:
    """Let a shell script be the browser, whose page ended with this answer; what it was asked is kept in a file."""

    def become(answer: Any) -> Path:
        text = json.dumps(answer).replace("<", "\\u003c")
        (tmp_path / "dom").write_text(f'<script type="application/json" id="figure-files">{text}</script>')
        program = tmp_path / "browser"
        program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\ncat {tmp_path}/dom\n')
        program.chmod(0o755)
        monkeypatch.setenv(VARIABLE, str(program))
        return tmp_path / "asked"

    return become


def file(*name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "title": "A <b>title</b>", "width": 317, "height": 200, "content": SVG, "unnamed": 0} | more


def test_files_have_the_names_of_their_figures_each_once(make: Any, browser_says: Any, tmp_path: Path) -> None:
    browser_says({"files": [file("curves", "val/accuracy"), file("curves", "val accuracy"), file("finals")]})

    figures = drawn_figures(analyse(make.finished(make.study())), Paper())
    paths = list(write_figures("tried", figures, tmp_path / "figures", Paper()))

    assert [path.name for path in paths] == [
        "tried-curves-val-accuracy.svg",
        "tried-curves-val-accuracy-2.svg",
        "tried-finals.svg",
    ]
    text = paths[0].read_text()
    assert text.startswith("<svg ") and 'width="84mm" height="53.00mm" viewBox="0 0 317 200"' in text
    assert "<title>A &lt;b&gt;title&lt;/b&gt;</title><text>a</text></svg>" in text


def test_the_page_is_asked_for_the_view_and_the_width(make: Any, browser_says: Any) -> None:
    asked = browser_says({"files": []})

    drawn_figures(analyse(make.finished(make.study())), Paper(width_mm=174.0, view="#colour=lr&y=val/loss"))

    assert "--window-size=658,1200" in asked.read_text() and asked.read_text().strip().endswith(
        "page.html#colour=lr&y=val/loss"
    )


def test_a_study_without_results_has_no_figure(make: Any, browser_says: Any) -> None:
    browser_says({"files": []})
    study = make.study(seeds=1)
    waiting = make.report(study, [make.trial(0, study.cells[0].name, 0, **WAITING)])

    with pytest.raises(NothingYet, match="study 'tried' has no figure yet: no trial has a result"):
        drawn_figures(analyse(waiting), Paper())


def test_a_script_that_failed_is_quoted(make: Any, browser_says: Any) -> None:
    browser_says({"error": "TypeError: no such plot\n at ..."})

    with pytest.raises(OutputError, match="the figures of study 'tried' can't be drawn: TypeError: no such plot$"):
        drawn_figures(analyse(make.finished(make.study())), Paper())


def test_a_folder_that_takes_no_files_is_said_before_drawing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(OutputError, match="file: the figures can't be written there: .*; give --figures another"):
        writable(tmp_path / "file")


def test_a_folder_that_is_not_there_is_not_made_by_looking(tmp_path: Path) -> None:
    writable(tmp_path / "a" / "b")

    assert list(tmp_path.iterdir()) == []


@given(st.text(max_size=60))
def test_every_name_is_safe_in_a_path(text: str) -> None:
    slug = _slug(text)

    assert set(slug) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") and len(slug) <= 40
    assert not slug.startswith("-") and not slug.endswith("-")


@pytest.mark.parametrize(
    ("does", "says"),
    [
        ("exit 1", "drew nothing and ended"),
        ("""printf '{"id": 1, "error": {"message": "no targets"}}\\0' >&4; cat <&3 >&2""", "drew nothing: no targets"),
    ],
)
def test_a_browser_that_prints_no_figure_is_said_and_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, does: str, says: str
) -> None:
    program = tmp_path / "browser"
    program.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/started\n{does}\n")
    program.chmod(0o755)
    monkeypatch.setenv(VARIABLE, str(program))
    figure = Figure("finals", "title", 317, 200, SVG)

    with pytest.raises(OutputError, match=says):
        list(write_figures("tried", [figure], tmp_path / "figures", Paper(form="pdf")))

    assert not (tmp_path / "figures").exists()
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "started").read_text()), 0)
