"""Values of a study file as its writer wrote them: in the words of TOML, not of Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cifarsweep.spec.settings import NONE

#: Characters of a value that a message shows.
_LONGEST = 200


def shown(value: object, most: int = _LONGEST) -> str:
    """Return `true`, `[1, 2]`, `{ lr = 0.1 }`, `'text'`, and `'none'` for no value; `most` characters of it."""
    text = _shown(value)
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _shown(value: object) -> str:
    if value is None:
        return repr(NONE)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{_key(key)} = {_shown(inner)}" for key, inner in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return f"[{', '.join(map(_shown, value))}]"
    # Dates and times of TOML.
    return str(value) if hasattr(value, "isoformat") else repr(value)


def _key(key: object) -> str:
    text = str(key)
    return text if text.replace("_", "").replace("-", "").isalnum() and text.isascii() else f'"{text}"'
