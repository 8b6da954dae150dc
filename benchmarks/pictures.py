"""Draws the pages of example studies, or of a database, as pictures: wide, narrow, on a phone, dark, and as print.

What a page looks like is judged by looking at it: this makes the pictures.

    python benchmarks/pictures.py OUT                     # of tests/support/pages.py
    python benchmarks/pictures.py OUT crossed sixty
    python benchmarks/pictures.py OUT --db sqlite:///cifarsweep.db lr-study
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from playwright.sync_api import sync_playwright

from cifarsweep.analysis.study import StudyAnalysis, analyse, load_study
from cifarsweep.report.render import write_pages

#: Width in pixels and colour scheme of each picture.
SCREENS = {"1440": (1440, "light"), "1024": (1024, "light"), "360": (360, "light"), "dark": (1440, "dark")}
HEIGHTS = {360: 740}
#: A long page makes a picture that nobody can read: it is cut into several of this height.
SLICE = 2400


def main() -> None:
    """Write the pages, then their pictures, and print the folder of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("names", nargs="*", help="examples, or studies of the database")
    parser.add_argument("--db", help="URL of a database")
    parser.add_argument("--fragment", default="", help="what stands behind # in the address")
    parser.add_argument("--screens", default=",".join([*SCREENS, "print"]), help="which pictures, with commas between")
    options = parser.parse_args()
    studies = stored(options.db, options.names) if options.db else examples(options.names)
    paths = write_pages(studies, options.out)
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for path in paths[:-1]:
            draw(browser, path, options.screens.split(","), options.fragment)
        browser.close()


def examples(names: list[str]) -> list[StudyAnalysis]:
    """The examples of those names, or all."""
    from support.pages import EXAMPLES

    return [analyse(EXAMPLES[name]()) for name in names or EXAMPLES]


def stored(url: str, names: list[str]) -> list[StudyAnalysis]:
    """The studies of a database with those names, or all."""
    from cifarsweep.store import Store

    with Store.open(url, read_only=True) as store:
        return [load_study(store, name) for name in names or [row.name for row in store.studies.all()]]


def draw(browser: Any, path: Path, screens: list[str], fragment: str) -> None:
    """Draw one page on each screen, in slices from the top."""
    for screen in screens:
        width, scheme = SCREENS.get(screen, (1280, "light"))
        context = browser.new_context(
            viewport={"width": width, "height": HEIGHTS.get(width, 900)}, color_scheme=scheme, has_touch=width == 360
        )
        page = context.new_page()
        page.goto(path.as_uri() + (f"#{fragment}" if fragment else ""))
        if screen == "print":
            page.pdf(path=path.with_suffix(".pdf"), prefer_css_page_size=True)
            print(path.with_suffix(".pdf"))
        else:
            scroll(page)
            height = page.evaluate("document.documentElement.scrollHeight")
            for nth, top in enumerate(range(0, height, SLICE)):
                picture = path.with_name(f"{path.stem}-{screen}-{nth + 1}.png")
                clip = {"x": 0, "y": top, "width": width, "height": min(SLICE, height - top)}
                page.screenshot(path=picture, full_page=True, clip=clip)
                print(picture)
        context.close()


def scroll(page: Any) -> None:
    """Come by every figure, so that those off the screen are drawn, and go back to the top."""
    page.evaluate("""async () => {
      for (let top = 0; top < document.documentElement.scrollHeight; top += 600) {
        scrollTo(0, top);
        await new Promise((done) => setTimeout(done, 60));
      }
      scrollTo(0, 0);
      await new Promise((done) => setTimeout(done, 300));
    }""")


if __name__ == "__main__":
    main()
