"""The reference of settings: every key with its values, its default and what it does, read from the records."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType, NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from cifarsweep.errors import SpecError
from cifarsweep.spec.levels import level_text
from cifarsweep.spec.overrides import with_file_defaults
from cifarsweep.spec.own import CODE, OwnPart
from cifarsweep.spec.settings import Settings, nested_models
from cifarsweep.spec.validation import nearest

_WORDS = {int: "whole number", float: "number", str: "text", bool: "true or false"}
#: How a part is named that is none of a list.
_OWN, _TIMM = "FILE:NAME", "timm:NAME"
#: What a study file means where it does not say it; the records keep what earlier versions meant.
_OF_FILES: Mapping[str, object] = MappingProxyType(with_file_defaults({}, (), ()))


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting. `only_for` names the networks, or other parts, that have it; empty where all have."""

    key: str
    values: str
    default: str
    only_for: str
    text: str


def settings_reference(wanted: str | None = None) -> list[Setting]:
    """Return all settings, or the one of that key, or those of a table. Raises SpecError for an unknown key."""
    found = list(_of_table(Settings))
    if wanted is None:
        return found
    chosen = [one for one in found if one.key == wanted or one.key.startswith(f"{wanted}.")]
    if not chosen:
        known = list(dict.fromkeys(one.key for one in found))
        tables = sorted({key.rpartition(".")[0] for key in known} - {""})
        raise SpecError(
            f"there is no setting {wanted[:200]!r}.{nearest(wanted, [*known, *tables])} `cifarsweep settings` lists all"
        )
    return chosen


def _of_table(model: type[BaseModel], prefix: str = "", only_for: str = "") -> Iterator[Setting]:
    for name, field in model.model_fields.items():
        if name == CODE:
            continue  # `create` fills it in
        tables = nested_models(field.annotation)
        if not tables:
            yield _setting(f"{prefix}{name}", field, only_for, inspect.cleandoc(model.__doc__ or ""))
        for table in tables:
            # Several tables are families, told apart by their names.
            yield from _of_table(table, f"{prefix}{name}.", ", ".join(_names(table)) if len(tables) > 1 else "")


def _names(table: type[BaseModel]) -> list[str]:
    words = [str(word) for word in get_args(table.model_fields["name"].annotation)]
    return words or [_OWN if issubclass(table, OwnPart) else _TIMM]


def _setting(key: str, field: FieldInfo, only_for: str, of_table: str) -> Setting:
    text = inspect.cleandoc(field.description or "") or (of_table if key.endswith(".name") else "")
    default = "required" if field.is_required() else _default(_OF_FILES.get(key, field.default))
    return Setting(key, _values(field.annotation, field.metadata), default, only_for, " ".join(text.split()))


def _default(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(level_text, value)) or "empty"
    return str(value).lower() if isinstance(value, bool) else level_text(value)  # type: ignore[arg-type]


def _values(annotation: Any, metadata: Sequence[object] = ()) -> str:
    """Return what a setting may be, in words: `whole number, 1 to 256`."""
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        return _values(inner, [*metadata, *more])
    if get_origin(annotation) is Literal:
        return " | ".join(map(str, get_args(annotation)))
    if get_origin(annotation) in (Union, UnionType):
        parts = [part for part in get_args(annotation) if part is not NoneType]
        texts = [_values(part, metadata) for part in parts]
        return " | ".join([*texts, *(["none"] if NoneType in get_args(annotation) else [])])
    if get_origin(annotation) is tuple:
        each, *rest = get_args(annotation)
        count = "" if rest == [Ellipsis] else f"{1 + len(rest)} "
        return f"list of {count}{_values(each).replace('number', 'numbers').replace('text', 'texts')}"
    limits = _limits(metadata, whole=annotation is int)
    return _WORDS[annotation] + (f", {limits}" if limits else "")


def _limits(metadata: Sequence[object], *, whole: bool) -> str:
    """Return `1 to 256`, `above 0`, or nothing."""
    low, high = _ends(metadata, whole=whole)
    if low.startswith("at least ") and high.startswith("at most "):
        return f"{low.removeprefix('at least ')} to {high.removeprefix('at most ')}"
    return " and ".join(filter(None, (low, high)))


def _ends(metadata: Sequence[object], *, whole: bool) -> tuple[str, str]:
    low = high = ""
    for each in _flat(metadata):
        limit: Any = next((getattr(each, name) for name in ("ge", "gt", "le", "lt") if hasattr(each, name)), None)
        match each:
            case annotated_types.Ge():
                low = f"at least {_number(limit)}"
            case annotated_types.Gt():
                low = f"at least {_number(limit + 1)}" if whole else f"above {_number(limit)}"
            case annotated_types.Le():
                high = f"at most {_number(limit)}"
            case annotated_types.Lt():
                high = f"at most {_number(limit - 1)}" if whole else f"below {_number(limit)}"
    return low, high


def _flat(metadata: Sequence[object]) -> Iterator[Any]:
    for each in metadata:
        if isinstance(each, FieldInfo):
            yield from each.metadata
        else:
            yield each


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"
