"""axe, the checker of the accessibility rules (https://github.com/dequelabs/axe-core), finds nothing on any page."""

from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from support.pages import EXAMPLES

from cifarsweep.analysis.comparison import compare
from cifarsweep.analysis.study import analyse
from cifarsweep.report.render import write_comparison, write_pages

pytestmark = pytest.mark.long

#: Each violated rule with the first elements that violate it. What plotly draws has no text but that of axes, whose
#: contrast test_browser_pages.py checks, and takes axe most of its time.
VIOLATIONS = """async () => (await axe.run({ exclude: [[".plot svg"]] }, { resultTypes: ["violations"] })).violations
  .map(({ id, help, nodes }) => [id, help, ...nodes.slice(0, 3).map(({ html }) => html.slice(0, 160))].join(" | "))"""
PAGES = ("index.html", "crossed+judged.html", *(f"{name}.html" for name in EXAMPLES))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages of all examples, their index, and two of them side by side."""
    root = tmp_path_factory.mktemp("pages")
    studies = {name: analyse(example()) for name, example in EXAMPLES.items()}
    write_pages(list(studies.values()), root)
    write_comparison(compare(studies["crossed"].report, studies["judged"].report), root)
    return root


@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_no_violation(show: Any, folder: Path, name: str) -> None:
    page = show(folder / name).page
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    page.evaluate(AXE_SCRIPT)

    assert {"wide": page.evaluate(VIOLATIONS)} == {"wide": []}
    page.set_viewport_size({"width": 360, "height": 740})
    page.emulate_media(color_scheme="dark")
    assert {"dark phone": page.evaluate(VIOLATIONS)} == {"dark phone": []}


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (360, "dark")])
def test_axe_finds_no_violation_in_what_a_reader_opened(show: Any, folder: Path, width: int, scheme: str) -> None:
    page = show(folder / "index.html", width, color_scheme=scheme).page
    page.goto(f"{folder.as_uri()}/judged.html#hide=skip:no&sort=table-2:5d&compare=3,16&at=trial-16")
    page.wait_for_selector("#compared-plot .trace")
    page.evaluate(AXE_SCRIPT)

    assert {"compared": page.evaluate(VIOLATIONS)} == {"compared": []}
    page.keyboard.press("Escape")
    page.wait_for_selector("#trial-16 .opens[aria-expanded=true]")
    assert {"opened": page.evaluate(VIOLATIONS)} == {"opened": []}
