"""Takes out of a study what tells who ran it, and where: hosts, paths, users, addresses and commits.

It replaces them in the records that every page, table, figure and JSON is made from, so that no sentence has to. Equal
ones get equal names, `host-1` or `path-2`, so that what ran together still stands together. What people
noted is left out, as they may have written anything there.
"""

from __future__ import annotations

import getpass
import operator
import re
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from functools import lru_cache
from pathlib import PurePath, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import BaseModel

from cifarsweep.analysis.records import ReportStudy
from cifarsweep.data.catalog import BUILT_IN
from cifarsweep.spec.code import module_name
from cifarsweep.spec.metrics import METRIC_LABELS
from cifarsweep.spec.provenance import PROGRAM_GIT
from cifarsweep.spec.study import Study

if TYPE_CHECKING:
    from cifarsweep.store.trial_records import AttemptRow

_Write = Callable[[str], str]

LEFT_OUT = "left out"
#: Fields whose text a machine wrote or reads: any word in them with a slash is a path, any number of a host its name.
_OF_MACHINES = frozenset({"error", "traceback", "command"})
#: Shorter words, and these, are not replaced in a text because a user or a host is called so.
_SHORTEST_WORD = 3
_COMMON = frozenset(
    {"root", "user", "users", "home", "data", "test", "admin", "localhost", "work", "host", "local", "path", "file"}
    | {"worker", "address"}
)

#: What stands in front of a path: not a word, a colon, a slash or the end of a tag.
_BEFORE = r"(?<![\w.:/<~-])"
_SIGNS = r"[^\s\"'<>|;,:()\[\]{}]"
_QUOTED = re.compile(r"""(["'])(?=~|\.{0,2}/[^\s/]|[A-Za-z]:[\\/]|\\\\)[^"'\n]+\1""")
_PATH = re.compile(
    rf"{_BEFORE}(?:~[\w.-]*|\.{{1,2}})?/[\w.@%+~-]{_SIGNS}*"  # /home/me, ~/x, ../x
    rf"|\b[A-Za-z]:[\\/]{_SIGNS}+|\\\\[\w.-]+\\{_SIGNS}+"  # C:\Users\me, \\server\share
    rf"|{_BEFORE}\b[\w.-]+(?:/[\w.-]+){{3,}}|{_BEFORE}\b[\w-][\w.-]*(?:/[\w.-]+)*/[\w-]+\.[A-Za-z]\w{{0,4}}\b"
)
_WITH_SLASH = re.compile(rf"{_SIGNS}*[^\s\"'<>|;,:()\[\]{{}}=/][/\\]{_SIGNS}+")
#: Addresses but those of web pages, which studies cite; in what machines wrote, those too.
_ADDRESS = re.compile(r"\b(?!https?:)[A-Za-z][A-Za-z0-9+.-]*://[^\s\"'<>]+|\b[\w.+-]+@[\w-]+(?:\.[\w-]+)*")
_ANY_ADDRESS = re.compile(r"\b[A-Za-z][A-Za-z0-9+.-]*://[^\s\"'<>]+")
_NUMBER_OF_HOST = re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b|(?<![\w:])(?:[0-9a-fA-F]{1,4}:){3,7}[0-9a-fA-F]{1,4}\b")
#: The user whose home a path leads through.
_HOME = re.compile(r"/(?:home|[Uu]sers)/([\w.-]+)|[A-Za-z]:[\\/]+Users[\\/]+([\w.-]+)|~([A-Za-z_][\w.-]*)/")
_OURS = re.compile(r"(?:path|file|host|user|worker|address)-\d+(?:\.\w+)?")


