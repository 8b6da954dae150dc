"""Rich's console, with all texts escaped: no name steers the terminal, by control characters or as markup."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from cifarsweep.text import escape_controls, raw_stream


class Screen(Console):
    """Escapes texts before it lays them out, so that columns stay straight, and the rest when it prints.

    It writes below the visible streams, since it moves the cursor on purpose.
    """

    def __init__(self, *, stderr: bool = False, width: int | None = None) -> None:
        stream = sys.stderr if stderr else sys.stdout
        file = None if stream is None else raw_stream(stream)
        super().__init__(file=file, stderr=stderr, width=width, markup=False, emoji=False, highlight=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """As Rich does, with the text escaped."""
        return super().render_str(escape_controls(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As Rich does, with every text escaped, also where a renderable holds its own."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else escape_controls(text), style, control)
