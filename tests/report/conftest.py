"""A browser for pages, and studies to make them of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from support.studies import make, mixed, tried

__all__ = ["make", "mixed", "tried"]


@dataclass
class Opened:
    """A page, with everything that it asked for or complained of."""

    page: Any
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def x_data(self) -> list[float]:
        """The x values of the last curve that is drawn."""
        return list(self.page.evaluate("Array.from(document.getElementById('curves-plot').data.at(-1).x)"))


@pytest.fixture(scope="module")
def show(browser: Any) -> Iterator[Any]:
    """Open a file on a screen of that size."""
    contexts = []

    def opened(path: Path, width: int = 1280, height: int = 900, **options: Any) -> Opened:
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        found = Opened(context.new_page())
        found.page.on("request", lambda request: found.requests.append(request.url))
        found.page.on("pageerror", lambda error: found.complaints.append(str(error)))
        found.page.on("console", lambda message: found.complaints.append(message.text))
        found.page.goto(path.as_uri())
        return found

    yield opened
    for context in contexts:
        context.close()
