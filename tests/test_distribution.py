"""What people get: the licence and its companions, in a clone and in what is built from it; extras that can be had."""

import re
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

from cifarsweep import __version__
from cifarsweep.errors import install_command

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_licence_is_in_the_wheel_and_in_the_source_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from hatchling.build import build_sdist, build_wheel

    monkeypatch.chdir(ROOT)

    with zipfile.ZipFile(tmp_path / build_wheel(str(tmp_path))) as wheel:
        (licence,) = (name for name in wheel.namelist() if name.endswith("licenses/LICENSE"))
        in_wheel = wheel.read(licence).decode()
    with tarfile.open(tmp_path / build_sdist(str(tmp_path))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}

    assert in_wheel == (ROOT / "LICENSE").read_text()
    assert in_wheel.startswith("MIT License") and PROJECT["license"] == "MIT"
    assert {"LICENSE", "README.md", "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "SECURITY.md"} <= names


def test_the_citation_is_of_this_version_and_licence():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())

    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert str(citation["version"]) == __version__ == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]


@pytest.mark.parametrize("extra", PROJECT["optional-dependencies"])
def test_an_extra_is_installed_by_the_names_of_its_packages(extra: str):
    wanted = [requirement.partition(";")[0].strip() for requirement in PROJECT["optional-dependencies"][extra]]

    said = install_command(extra)

    assert re.findall(r"'([^']+)'", said) == wanted and said.startswith("pip install ")


def test_nothing_is_to_be_installed_from_an_index_that_lacks_it():
    kept = [*ROOT.glob("*.md"), *(ROOT / "cifarsweep").rglob("*.py"), *(ROOT / "reports").glob("*.ipynb")]

    assert [str(path) for path in kept if re.search(r"pipx? install '?cifarsweep", path.read_text())] == []


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "SECURITY.md", "README.md"])
def test_files_that_the_documents_name_exist(name: str):
    text = (ROOT / name).read_text()
    linked = set(re.findall(r"\]\(([\w./-]+)(?:#[\w-]+)?\)", text))
    quoted = set(re.findall(r"`((?:cifarsweep|tests|alembic|benchmarks|\.ci)/[\w./-]*)`", text))

    assert [path for path in linked | quoted if not (ROOT / path).exists()] == []


def test_every_target_of_make_that_is_named_exists():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = re.findall(r"(?:`|^)make ([a-z]+)", "\n".join(p.read_text() for p in ROOT.glob("*.md")), flags=re.MULTILINE)

    assert named and set(named) <= targets


def test_no_two_modules_of_the_tests_share_a_name():
    names = [path.name for path in sorted((ROOT / "tests").rglob("*.py")) if path.name != "conftest.py"]

    assert [name for name in sorted(set(names)) if names.count(name) > 1] == [], "pytest collects only one of them"
