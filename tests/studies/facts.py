"""The facts of `shared/reported/reported.csv`, and the words of a study file for each of them."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cifarsweep.spec.moments import At
from cifarsweep.spec.reported import Reported

TABLE = Path(__file__).resolve().parents[3] / "shared" / "reported" / "reported.csv"


@dataclass(frozen=True)
class Row:
    """One fact, in the words of the table."""

    study: str
    cell: str
    quantity: str
    value: str
    unit: str
    report: str
    setting: str
    source: str

    @property
    def key(self) -> tuple[str, str, str]:
        return self.study, self.cell, self.quantity


@dataclass(frozen=True)
class Said:
    """What a study file says in place of a quantity: the metric, the moment, and the evaluations that count."""

    metric: str = "val/accuracy"
    at: At | None = None
    of: str = "last"
    unit: float = 1.0
    """The value of one unit of the table."""


@dataclass(frozen=True)
class Place:
    """The cell of a shipped study that stands for a cell of the table, and what the table's name says of it."""

    file: str
    cell: str
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Words:
    """The words of the table for some of its studies, each with ours."""

    places: Mapping[tuple[str, str], Place]
    """By study and cell of the table."""
    settings: Mapping[str, Mapping[str, Any]]
    """The settings, by dotted key, that a text under `setting` states; empty where it states none."""
    said: Mapping[tuple[str, str, str], Said] = field(default_factory=dict)
    """By study, cell and quantity, where what the quantity says is not what `QUANTITIES` has."""
    left_out: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """The reason why no study file can say a quantity, by study and quantity."""


def _at(match: re.Match[str]) -> At:
    return At(step=int(match["step"]))


#: What quantities say that several reports have.
QUANTITIES = {
    r"val/accuracy at the end": lambda _: Said(),
    r"best/accuracy \(step \d+\)": lambda _: Said(of="best"),
    r"mean val/accuracy of the last 10 evaluations": lambda _: Said(of="mean of the last 10"),
    r"val/accuracy at the first evaluation \(step (?P<step>\d+)\)": lambda match: Said(at=_at(match)),
    r"(?P<metric>(train|val)/(loss|accuracy)) at epoch (?P<epoch>\d+)": lambda match: Said(
        match["metric"], At(epoch=float(match["epoch"]))
    ),
    r"training time incl. evaluation": lambda _: Said("elapsed_s"),
}


def said(row: Row, words: Words) -> Said:
    """Return what a study file says in place of the quantity of a row."""
    if row.key in words.said:
        return words.said[row.key]
    matches = [(match, make) for text, make in QUANTITIES.items() if (match := re.fullmatch(text, row.quantity))]
    assert len(matches) == 1, f"{row.key}: say what it is, under said or left_out"
    (match, make), *_ = matches
    return make(match)


def identity(fact: Reported) -> tuple[Any, ...]:
    """What two facts have in common that say the same."""
    moment = (fact.at.epoch, fact.at.step) if fact.at else None
    return fact.cell, fact.metric, round(fact.value, 9), moment, fact.of, fact.runs


def expected(row: Row, words: Words) -> Reported:
    """Return the fact that the study file has to have."""
    place, what = words.places[row.study, row.cell], said(row, words)
    value = float(row.value) * what.unit
    return Reported(cell=place.cell, metric=what.metric, value=value, at=what.at, of=what.of, setting=row.setting)


def rows() -> list[Row]:
    """Return the table; empty where it is not on this machine."""
    if not TABLE.exists():
        return []
    with TABLE.open(encoding="utf-8", newline="") as file:
        return [Row(**line) for line in csv.DictReader(file)]
