"""Checks tables that come from a file against the records. Every mistake is one sentence with file, key and remedy."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from cifarsweep.errors import SpecError
from cifarsweep.spec.metrics import METRIC_LABELS, SINGLE
from cifarsweep.spec.own import CODE, OwnPart
from cifarsweep.spec.settings import Frozen, nested_models, setting_keys
from cifarsweep.spec.shown import shown

Table = dict[str, Any]

_SENTENCES = {
    "missing": "is missing",
    "greater_than": "must be greater than {gt}, not {value}",
    "greater_than_equal": "must be at least {ge}, not {value}",
    "less_than": "must be less than {lt}, not {value}",
    "less_than_equal": "must be at most {le}, not {value}",
    "finite_number": "must be a finite number, not {value}",
    "bool_type": "must be true or false, not {value}",
    "int_type": "must be a whole number, not {value}",
    "int_parsing": "must be a whole number, not {value}",
    "int_parsing_size": "must be a whole number with fewer digits, not {value}",
    "int_from_float": "must be a whole number, not {value}",
    "float_parsing": "must be a number, not {value}",
    "float_type": "must be a number, not {value}",
    "string_type": "must be a text in quotes, not {value}",
    "tuple_type": "must be a list, not {value}",
    "choice": "must be a name in quotes or a table of levels, not {value}",
    "dict_type": "must be a table, not {value}",
    "model_type": "must be a table of settings, not {value}",
    "model_attributes_type": "must be a table of settings, not {value}",
    "too_short": "must not be empty",
    "too_long": "has too many entries (at most {max_length})",
    "string_too_short": "must not be empty",
    "string_too_long": "is too long (at most {max_length} characters)",
}

#: Lists of tables in a study file, by what one of them is called.
_COUNTED = {"hypotheses": "hypothesis", "reported": "reported", "arms": "arm", "exclude": "exclude"}
#: Typer's words for an option that has a few values.
_CHOICES = re.compile(r"'.*' is not one of (.*)\.", re.DOTALL)
_PERCENT = re.compile(r"\s*([0-9.]+)\s*%\s*")
#: What pydantic appends to a path for each choice of a union of a text and a table.
_CHOICE = re.compile(r"constrained-|dict\[")
_LONGEST_WORD = 200
_LONGEST_VALUE = 80
#: Mistakes of one file that are listed.
_MOST_LISTED = 20
#: Errors of pydantic for a record of a newer version: unknown keys, words and tables.
_UNKNOWN = ("extra_forbidden", "literal_error", "union_tag_invalid", "union_tag_not_found", "string_pattern_mismatch")


def nearest(word: str, known: Iterable[str]) -> str:
    """Return ` Did you mean 'x'?`, or nothing if no known name is near."""
    known = list(known)
    # Comparing takes time by the product of the lengths, and a longer word is no typing error.
    if len(word) > _LONGEST_WORD:
        return ""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    close = close or difflib.get_close_matches(word.rsplit(".", 1)[-1], known, n=1, cutoff=0.6)
    return f" Did you mean {close[0]!r}?" if close else ""


def unknown_metric(metric: str, own: Iterable[str] = ()) -> str | None:
    """Say that trials have no such metric, with those that hypotheses and reported numbers may name; else None.

    `own` are metrics of the user's own.
    """
    known = list(dict.fromkeys([*METRIC_LABELS, *SINGLE, *own]))
    if metric in known:
        return None
    return f"metric: {metric[:_LONGEST_WORD]!r} is unknown.{nearest(metric, known)} Allowed: {', '.join(known)}."


def unknown(error: ValidationError) -> str | None:
    """Return the first key or word that the records do not know, with its value; None if they know all."""
    for detail in error.errors(include_url=False, include_context=False):
        # No version writes control characters: the record was edited.
        if detail["type"] in _UNKNOWN and not _has_controls(detail["input"]):
            return f"{'.'.join(map(str, detail['loc']))} = {_show(detail['input'])}"
    return None


def _has_controls(value: object) -> bool:
    return isinstance(value, str) and re.search(r"[\x00-\x1f\x7f-\x9f]", value) is not None


def explain(error: ValidationError, model: type[BaseModel], where: str) -> str:
    """Return the mistakes, each on a line that names `where` and the dotted key; at most twenty."""
    details = error.errors(include_url=False)
    # Pydantic counts only valid entries, and so calls a list of mistakes too short as well.
    wrong = {detail["loc"][:-1] for detail in details}
    listed = [detail for detail in details if not (detail["type"] == "too_short" and detail["loc"] in wrong)]
    listed = _without_choices(listed)
    sentences = [_sentence(detail, model, where) for detail in listed[:_MOST_LISTED]]
    if len(listed) > _MOST_LISTED:
        sentences.append(f"{where}: and {len(listed) - _MOST_LISTED:,} more mistakes")
    return "\n".join(sentences)


def _sentence(detail: Mapping[str, Any], model: type[BaseModel], where: str) -> str:
    path = [str(part) for part in detail["loc"]]
    kind, context = detail["type"], detail.get("ctx", {})
    key = _key(_without_tags(path, model))
    prefix = f"{where}: {key}: " if key else f"{where}: "
    if kind == "extra_forbidden":
        allowed = _keys_at(model, path[:-1])
        return f"{prefix}unknown key.{nearest(path[-1], allowed)} Allowed here: {', '.join(allowed)}."
    if kind == "literal_error":
        allowed = [word.strip().strip("'") for word in context["expected"].replace(" or ", ",").split(",")]
        near = nearest(str(detail["input"]), allowed)
        return f"{prefix}{_show(detail['input'])} is unknown.{near} Allowed: {', '.join(allowed)}."
    if kind == "union_tag_invalid":
        return _unknown_tag(prefix, path, model, context)
    if kind == "union_tag_not_found":
        return f"{prefix}kind is missing"
    if kind == "value_error":
        # A validator of ours says `key: reason`; the key belongs to the table that was validated.
        return f"{prefix if _is_entry(path) or not path else f'{prefix[:-2]}.'}{context['error']}"
    if kind == "string_pattern_mismatch":
        return (
            f"{prefix}{_show(detail['input'])} has characters that are not allowed here (pattern {context['pattern']})"
        )
    return f"{prefix}{value_sentence(detail)}{_as_share(detail) if kind == 'float_type' else ''}"


def value_sentence(detail: Mapping[str, Any]) -> str:
    """Return what a value must be and is not, of one of pydantic's errors: no sentence yet, for the key is left out."""
    value, context = detail.get("input"), detail.get("ctx", {})
    if detail["type"] == "value_error" and (choices := _CHOICES.fullmatch(str(context["error"]))):
        allowed = re.findall("'([^']*)'", choices[1])
        return f"{_show(value)} is unknown.{nearest(str(value), allowed)} Allowed: {', '.join(allowed)}"
    sentence = _SENTENCES.get(detail["type"])
    return sentence.format(value=_show(value), **context) if sentence else detail["msg"]


