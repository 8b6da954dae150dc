"""`studies`: the list, one file, and a copy of it to change."""

import json

from cifarsweep.spec.reader import find, shipped


def test_the_file_of_a_study_is_printed_and_copied(call, tmp_path):
    printed = call("studies", "demo")
    copied = call("studies", "demo", "--copy", "mine.toml")

    assert printed.stdout == find("demo").read_text()
    assert (tmp_path / "mine.toml").read_text() == printed.stdout
    assert "cifarsweep create mine.toml" in copied.stdout


def test_a_copy_replaces_no_file(call, tmp_path):
    (tmp_path / "mine.toml").write_text("mine")

    done = call("studies", "demo", "--copy", "mine.toml")

    assert done.returncode == 2 and "mine.toml is there already; choose another file" in done.stderr
    assert (tmp_path / "mine.toml").read_text() == "mine"


def test_a_copy_of_all_is_refused(call):
    done = call("studies", "--copy", "mine.toml")

    assert done.returncode == 2 and "--copy takes the name of one study" in done.stderr


def test_studies_are_told_to_programs(call):
    listed = json.loads(call("studies", "--json").stdout)
    demo = json.loads(call("studies", "demo", "--json").stdout)

    assert [one["name"] for one in listed] == [path.stem for path in shipped()]
    assert demo in listed and demo["trials"] == 12 == len(demo["cells"]) * len(demo["seeds"])
