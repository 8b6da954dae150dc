"""The documents as pages: they ask no other machine for anything, and their search works from the disk."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from axe_playwright_python.base import AXE_SCRIPT

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages, built as `make docs` does."""
    place = tmp_path_factory.mktemp("docs") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(place)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=400)
    return place


class Requests(HTMLParser):
    """What a browser asks for to show a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        asked = given.get("src") or (given.get("href") if tag == "link" else None)
        if asked and not asked.startswith("data:"):
            self.found.append(asked)


def test_all_that_a_page_asks_for_lies_beside_it(site: Path):
    pages = sorted(site.rglob("*.html"))

    assert len(pages) > len([*(ROOT / "docs").rglob("*.md")])
    for page in pages:
        requests = Requests()
        requests.feed(page.read_text())
        lost = [one for one in requests.found if not (page.parent / one.partition("?")[0]).exists()]
        # The page of a wrong address is served from anywhere, so it names the site's root.
        assert lost == [] or (page.name == "404.html" and all(one.startswith("/") for one in lost)), page
    for sheet in site.rglob("*.css"):
        assert re.findall(r"url\((?:https?:)?//", sheet.read_text()) == [], sheet


def test_a_word_is_found_in_pages_that_are_opened_from_the_disk(site: Path, browser):
    page = browser.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))

    page.goto((site / "index.html").as_uri())
    page.click(".md-search__input")
    page.keyboard.type("poisoned")
    page.wait_for_selector(".md-search-result__item a[href*='glossary']")

    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:", "about:"))] == []
    page.close()


#: Pages of each kind: the start, steps, many tables, code with options, a table beside code, terms.
READ = (
    "index.html",
    "tutorial.html",
    "reference/settings.html",
    "reference/commands.html",
    "how-to/hand-in.html",
    "glossary.html",
)
#: Each violated rule with the first elements that violate it. The theme's own boxes for buttons beside code are
#: landmarks without names.
VIOLATIONS = """async () => (await axe.run({ exclude: [[".md-code__nav"]] }, { resultTypes: ["violations"] }))
  .violations
  .map(({ id, help, nodes }) => [id, help, ...nodes.slice(0, 3).map(({ html }) => html.slice(0, 160))].join(" | "))"""


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (360, "dark")])
def test_axe_finds_no_violation_in_the_documents(site: Path, browser, width: int, scheme: str):
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    found = {}
    for name in READ:
        page.goto((site / name).as_uri())
        page.evaluate(AXE_SCRIPT)
        found[name] = page.evaluate(VIOLATIONS)

    assert found == {name: [] for name in READ}
    page.close()
