"""Text of others, made harmless: every character that hides, reorders or steers becomes a sign that is seen."""

from __future__ import annotations

import re
import sys
import unicodedata
from typing import Any, TextIO, cast

#: Controls but for line feed and tab, line separators, halves of surrogate pairs, and formats: characters that are not
#: seen but change how others are (https://www.unicode.org/reports/tr9/). The joiners of Persian, Indic scripts and
#: emoji stay, as do formats that are seen: the signs of Arabic numbers and of hieroglyphs.
_TRICKY = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff\ud800-\udfff]"
)
#: A passage that keeps its direction to itself, as pages have it.
ISOLATE, POP = "\N{FIRST STRONG ISOLATE}", "\N{POP DIRECTIONAL ISOLATE}"
ISOLATED = re.compile(rf"({ISOLATE}[^{ISOLATE}{POP}]*{POP})")


def verbatim(text: str) -> str:
    """The text with every tricky character as a sign; lines and tabs stay."""
    return text if text.isascii() and text.isprintable() else _TRICKY.sub(_sign, text)


def _sign(match: re.Match[str]) -> str:
    code = ord(match[0])
    # Unicode has a block of pictures for the first control characters.
    return chr(0x2400 + code) if code < 0x20 else f"⟨U+{code:04X}⟩"


def one_line(text: str) -> str:
    """As `printable`, for a name within a line: the end of a line and a tab are signs as well."""
    return printable(text).replace("\n", "␊").replace("\t", "␉")


def printable(text: str) -> str:
    """As `verbatim`; passages that were isolated for a page stay so."""
    return "".join(_unless_isolated(part) for part in ISOLATED.split(text)) if ISOLATE in text else verbatim(text)


def _unless_isolated(part: str) -> str:
    inner = part[1:-1]
    return part if ISOLATED.fullmatch(part) and verbatim(inner) == inner else verbatim(part)


class Visible:
    """A text stream through which nothing steers a terminal: what is written is made printable."""

    def __init__(self, stream: TextIO) -> None:
        #: Who makes texts printable itself, and steers the terminal on purpose, writes here.
        self.exact = stream

    @classmethod
    def of(cls, stream: TextIO) -> TextIO:
        """The stream made so, once."""
        return stream if isinstance(stream, cls) else cast("TextIO", cls(stream))

    def write(self, text: str) -> int:
        """Write a text; how long it was."""
        self.exact.write(printable(text))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        """Write one after the other."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        if name == "buffer":
            # Bytes would go past us.
            raise AttributeError(name)
        return getattr(self.exact, name)


def exact(stream: TextIO) -> TextIO:
    """The stream below a visible one."""
    return stream.exact if isinstance(stream, Visible) else stream


def data_output() -> TextIO:
    """Standard output for data, which must not change on their way to a file or another program."""
    return sys.stdout if sys.stdout.isatty() else exact(sys.stdout)


#: Control characters, lone surrogates (bytes that are not UTF-8) and line separators.
_HOSTILE = frozenset({"Cc", "Cs", "Zl", "Zp"})
#: Invisible, but part of ordinary spelling: the two joiners of Persian, Indic scripts and emoji.
_JOINERS = "\u200c\u200d"
#: Characters of a name that are shown.
_LONGEST = 120


def is_plain(text: str) -> bool:
    """Whether the text holds nothing that could break a terminal, a page or a file: no controls, no bidi overrides."""
    if text.isascii():  # nearly every name, and many times faster
        return text.isprintable()
    return not any(_is_hostile(character) for character in text)


def _is_hostile(character: str) -> bool:
    category = unicodedata.category(character)
    return category in _HOSTILE or (category == "Cf" and character not in _JOINERS)


def shown(text: str) -> str:
    """The text in quotes, escaped and cut, so that a hostile name does no harm where it is printed."""
    cut = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
    return ascii(cut) if not is_plain(cut) else repr(cut)
