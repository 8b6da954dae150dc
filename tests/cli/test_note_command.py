"""`note` on the command line, and where what was noted is shown."""

import json

import pytest

SIGNS = "<b>lr</b> & co"


@pytest.fixture
def noted(call):
    """A study with a note, and one about a trial."""
    assert call("create", "demo", "--seeds", "1").returncode == 0
    assert call("note", "demo", SIGNS).stdout == "note 1 of demo\n"
    assert call("note", "demo/2", "the odd one").stdout == "note 2 of demo/2\n"


def test_notes_are_listed_for_people_and_for_programs(call, noted):
    every, of_trial = call("note", "demo").stdout, call("note", "demo/2").stdout
    told = json.loads(call("note", "demo", "--json").stdout)

    assert SIGNS in every and "the odd one" in every
    assert SIGNS not in of_trial and "the odd one" in of_trial
    assert [(one["schema"], one["note"], one["trial"], one["text"]) for one in told] == [
        ("note/1", 1, None, SIGNS),
        ("note/1", 2, 2, "the odd one"),
    ]


def test_a_word_longer_than_the_screen_is_listed_whole(call, noted):
    assert call("note", "demo", "see " + "y" * 1000).returncode == 0

    assert call("note", "demo").stdout.count("y") >= 1000


def test_a_page_shows_them_escaped_and_an_anonymous_one_leaves_them_out(call, noted, tmp_path):
    assert call("report", "demo").returncode == 0
    page = (tmp_path / "reports/demo.html").read_text()
    assert call("report", "demo", "--anonymous").returncode == 0
    shared = (tmp_path / "reports/demo.html").read_text()

    assert "&lt;b&gt;lr&lt;/b&gt; &amp; co" in page and SIGNS not in page
    head, _, rows = page.partition('id="trial-2"')
    assert "the odd one" in rows and "the odd one" not in head and "Notes on trial 2" in rows
    assert "the odd one" not in shared and "co</bdi>" not in shared


def test_json_show_and_exports_have_them(call, noted):
    (report,) = json.loads(call("report", "demo", "--json").stdout)
    shown, fields = call("show", "demo/2").stdout, json.loads(call("show", "demo/2", "--json").stdout)
    rows = call("export", "demo", "--notes", "--format", "jsonl", "--out", "-").stdout.splitlines()
    table = call("export", "demo", "--notes", "--out", "-").stdout

    assert [one["text"] for one in report["notes"]] == [SIGNS, "the odd one"]
    assert "the odd one" in shown and [one["text"] for one in fields["notes"]] == ["the odd one"]
    assert [json.loads(row)["trial"] for row in rows] == [None, 2]
    assert table.startswith("note,trial,written_at,text\n1,,") and table.rstrip().endswith("the odd one")


def test_an_export_as_parquet_has_them_too(call, noted, tmp_path):
    from pyarrow.parquet import read_table

    assert call("export", "demo", "--notes", "--format", "parquet").stdout == "demo-notes.parquet\n"

    assert read_table(tmp_path / "demo-notes.parquet").column("text").to_pylist() == [SIGNS, "the odd one"]


def test_a_note_is_deleted_by_its_number(call, noted):
    assert call("note", "demo", "--delete", "1").stdout == "note 1 of demo deleted\n"

    assert [one["note"] for one in json.loads(call("note", "demo", "--json").stdout)] == [2]
    assert call("note", "demo", "--delete", "1").returncode == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["demo", ""], "the note is empty"),
        (["demo/9", "x"], "no trial 9"),
        (["demo/9"], "no trial 9"),
        (["gone", "x"], "gone"),
        (["", "x"], "the study's name is empty"),
        (["demo", "x", "--delete", "1"], "give one of them"),
    ],
)
def test_bad_input_is_one_sentence(call, noted, arguments, says):
    done = call("note", *arguments)

    assert done.returncode == 2 and says in done.stderr and "Traceback" not in done.stderr
