"""How large what people write may be: far more than anybody needs, and far less than what fills a machine."""

from __future__ import annotations

import re

from cifarsweep.errors import SpecError

#: More cells or trials than this are a mistake in the file rather than a plan.
MOST_TRIALS = 100_000
#: Bytes of a study file.
LARGEST_FILE = 1 << 20
#: Parts of a dotted key. The deepest setting has 3; Python's reader of TOML takes memory by the square of this number.
DEEPEST = 16

# Texts and comments of TOML, in which dots are no keys; then keys, bare or quoted, with their dots. A text that does
# not end is one, too: else every quotation mark in it would be looked at as the beginning of another.
_TEXTS = re.compile(
    r'"""(?:[^\\]|\\.)*?(?:"""|\\?\Z)|\'\'\'.*?(?:\'\'\'|\Z)|"(?:[^"\\\n]|\\.)*"?|\'[^\'\n]*\'?|#[^\n]*', re.S
)
_KEYS = re.compile(r"[^\s.=\[\],{}]+(?:[ \t]*\.[ \t]*[^\s.=\[\],{}]+)*")


def check_depth(text: str, where: str) -> None:
    """Raise SpecError for a key of too many parts in a text of TOML, before it is read."""
    for key in _KEYS.finditer(_TEXTS.sub("s", text)):
        if key[0].count(".") >= DEEPEST:
            raise SpecError(
                f"{where}: the key {key[0][:40]!r}... has more than {DEEPEST} parts, and no setting has so many"
            )


def check_size(trials: int, where: str) -> None:
    """Raise SpecError for more trials than a study may have."""
    if trials > MOST_TRIALS:
        raise SpecError(f"{where}: that is {trials:,} trials or more; a study has at most {MOST_TRIALS:,}")
