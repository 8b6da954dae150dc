"""Pages as PDF and PNG, by the real Chromium; messages if it is absent or fails."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cifarsweep.analysis.study import analyse
from cifarsweep.errors import OutputError
from cifarsweep.report.browser_print import VARIABLE, WIDTH, find_chromium, write_pdf, write_png
from cifarsweep.report.render import write_pages

HERE = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
real = pytest.mark.skipif(HERE is None, reason="no Chromium on PATH: nothing is printed")


@pytest.fixture
def page(make: Any, tmp_path: Path) -> Path:
    path: Path = write_pages([analyse(make.finished(make.study()))], tmp_path)[0]
    return path


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let a shell script be the browser."""

    def become(script: str) -> None:
        program = tmp_path / "browser"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv(VARIABLE, str(program))

    return become


@real
@pytest.mark.long
def test_a_pdf_has_the_page_with_its_figures(page: Path) -> None:
    out = write_pdf(page)

    content = out.read_bytes()
    pages = len(re.findall(rb"/Type /Page\b", content))
    assert out.name == "tried.pdf" and content.startswith(b"%PDF-")
    assert 3 <= pages <= 12
    assert {path.name for path in page.parent.iterdir()} == {"tried.html", "tried.pdf", "index.html", "plotly.min.js"}


@real
@pytest.mark.long
def test_a_picture_has_the_whole_page_and_its_curves_and_no_more(page: Path) -> None:
    out, whole = write_png(page)

    with Image.open(out) as drawn:
        picture = drawn.convert("RGB")
        colours = {colour for _, colour in picture.getcolors(1 << 20)}
    assert whole and picture.width == WIDTH and 2000 < picture.height < 12_000
    assert len(picture.crop((0, picture.height - 30, WIDTH, picture.height)).getcolors()) == 1  # a margin of paper
    # The line of the first cell, as plotly drew it and as table 1 has it.
    assert (0x00, 0x72, 0xB2) in colours


def test_the_browser_gets_no_way_to_the_network(page: Path, fake: Any) -> None:
    fake(
        'echo "$@" > "$(dirname "$0")/asked"\n'
        'for each; do case $each in --print-to-pdf=*) echo x > "${each#*=}";; esac; done'
    )

    write_pdf(page)

    asked = (page.parent / "asked").read_text()
    assert "--host-resolver-rules=MAP * ~NOTFOUND" in asked and "--disable-background-networking" in asked
    assert asked.strip().endswith(page.as_uri())


def test_a_browser_that_fails_is_quoted_and_nothing_is_left(page: Path, fake: Any) -> None:
    fake("echo 'no usable sandbox!' >&2; exit 3")
    before = sorted(page.parent.iterdir())

    with pytest.raises(OutputError, match="drew nothing and ended with 3: no usable sandbox!"):
        write_png(page)

    assert sorted(page.parent.iterdir()) == before


def test_without_a_browser_the_error_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"none is on PATH: install it, or let \$CIFARSWEEP_CHROMIUM name one"):
        find_chromium({"PATH": str(tmp_path)})
    with pytest.raises(OutputError, match="'nowhere' is no program"):
        find_chromium({VARIABLE: "nowhere"})