class Anonymiser:
    """Replaces names alike in all of these studies, as far as any of them tells that they are names."""

    def __init__(self, reports: Sequence[ReportStudy]) -> None:
        self._given: dict[tuple[str, str], str] = {}
        self._counts: Counter[str] = Counter()
        self._files: dict[str, str] = {}
        self._words: dict[str, tuple[str, str]] = {}
        """The kind of each word that is replaced, and the name that it stands for."""
        self._written: dict[tuple[bool, str], str] = {}
        with suppress(OSError, KeyError, ImportError):
            self._know("user", getpass.getuser())
        self._know("host", socket.gethostname())
        for report in reports:
            self._learn(report)

    def study(self, report: ReportStudy) -> ReportStudy:
        """One of the studies with nothing that tells who ran it, and where; devices, versions and times stay."""
        cleaned: ReportStudy = self._mapped(replace(report, database=LEFT_OUT, own_notes=()), self._prose)
        return replace(cleaned, anonymous=True)

    def text(self, text: str) -> str:
        """A text of a machine, without any path, address, host and user."""
        return self._cached(text, machine=True)

    def _learn(self, report: ReportStudy) -> None:
        """Remember every host, worker, user and file that the study names as such."""
        for attempt in _attempts(report):
            self._know("host", attempt.host)
            self._know("worker", attempt.worker_id)
        for match in (match for text in _texts(report) for match in _HOME.finditer(text)):
            self._know("user", next(filter(None, match.groups())))
        with suppress(ValueError):
            parts = urlsplit(report.database)
            self._know("user", parts.username or "")
            self._know("host", parts.hostname or "")
        for study in filter(None, (report.study, report.written)):
            for file in (file for holder in (study.program, study.code) if holder for file in holder.files):
                self._know_file(file.path)

    def _know(self, kind: str, word: str) -> None:
        for part in (word, word.split(".")[0]) if kind == "host" else (word,):
            if len(part) >= _SHORTEST_WORD and part.lower() not in _COMMON and not part.isdigit():
                self._words.setdefault(part, (kind, word))

    def _know_file(self, path: str) -> None:
        if path not in self._files:
            name = self._name("file", path) + PurePosixPath(path).suffix
            self._files[path] = name
            # `nets:Wide` is a class of the file `nets.py`.
            self._files[f"{module_name(path)}:"] = f"{PurePosixPath(name).stem}:"

    def _name(self, kind: str, value: str) -> str:
        """`host-2` for the second host that is met."""
        if _OURS.fullmatch(value):
            return value
        if (kind, value) not in self._given:
            self._counts[kind] += 1
            self._given[kind, value] = f"{kind}-{self._counts[kind]}"
        return self._given[kind, value]

    def _prose(self, text: str) -> str:
        """Any other text, without what shows that it is a path, an address, a host or a user."""
        return self._cached(text, machine=False)

    def _cached(self, text: str, *, machine: bool) -> str:
        if (machine, text) not in self._written:
            self._written[machine, text] = self._replaced(text, machine)
        return self._written[machine, text]

    def _replaced(self, text: str, machine: bool) -> str:
        def named(kind: str) -> Callable[[re.Match[str]], str]:
            return lambda match: self._name(kind, match[0])

        found = self._without_files(text)
        found = (_ANY_ADDRESS if machine else _ADDRESS).sub(named("address"), found)
        found = _QUOTED.sub(lambda match: f"{match[1]}{self._name('path', match[0][1:-1])}{match[1]}", found)
        found = _PATH.sub(named("path"), found)
        if machine:
            found = _ADDRESS.sub(named("address"), found)
            found = _NUMBER_OF_HOST.sub(named("host"), _WITH_SLASH.sub(named("path"), found))
        return self._without_words(found, machine)

    def _without_files(self, text: str) -> str:
        for path, name in sorted(self._files.items(), key=lambda item: -len(item[0])):
            if path in text:
                text = re.sub(rf"(?<![\w./-]){re.escape(path)}(?:(?<=:)|(?![\w/-]))", name, text)
        return text

    def _without_words(self, text: str, machine: bool) -> str:
        # Longest first: the name of a worker begins with that of its host.
        words = [word for word in self._words if word in text and (machine or word not in _vocabulary())]
        for word in sorted(words, key=len, reverse=True):
            name = self._name(*self._words[word])
            text = re.sub(rf"(?<![A-Za-z0-9]){re.escape(word)}(?![A-Za-z0-9])", name, text)
        return text

    def _mapped(self, value: Any, write: _Write) -> Any:
        """The value with every text in it rewritten; where that changes nothing, the same object."""
        match value:
            case Enum():
                return value
            case str():
                written = write(value)
                return value if written == value else written
            case PurePath():
                return type(value)(self._name("path", str(value)))
            case Mapping():
                pairs = [(self._mapped(key, write), self._item(key, item, write)) for key, item in value.items()]
                same = all(key is k and item is i for (key, item), (k, i) in zip(pairs, value.items(), strict=True))
                return value if same else dict(pairs)
            case tuple() | list():
                items = [self._mapped(item, write) for item in value]
                return value if all(map(operator.is_, items, value)) else type(value)(items)
            case BaseModel():
                changed = self._changed(dict(value), write)
                return value.model_copy(update=changed) if changed else value
        if is_dataclass(value) and not isinstance(value, type):
            changed = self._changed({field.name: getattr(value, field.name) for field in fields(value)}, write)
            return replace(value, **changed) if changed else value
        return value

    def _item(self, key: object, item: Any, write: _Write) -> Any:
        # The commit of a program names its repository.
        return LEFT_OUT if key == PROGRAM_GIT else self._mapped(item, write)

    def _changed(self, found: Mapping[str, Any], write: _Write) -> dict[str, Any]:
        """The fields that are others now, of those of a record."""
        mapped = {name: self._mapped(item, self._write_for(name, write)) for name, item in found.items()}
        return {name: item for name, item in mapped.items() if item is not found[name]}

    def _write_for(self, field: str, write: _Write) -> _Write:
        if field in ("host", "worker_id"):
            kind = field.removesuffix("_id")
            return lambda text: self._name(kind, text) if text else text
        return self.text if field in _OF_MACHINES else write


def _attempts(report: ReportStudy) -> Iterator[AttemptRow]:
    for trial in report.trials:
        yield from trial.attempts
        yield from trial.reuse.attempts if trial.reuse else ()


def _texts(report: ReportStudy) -> Iterator[str]:
    """Every text that may hold a path."""
    yield report.database
    yield from (trial.error or "" for trial in report.trials)
    yield from (note.text for note in report.own_notes)
    for attempt in _attempts(report):
        yield from (attempt.error, attempt.traceback)
    yield from (study.canonical() for study in (report.study, report.written) if study)
    for found in report.images.values():
        yield from (str(found.path), found.source)


@lru_cache(maxsize=1)
def _vocabulary() -> frozenset[str]:
    """Words that a study is made of: they stay, also where a host or a user is called so."""
    words = {part for name in METRIC_LABELS for part in re.split(r"\W+", name)}
    return frozenset(words | set(BUILT_IN) | set(_constants(Study.model_json_schema())))


def _constants(schema: Any) -> Iterator[str]:
    """The texts that a field may be limited to, and the names of fields."""
    match schema:
        case dict():
            yield from (
                str(each) for each in (*schema.get("enum", ()), *schema.get("properties", ()), schema.get("const"))
            )
            for part in schema.values():
                yield from _constants(part)
        case list():
            for part in schema:
                yield from _constants(part)
