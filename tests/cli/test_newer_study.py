"""A study of a newer version, and rows that somebody edited: each command names it once and shows the others."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cifarsweep.cli.app import app
from cifarsweep.errors import UnreadableStudy
from cifarsweep.spec.reader import find, read_study
from cifarsweep.store import Store

SAYS = ("study 'newer'", "warp", "newer cifarsweep made it", "update")


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The study `newer`, with a setting that nobody here knows, and after it the demo."""
    monkeypatch.chdir(tmp_path)
    with Store.open(tmp_path / "results.db", upgrade=True) as store:
        store.studies.create(read_study(find("demo"), name="newer"))
        store.studies.create(read_study(find("demo")))
    with closing(sqlite3.connect(tmp_path / "results.db")) as conn:
        conn.execute(
            "UPDATE cs_study SET spec = replace(spec, '\"epochs\":', '\"warp\":9,\"epochs\":') WHERE name = 'newer'"
        )
        conn.execute(
            'UPDATE cs_cell SET settings = replace(settings, \'"epochs":\', \'"warp":9,"epochs":\') '
            "WHERE study_id = (SELECT study_id FROM cs_study WHERE name = 'newer')"
        )
        conn.commit()
    return f"sqlite:///{tmp_path}/results.db"


@pytest.fixture
def run(url: str) -> Callable[..., Result]:
    return lambda *arguments: CliRunner().invoke(app, [*arguments, "--db", url])


def test_the_others_are_shown_and_it_is_named_once(run: Callable[..., Result], tmp_path: Path) -> None:
    status, report, listed = run("status"), run("report"), run("report", "--json")

    assert status.exit_code == report.exit_code == listed.exit_code == 0
    assert status.output.count("newer cifarsweep made it") == report.output.count("newer cifarsweep made it") == 1
    assert all(word in " ".join(status.output.split()) for word in SAYS)
    assert all(word in report.output for word in SAYS)
    assert [each["study"] for each in json.loads(listed.stdout)] == ["demo"]
    assert "newer cifarsweep made it" in (tmp_path / "reports/index.html").read_text()
    assert (tmp_path / "reports/demo.html").is_file() and not (tmp_path / "reports/newer.html").exists()
    found = json.loads(run("status", "--json").stdout)
    assert [bool(each["unreadable"]) for each in found] == [True, False]


@pytest.mark.parametrize(
    "arguments",
    [
        ("report", "newer"),
        ("report", "--compare", "newer", "demo"),
        ("show", "newer/0"),
        ("export", "newer"),
        ("extend", "newer", "--seeds", "9"),
        ("extend", "newer", "--until-decided", "--look"),
        ("replay", "newer/0"),
        ("worker", "--cpu", "--study", "newer"),
        ("launch", "--cpus", "1", "--study", "newer"),
    ],
    ids=" ".join,
)
def test_who_asks_for_it_is_told_what_to_do(run: Callable[..., Result], arguments: tuple[str, ...]) -> None:
    refused = run(*arguments)

    assert isinstance(refused.exception, UnreadableStudy) and refused.exception.exit_code == 2
    assert all(word in str(refused.exception) for word in SAYS)


def test_doctor_and_check_name_it(run: Callable[..., Result]) -> None:
    assert all(word in run("doctor").output for word in SAYS)
    assert all(word in str(run("db", "check").exception) for word in SAYS)


def test_what_needs_no_settings_of_it_still_works(run: Callable[..., Result]) -> None:
    assert "12 paused" in run("pause", "newer").output
    assert "12 queued again" in run("resume", "newer").output
    assert run("db", "backup", "copy.db").exit_code == 0
