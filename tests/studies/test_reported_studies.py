"""Every fact that the reports gave is in the study that repeats it, as `[[reported]]`, or listed with a reason."""

import tarfile
from collections import Counter

import pytest
from facts import TABLE, Row, Words, expected, identity, rows
from later_reports import REPORT_001, REPORT_002, REPORT_003, REPORT_004
from report_000 import REPORT_000

from cifarsweep.spec.reader import find, read_study, shipped
from cifarsweep.spec.settings import flat_settings

ALL_WORDS = (REPORT_000, REPORT_001, REPORT_002, REPORT_003, REPORT_004)
ROWS = rows()
#: The runs of report 000, by its author.
ARCHIVE = TABLE.parents[1] / "data" / "cifar10-backbone-runs.tar.xz"

pytestmark = pytest.mark.skipif(not ROWS, reason=f"the numbers of the reports are not here: {TABLE}")
every_file = pytest.mark.parametrize("path", shipped(), ids=lambda path: path.stem)


def words_of(row: Row) -> Words:
    """The words that have the row's cell."""
    found = [words for words in ALL_WORDS if (row.study, row.cell) in words.places]
    assert len(found) == 1, f"{row.study}, {row.cell}: name its place once"
    return found[0]


def facts_of(file: str) -> list[tuple[Row, Words]]:
    """The facts that a file has to have."""
    return [
        (row, words)
        for row in ROWS
        if (words := words_of(row)).places[row.study, row.cell].file == file
        and (row.study, row.quantity) not in words.left_out
    ]


def test_no_fact_is_forgotten():
    in_files = sum(len(facts_of(path.stem)) for path in shipped())
    left_out = sum((row.study, row.quantity) in words_of(row).left_out for row in ROWS)

    assert in_files + left_out == len(ROWS) == 348


def test_all_words_are_of_the_table():
    cells, settings = {(row.study, row.cell) for row in ROWS}, {row.setting for row in ROWS}
    quantities, keys = {(row.study, row.quantity) for row in ROWS}, {row.key for row in ROWS}

    for words in ALL_WORDS:
        assert set(words.places) <= cells and set(words.settings) <= settings
        assert set(words.left_out) <= quantities and set(words.said) <= keys


@every_file
def test_a_study_has_the_numbers_of_its_report_and_no_others(path):
    facts, study = facts_of(path.stem), read_study(path)

    assert Counter(map(identity, study.reported)) == Counter(identity(expected(row, words)) for row, words in facts)


@every_file
def test_a_number_says_where_it_is_from_and_with_which_settings(path):
    stated = {identity(fact): fact.setting for row, words in facts_of(path.stem) if (fact := expected(row, words))}

    for fact in read_study(path).reported:
        assert fact.source and fact.source.startswith("report 00")
        assert fact.setting and fact.setting.startswith(stated[identity(fact)])


@every_file
def test_the_settings_that_a_report_states_are_those_of_the_cell(path):
    cells = {cell.name: flat_settings(cell.settings) for cell in read_study(find(path.stem)).cells}

    for row, words in facts_of(path.stem):
        place = words.places[row.study, row.cell]
        stated = {**words.settings[row.setting], **place.settings}
        ours = {key: cells[place.cell].get(key, "no such setting") for key in stated}
        assert ours == stated, place.cell


@pytest.mark.skipif(not ARCHIVE.exists(), reason=f"the runs of report 000 are not here: {ARCHIVE}")
def test_the_runs_that_studies_name_are_those_of_its_author():
    with tarfile.open(ARCHIVE) as archive:
        theirs = {name.split("/")[1] for name in archive.getnames() if name.count("/") == 1}
    named = {path.stem: runs for path in shipped() if (runs := read_study(path).reported_runs)}

    assert {path for path, runs in named.items() if runs.study == "backbone"} == {
        *("lr-study", "lr-skip-study", "normalization-study", "vit-study", "optimizer-schedule-study"),
        *("batch-size-study", "depth-study", "norm-depth-study"),
    }
    for file, runs in named.items():
        assert {name for names in runs.runs.values() for name in names} <= theirs
        for fact in read_study(find(file)).reported:
            assert fact.source in (f"report 000, log {runs.runs[fact.cell][0]}", "report 000, text")
