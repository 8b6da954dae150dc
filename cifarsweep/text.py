"""Escapes foreign text: every character that hides, reorders or steers becomes a visible sign."""

from __future__ import annotations

import re
import sys
from typing import Any, TextIO, cast

#: Controls but for line feed and tab, line separators, halves of surrogate pairs, and invisible formats that change how
#: other characters look (https://www.unicode.org/reports/tr9/). The joiners of Persian, Indic scripts and emoji stay,
#: as do formats that are visible: the signs of Arabic numbers and of hieroglyphs.
_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e00ff\U000e01f0-\U000e0fff\ud800-\udfff]"
)
#: Letters that are read from right to left, and a passage of them: no other letter and no semicolon stands within.
_RTL = "\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff"
_PASSAGE = re.compile(rf"[{_RTL}](?:(?:[{_RTL}\d_]|[^\w;])*[{_RTL}])?")


def escape_controls(text: str) -> str:
    """Turn every control character into a visible sign; line feeds and tabs stay."""
    return text if text.isascii() and text.isprintable() else _CONTROLS.sub(_sign, text)


def _sign(match: re.Match[str]) -> str:
    code = ord(match[0])
    # Unicode has a block of pictures for the first control characters.
    return chr(0x2400 + code) if code < 0x20 else f"⟨U+{code:04X}⟩"


def one_line(text: str) -> str:
    """Escape a name within a line: line feeds and tabs become signs as well."""
    return escape_controls(text).replace("\n", "␊").replace("\t", "␉")


def page_text(text: str) -> str:
    """Escape a text for a page.

    Passages that are read from right to left are isolated, or the numbers beside them would change places.
    """
    if text.isascii() and text.isprintable():
        return text
    return _PASSAGE.sub("\N{FIRST STRONG ISOLATE}\\g<0>\N{POP DIRECTIONAL ISOLATE}", escape_controls(text))


def page_texts(value: Any) -> Any:
    """Escape every text of a value that becomes JSON for a page."""
    match value:
        case str():
            return page_text(value)
        case dict():
            return {key: page_texts(item) for key, item in value.items()}
        case list() | tuple():
            return [page_texts(item) for item in value]
    return value


class EscapedStream:
    """A text stream that escapes what is written, so that no text steers the terminal."""

    def __init__(self, stream: TextIO) -> None:
        #: For callers that escape their texts and steer the terminal on purpose.
        self.raw = stream

    @classmethod
    def of(cls, stream: TextIO) -> TextIO:
        """Wrap a stream, once."""
        return stream if isinstance(stream, cls) else cast("TextIO", cls(stream))

    def write(self, text: str) -> int:
        self.raw.write(escape_controls(text))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        if name == "buffer":
            # Bytes would not be escaped.
            raise AttributeError(name)
        return getattr(self.raw, name)


def raw_stream(stream: TextIO) -> TextIO:
    """The stream that an escaped one writes to."""
    return stream.raw if isinstance(stream, EscapedStream) else stream


def data_output() -> TextIO:
    """Standard output for data: escaped on a terminal, exact in a file or for another program."""
    return sys.stdout if sys.stdout.isatty() else raw_stream(sys.stdout)


#: Characters of a quoted name; a longer one is cut.
_LONGEST = 120


def is_plain(text: str) -> bool:
    """Return whether the text is one line that needs no escaping."""
    return text.isprintable() if text.isascii() else one_line(text) == text


def quoted(text: str) -> str:
    """Quote a name, escaped and cut, for a message."""
    cut = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
    return ascii(cut) if not is_plain(cut) else repr(cut)