def _as_share(detail: Mapping[str, Any]) -> str:
    """Tell how a per cent is written; nothing for any other value."""
    found = _PERCENT.fullmatch(detail["input"]) if isinstance(detail["input"], str) else None
    try:
        return f"; {found[1]} % is {float(found[1]) / 100:.10g}" if found else ""
    except ValueError:
        return ""


def _is_entry(path: Sequence[str]) -> bool:
    """Whether a path ends at one of a list of tables of the file."""
    return len(path) == 2 and path[0] in _COUNTED and path[1].isdecimal()


def _key(path: Sequence[str]) -> str:
    """Return a dotted key; one of a list of tables is counted from 1, as in `reported 1: runs`."""
    if not _is_entry(path[:2]):
        return ".".join(path)
    entry = f"{_COUNTED[path[0]]} {int(path[1]) + 1}"
    return ": ".join([entry, *filter(None, [".".join(path[2:])])])


def _without_choices(details: Sequence[Any]) -> list[Any]:
    """Return one mistake for a value that may be a text or a table, in place of one for each choice."""
    kept: dict[tuple[Any, ...], Any] = {}
    for detail in details:
        at = next((index for index, part in enumerate(detail["loc"]) if _CHOICE.match(str(part))), None)
        place, empty = detail["loc"][:at], detail["type"] in ("too_short", "string_too_short")
        if at is None:
            kept[place, detail["type"]] = detail
        elif place not in kept or empty:
            kept[place] = {**detail, "loc": place, "type": detail["type"] if empty else "choice"}
    return list(kept.values())


