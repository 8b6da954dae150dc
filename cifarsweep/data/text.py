"""Names that came from somebody else: which are accepted, and how they appear in a message."""

from __future__ import annotations

import unicodedata

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
