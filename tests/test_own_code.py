"""Only verified bytes of files that the command line names are run."""

import sys
from pathlib import Path

import pytest
from support.own_code import FILES, NETS, usable, write_files

from cifarsweep import own_code
from cifarsweep.errors import CodeUnusable, SpecError

pytestmark = pytest.mark.usefixtures("no_code_stays")


def load(code: str, name: str = "nets:Wide"):
    return own_code.load("model", name, code)


def test_a_class_of_a_verified_file_is_loaded_once(tmp_path: Path):
    code = usable(tmp_path)
    assert load(code).__name__ == "Wide" and load(code) is load(code)
    assert not list(tmp_path.rglob("*.pyc"))


def test_a_file_that_changes_after_it_was_read_changes_nothing(tmp_path: Path):
    code = usable(tmp_path)
    first = load(code)
    write_files(tmp_path, {"nets.py": "raise SystemExit('another file')"})
    assert load(code) is first


@pytest.mark.parametrize("changed", ["nets.py", "layers.py"])
def test_a_changed_file_is_not_run(tmp_path: Path, changed: str):
    code = usable(tmp_path)
    write_files(tmp_path, {changed: f"open({str(tmp_path / 'ran')!r}, 'w')\n" + FILES[changed]})
    with pytest.raises(CodeUnusable, match=f"{changed}: is not the file that the study was created with"):
        load(code)
    assert not (tmp_path / "ran").exists()


def test_nothing_is_loaded_that_no_command_line_names(tmp_path: Path):
    code = usable(tmp_path)
    own_code.allow([])
    with pytest.raises(CodeUnusable, match="start the worker with --code FOLDER"):
        load(code)
    with pytest.raises(CodeUnusable, match="does not tell the files"):
        load("0" * 64)
    with pytest.raises(CodeUnusable, match="the package typer was not named on the command line"):
        load(f"typer 1.0 {'0' * 64}", "typer:Wide")


def test_paths_of_a_study_lead_to_no_other_folder(tmp_path: Path):
    (tmp_path / "code").mkdir()
    (tmp_path / "away.py").write_text(NETS)
    (tmp_path / "code" / "named.toml").write_text('[code]\nfiles = ["../away.py"]\n')
    own_code.allow([str(tmp_path / "code")])
    files = [("../away.py", own_code.hashlib.sha256(NETS.encode()).hexdigest())]
    own_code.know(files)
    with pytest.raises(CodeUnusable, match=r"no study file there names \.\./away\.py under \[code\]"):
        load(own_code.digest_of_files(files))


def test_a_link_leads_to_no_other_folder(tmp_path: Path):
    (tmp_path / "away.py").write_text(NETS)
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "nets.py").symlink_to(tmp_path / "away.py")
    (tmp_path / "code" / "named.toml").write_text('[code]\nfiles = ["nets.py"]\n')
    own_code.allow([str(tmp_path / "code")])
    files = [("nets.py", own_code.hashlib.sha256(NETS.encode()).hexdigest())]
    own_code.know(files)
    with pytest.raises(CodeUnusable, match="leads out of the folder of the code"):
        load(own_code.digest_of_files(files))


def test_other_files_of_the_folder_are_no_code(tmp_path: Path):
    """Who writes the database may name any file with its digest, and must not have it imported."""
    code = usable(tmp_path, FILES | {"deploy.py": f"open({str(tmp_path / 'ran')!r}, 'w')"})
    for named in (tmp_path / "named.toml", tmp_path / "other.toml"):
        named.write_text('[code]\nfiles = ["nets.py", "layers.py"]\n')
    with pytest.raises(CodeUnusable, match=r"no study file there names deploy\.py under \[code\]"):
        load(code)
    own_code.allow([str(tmp_path / "other.toml")])
    with pytest.raises(CodeUnusable, match="deploy"):
        load(code)
    assert not (tmp_path / "ran").exists()


def test_a_study_file_stands_for_its_files(tmp_path: Path):
    code = usable(tmp_path)
    own_code.allow([str(tmp_path / "named.toml")])
    assert load(code).__name__ == "Wide"


def test_files_that_the_study_does_not_name_are_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "helper.py").write_text("raise SystemExit('unverified')")
    (tmp_path / "code").mkdir()
    code = usable(tmp_path / "code", {"nets.py": "\nimport helper\n"})
    with pytest.raises(SpecError, match=r"nets\.py, line 2: ModuleNotFoundError: .*'helper'; .*add it to \[code\]"):
        load(code)


@pytest.mark.parametrize(
    ("text", "name", "says"),
    [
        (NETS, "nets:Narrow", "has no 'Narrow'"),
        (NETS, "nets:Wid", "has no 'Wid'. Did you mean 'Wide'?"),
        (NETS, "other:Wide", r"no file of \[code\] is called other\.py"),
        ("from os import system\n", "nets:system", r"'system' is imported by .*must be defined in \[code\]"),
        ("from subprocess import Popen\n", "nets:Popen", r"must be defined in \[code\]"),
        ("x = 1\n\n\nx.y\n", "nets:Wide", r"nets\.py, line 4: AttributeError"),
        ("def f(:\n", "nets:Wide", r"nets\.py, line 1: SyntaxError"),
        ("import sys\nsys.exit(3)\n", "nets:Wide", r"nets\.py, line 2: SystemExit: 3"),
    ],
)
def test_code_that_can_not_be_used_is_told_with_its_line(tmp_path: Path, text: str, name: str, says: str):
    code = usable(tmp_path, {"nets.py": text, "layers.py": FILES["layers.py"]})
    with pytest.raises(SpecError, match=says):
        load(code, name)


def test_two_studies_in_one_process_do_not_mix(tmp_path: Path):
    first = usable(tmp_path / "a", {"nets.py": "class Wide: number = 1"})
    second = usable(tmp_path / "b", {"nets.py": "class Wide: number = 2"})
    own_code.allow([str(tmp_path / "a"), str(tmp_path / "b")])
    assert [load(code).number for code in (first, second, first)] == [1, 2, 1]


def test_folders_of_code_are_packages(tmp_path: Path):
    code = usable(
        tmp_path, {"mynet/wide.py": "from mynet.parts import X\nclass Wide(X): pass", "mynet/parts.py": "class X: pass"}
    )
    assert load(code, "mynet.wide:Wide").__mro__[1].__name__ == "X"


def test_a_library_of_that_name_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "nets", sys)
    with pytest.raises(SpecError, match="imported another module 'nets'"):
        load(usable(tmp_path))