def _unknown_tag(prefix: str, path: Sequence[str], model: type[BaseModel], context: Mapping[str, Any]) -> str:
    """Describe an unknown tag: the `kind` of the tables of a union or, if they have none, the `name`."""
    families = nested_models(model.model_fields[path[0]].annotation)
    allowed = [word for table in families for word in _tag_words(table)]
    return f"{prefix}{context['tag']!r} is unknown.{nearest(context['tag'], allowed)} Allowed: {', '.join(allowed)}."


def _tag_words(table: type[BaseModel]) -> list[str]:
    field = table.model_fields.get("kind") or table.model_fields["name"]
    own = "FILE:NAME" if issubclass(table, OwnPart) else "timm:NAME"
    return [str(word) for word in get_args(field.annotation)] or [own]


def _without_tags(path: Sequence[str], model: type[BaseModel]) -> list[str]:
    """Return the path without the tags that pydantic puts between two keys for a member of a union."""
    tags = {_tag(table) for field in model.model_fields.values() for table in nested_models(field.annotation)}
    return [part for index, part in enumerate(path) if not (index and part in tags)]


def _show(value: object) -> str:
    return shown(value, _LONGEST_VALUE)


def _keys_at(model: type[BaseModel], path: Sequence[str]) -> list[str]:
    """Return the keys of the table at `path`; numbers of lists and tags of unions are skipped."""
    tables = [model]
    for part in path:
        inner = [
            t
            for table in tables
            if part in table.model_fields
            for t in nested_models(table.model_fields[part].annotation)
        ]
        tables = inner or [table for table in tables if _tag(table) == part] or tables
    return list(tables[0].model_fields)


def _tag(table: type[BaseModel]) -> str:
    kind = table.model_fields.get("kind")
    return str(get_args(kind.annotation)[0]) if kind is not None else table.__name__.lower()


M = TypeVar("M", bound=Frozen)


def validated(model: type[M], contents: Table, where: str) -> M:
    """Return the table as a record. Raises SpecError with a sentence for every mistake."""
    # Through JSON, in which pydantic's strict mode accepts a list for a tuple.
    try:
        text = json.dumps(contents, default=_as_json)
    except (TypeError, ValueError) as error:
        raise SpecError(f"{where}: {error}") from None
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        raise SpecError(explain(error, model, where)) from None


def _as_json(value: object) -> object:
    if isinstance(value, Frozen):
        return value.model_dump(mode="json")
    raise TypeError(f"{value} is a {type(value).__name__}; settings are numbers, texts, true, false and lists of them")


def check_keys(keys: Iterable[str], where: str, own: Collection[str] = ()) -> None:
    """Raise SpecError, with the nearest name, for an unknown key.

    In the tables `own` there are parts of the user's own, whose keyword arguments are checked with their code.
    """
    known = setting_keys()
    for key in keys:
        if key.rpartition(".")[2] == CODE or (key not in known and key.rpartition(".")[0] not in own):
            table = key.rsplit(".", 1)[0] + "."
            here = [name for name in known if name.startswith(table)] or known
            raise SpecError(f"{where}: {key[:200]}: unknown key.{nearest(key, known)} Allowed here: {', '.join(here)}.")


def nested(flat: Table, where: str) -> Table:
    """Undo `flatten`. Raises SpecError if a key is a table and a value at once."""
    tree: Table = {}
    for dotted, value in flat.items():
        *parents, leaf = dotted.split(".")
        table = tree
        for parent in parents:
            table = table.setdefault(parent, {})
            if not isinstance(table, dict):
                raise SpecError(f"{where}: settings: {dotted}: {parent!r} is a value, not a table")
        table[leaf] = value
    return tree
