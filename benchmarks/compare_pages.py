"""Whether two checkouts tell the same of the same databases: rendered text, figure data, JSON, terminal, exports.

Both checkouts run with this Python, each on a copy of every database, so a change that must alter nothing a reader sees
can be held against the commit before it. Times of writing and commits are left out; pages are opened in Chromium.

    python benchmarks/compare_pages.py ../before . demo.db other.db
"""

from __future__ import annotations

import argparse
import difflib
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

#: What differs from one run to the next: the moment of writing, the commit, the folder of the copy.
_MASKS = (
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?( UTC)?"), "<moment>"),
    (re.compile(r"cifarsweep \S+, commit [0-9a-f]+(-dirty)?"), "cifarsweep <version>"),
    (re.compile(r"(?<=[\s/'\"])/\S*?/copy/"), "<folder>/"),
)
# What Plotly writes into its figures follows from their data, and comes when they are drawn.
_TEXT = """() => document.querySelectorAll(".js-plotly-plot").forEach((item) => item.replaceChildren()) ||
  document.body.innerText + "\\n" +
  [...document.querySelectorAll("details, [aria-label], [title]")].map(
    (item) => item.tagName + " " + (item.getAttribute("aria-label") ?? "") + " " + (item.getAttribute("title") ?? "")
  ).join("\\n")"""
_DATA = """() => [...document.querySelectorAll('script[type="application/json"]')].map((item) => item.textContent)"""
_SHAPES = """() => [...document.querySelectorAll("svg")].filter((item) => !item.closest(".js-plotly-plot"))
  .map((item) => item.outerHTML)"""


def main() -> int:
    """Print what differs, one line a difference; 1 where something does."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("databases", type=Path, nargs="+")
    wanted = parser.parse_args()
    different = 0
    for database in wanted.databases:
        before, after = (told(checkout.resolve(), database.resolve()) for checkout in (wanted.before, wanted.after))
        for part in sorted(before.keys() | after.keys()):
            lines = list(difference(before.get(part, ""), after.get(part, "")))
            different += bool(lines)
            answer = "DIFFERS" if lines else "equal"
            print(f"{database.name:12} {part:40} {answer:8} {len(before.get(part, '')):,} characters")
            print("".join(f"    {line}\n" for line in lines[:40]), end="")
    return 1 if different else 0


def told(checkout: Path, database: Path) -> dict[str, str]:
    """Everything that a checkout says of a database, by the name of the part."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "copy"
        root.mkdir()
        copy = root / database.name
        shutil.copyfile(database, copy)
        url = f"sqlite:///{copy}"
        studies = json.loads(run(checkout, "report", "--db", url, "--json"))
        names = [study["study"] if "study" in study else study["name"] for study in _listed(studies)]
        parts = {
            "json": json.dumps(studies, indent=1, sort_keys=True),
            "terminal": run(checkout, "report", "--db", url, "--out", str(root / "pages")),
            "status": run(checkout, "status", "--db", url),
        }
        for kind in ("csv", "jsonl"):
            file = root / f"metrics.{kind}"
            run(checkout, "export", names[0], "--db", url, "--format", kind, "--out", str(file))
            parts[kind] = file.read_text()
        for first, second in itertools.combinations(names, 2):
            parts[f"compare {first} {second}"] = run(
                checkout, "report", "--db", url, "--out", str(root / "pages"), "--compare", first, second
            )
        parts |= pages(root / "pages")
        return {name: masked(text, root) for name, text in parts.items()}


def _listed(studies: Any) -> list[Any]:
    return studies if isinstance(studies, list) else studies.get("studies", [studies])


def run(checkout: Path, *arguments: str) -> str:
    """Run the command of a checkout and return what it printed on both streams."""
    environment = os.environ | {"PYTHONPATH": str(checkout), "COLUMNS": "160", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "cifarsweep.cli", *arguments]
    done = subprocess.run(command, env=environment, cwd=checkout, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{checkout}: {' '.join(arguments)} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout + ("" if "--json" in arguments else done.stderr)


def pages(folder: Path) -> dict[str, str]:
    """Of every page: its text as rendered, the data of its figures, its small pictures."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    found = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        for path in sorted(folder.glob("*.html")):
            page.goto(path.as_uri())
            page.evaluate("() => document.querySelectorAll('details').forEach((item) => { item.open = true; })")
            found[f"{path.name} text"] = page.evaluate(_TEXT)
            found[f"{path.name} figures"] = "\n".join(map(_sorted_json, page.evaluate(_DATA)))
            found[f"{path.name} pictures"] = "\n".join(page.evaluate(_SHAPES))
        browser.close()
    return found


def _sorted_json(text: str) -> str:
    return json.dumps(json.loads(text), indent=1, sort_keys=True)


def masked(text: str, root: Path) -> str:
    """The text without what no two runs share."""
    text = text.replace(str(root), "<folder>")
    for pattern, instead in _MASKS:
        text = pattern.sub(instead, text)
    return text


def difference(before: str, after: str) -> Iterator[str]:
    """The lines that differ, as a unified diff without context."""
    if before != after:
        yield from difflib.unified_diff(before.splitlines(), after.splitlines(), "before", "after", lineterm="", n=0)


if __name__ == "__main__":
    sys.exit(main())
