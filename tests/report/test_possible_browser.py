"""The button beside the hypotheses copies them, from a file too."""

from pathlib import Path
from typing import Any

import pytest
from support.pages import EXAMPLES

from cifarsweep.analysis.study import analyse
from cifarsweep.report.possible_text import possible_view
from cifarsweep.report.render import write_pages

REFUSED = "void (navigator.clipboard.writeText = () => Promise.reject(new DOMException('no', 'NotAllowedError')))"


@pytest.mark.parametrize("refused", [False, True], ids=["clipboard", "no clipboard for pages"])
def test_the_button_copies_every_hypothesis(show: Any, tmp_path: Path, refused: bool) -> None:
    path = write_pages([analyse(EXAMPLES["crossed"]())], tmp_path)[0]
    opened = show(path, permissions=["clipboard-read", "clipboard-write"])
    page = opened.page
    if refused:
        page.evaluate(REFUSED)

    page.click(".possible summary")
    page.click(".possible button.copy")
    page.wait_for_selector(".possible button:text('Copied')")

    view = possible_view(EXAMPLES["crossed"]())
    assert view is not None and page.evaluate("navigator.clipboard.readText()").strip() == view["toml"].strip()
    assert opened.complaints == [] and all(url.startswith(("file:", "data:", "blob:")) for url in opened.requests)


def test_without_scripts_there_is_no_button_and_the_text_is_there(show: Any, tmp_path: Path) -> None:
    path = write_pages([analyse(EXAMPLES["crossed"]())], tmp_path)[0]

    page = show(path, java_script_enabled=False).page

    page.click(".possible summary")
    assert not page.is_visible(".possible button") and "[[hypotheses]]" in page.inner_text("#possible-toml")
