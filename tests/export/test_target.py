"""What an export may replace, and what it leaves alone whatever was forced."""

import os
from pathlib import Path

import pytest

from cifarsweep.errors import OutputError
from cifarsweep.export.target import EVENT_FILE, Target


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a thesis, and in it the working folder."""
    (tmp_path / "thesis.tex").write_text("the only copy")
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    return tmp_path


def tree(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


def write_file(target: Target, text: str = "new") -> None:
    with target.whole() as path:
        path.write_text(text)


def write_runs(target: Target, run: str = "a") -> None:
    with target.whole() as path:
        (path / run).mkdir(parents=True)
        (path / run / EVENT_FILE).write_text(run)


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="boom"), Target(tmp_path / "s.csv", False).whole() as path:
        path.write_text("half")
        raise ValueError("boom")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("folder", [False, True])
@pytest.mark.parametrize("out", [".", "..", "/", "../here", "../figures", ""])
def test_a_folder_that_no_export_wrote_is_never_replaced(place: Path, out: str, folder: bool) -> None:
    (place / "figures").mkdir()
    (place / "figures" / "one.png").write_text("drawn by hand")
    before = tree(place)

    with pytest.raises(OutputError, match=r"is a folder|is not replaced"):
        write_runs(Target(Path(out), True, folder=folder))

    assert tree(place) == before


@pytest.mark.parametrize(
    "foreign",
    [
        pytest.param(lambda runs: (runs / "a" / "notes.txt").write_text("mine"), id="a file"),
        pytest.param(lambda runs: (runs / "a" / "events.out.tfevents.17.box").write_text("mine"), id="another's run"),
        pytest.param(lambda runs: (runs / "a" / "link").symlink_to(runs.parent), id="a link to a folder"),
        pytest.param(lambda runs: os.mkfifo(runs / EVENT_FILE), id="a pipe"),
    ],
)
def test_runs_with_anything_else_among_them_stay(place: Path, foreign) -> None:
    runs = place / "runs"
    write_runs(Target(runs, False, folder=True))
    foreign(runs)
    before = tree(place)

    with pytest.raises(OutputError, match="which no export wrote"):
        write_runs(Target(runs, True, folder=True), "b")

    assert tree(place) == before


def test_runs_of_an_export_are_replaced_when_forced(place: Path) -> None:
    runs = place / "runs"
    write_runs(Target(runs, False, folder=True), "old")

    with pytest.raises(OutputError, match="is there already"):
        write_runs(Target(runs, False, folder=True), "new")
    write_runs(Target(runs, True, folder=True), "new")

    assert tree(runs) == {f"new/{EVENT_FILE}": "new"}
    assert {path.name for path in place.iterdir()} == {"thesis.tex", "here", "runs"}


def test_the_old_runs_are_there_until_the_new_ones_are(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = place / "runs"
    write_runs(Target(runs, False, folder=True), "old")
    rename = os.rename

    def breaks(source: Path, goal: Path) -> None:
        if source.suffix == ".partial":
            raise OSError(5, "Input/output error")
        rename(source, goal)

    monkeypatch.setattr(os, "rename", breaks)
    with pytest.raises(OutputError, match="Input/output error"):
        write_runs(Target(runs, True, folder=True), "new")

    assert tree(runs) == {f"old/{EVENT_FILE}": "old"}
    assert {path.name for path in place.iterdir()} == {"thesis.tex", "here", "runs"}


@pytest.mark.parametrize("folder", [False, True])
def test_the_folder_of_the_database_is_never_replaced(place: Path, folder: bool) -> None:
    results = place / "results" / "2024" / "results.db"
    results.parent.mkdir(parents=True)
    before = tree(place)

    with pytest.raises(OutputError, match=r"is a folder|holds the database"):
        write_runs(Target(place / "results", True, folder=folder, database=results))

    assert tree(place) == before


@pytest.mark.parametrize("suffix", ["", "-wal", "-journal", "-shm", ".lock"])
@pytest.mark.parametrize("exists", [False, True])
def test_the_database_and_its_journals_are_never_written(place: Path, suffix: str, exists: bool) -> None:
    database = place / "results.db"
    if exists:
        (place / f"results.db{suffix}").write_text("results")
    before = tree(place)

    with pytest.raises(OutputError, match="belongs to the database"):
        write_file(Target(Path(f"../results.db{suffix}"), True, database=database))

    assert tree(place) == before


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_another_name_of_the_database_is_the_database(place: Path, link) -> None:
    database = place / "results.db"
    database.write_text("results")
    link(database, place / "s.csv")

    with pytest.raises(OutputError, match="belongs to the database"):
        write_file(Target(place / "s.csv", True, database=database))

    assert database.read_text() == (place / "s.csv").read_text() == "results"


def test_what_is_neither_file_nor_folder_is_never_replaced(place: Path) -> None:
    os.mkfifo(place / "pipe")

    with pytest.raises(OutputError, match="neither a file nor a folder"):
        write_file(Target(place / "pipe", True))

    assert (place / "pipe").is_fifo()


def test_a_file_in_the_place_of_runs_stays(place: Path) -> None:
    with pytest.raises(OutputError, match="is a file"):
        write_runs(Target(place / "thesis.tex", True, folder=True))

    assert (place / "thesis.tex").read_text() == "the only copy"


def test_a_link_leads_to_what_is_replaced(place: Path) -> None:
    (place / "old.csv").write_text("old")
    (place / "link.csv").symlink_to(place / "old.csv")

    write_file(Target(place / "link.csv", True))

    assert (place / "link.csv").is_symlink() and (place / "old.csv").read_text() == "new"


@pytest.mark.parametrize("length", [300, 5000])
def test_a_name_that_is_too_long_is_one_sentence(place: Path, length: int) -> None:
    with pytest.raises(OutputError, match="File name too long") as refused:
        write_file(Target(Path("x" * length), False))

    assert len(str(refused.value)) < 300


def test_the_longest_name_that_there_is_can_be_written(place: Path) -> None:
    write_file(Target(Path("x" * 255), False))

    assert Path("x" * 255).read_text() == "new"
