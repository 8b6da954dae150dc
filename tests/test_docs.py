"""The README is true: its commands exist, every command is in it, its study file works, its tree is the tree."""

import re
import tomllib
from pathlib import Path

import pytest
import typer

from cifarsweep.cli.app import app
from cifarsweep.spec.model_settings import ConvNet
from cifarsweep.spec.reader import read_study
from cifarsweep.spec.settings import Augment, Optimizer, Schedule

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def commands() -> dict[str, set[str]]:
    """Every command with its options, sub-commands as `data import`."""
    root = typer.main.get_command(app)
    found: dict[str, set[str]] = {}
    for name, command in root.commands.items():
        below = getattr(command, "commands", None)
        for full, one in [(f"{name} {sub}", c) for sub, c in below.items()] if below else [(name, command)]:
            found[full] = {option for parameter in one.params for option in parameter.opts if option.startswith("--")}
    return found


def shell_lines(text: str) -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)
    return [line.split("#")[0].strip() for block in blocks for line in block.replace("\\\n", " ").splitlines()]


@pytest.mark.parametrize("line", [line for line in shell_lines(README) if line.startswith("cifarsweep ")])
def test_every_command_line_of_the_readme_exists(line: str):
    words = line.split()[1:]
    known = commands()
    name = " ".join(words[:2]) if " ".join(words[:2]) in known else words[0]

    assert name in known, line
    assert {word.split("=")[0] for word in words if word.startswith("--")} <= known[name], line


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_command_is_in_the_readme(name: str):
    first, _, second = name.partition(" ")
    pattern = rf"cifarsweep {first} .*\b{second}\b" if second else rf"cifarsweep {first}\b"

    assert re.search(pattern, README), f"`cifarsweep {name}` is missing in the README"


def test_the_study_file_of_the_readme_is_valid(tmp_path: Path):
    block = re.search(r"```toml\n(.*?)```", README, flags=re.DOTALL)
    assert block is not None
    path = tmp_path / "skip-study.toml"
    path.write_text(block[1])

    assert len(read_study(path).cells) == 6


def test_the_search_of_the_readme_is_valid(tmp_path: Path):
    blocks = re.findall(r"```toml\n(.*?)```", README, flags=re.DOTALL)
    path = tmp_path / "find-a-recipe.toml"
    path.write_text(next(block for block in blocks if "[search]" in block))

    assert read_study(path).planned == 40


def test_the_tables_of_settings_name_every_later_setting_with_its_default():
    rows = re.findall(r"^\| `(model|optimizer|schedule|augment)\.(\w+)` \| `([^`]*)` \|", README, flags=re.MULTILINE)
    records = {"model": ConvNet, "optimizer": Optimizer, "schedule": Schedule, "augment": Augment}
    said = {(table, key): tomllib.loads(f"value = {default}")["value"] for table, key, default in rows}
    assert said == {
        (table, key): "none" if default is None else default
        for table, record in records.items()
        for key, default in ((key, plain(record.model_fields[key].default)) for key in record.later)
    }


def plain(default):
    """A default as TOML has it."""
    return list(default) if isinstance(default, tuple) else default


def test_every_room_is_in_the_tree_of_the_readme():
    package = ROOT / "cifarsweep"
    rooms = {path.name for path in package.iterdir() if path.is_dir() and (path / "__init__.py").exists()}

    assert rooms <= set(re.findall(r"[├└│ ─]+(\w+)/", README)), "a room is missing in the tree"


@pytest.mark.parametrize("page", ["ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_the_files_that_a_page_for_developers_names_are_in_the_tree(page: str):
    text = (ROOT / page).read_text()
    named = set(re.findall(r"(?:cifarsweep|tests|alembic|benchmarks|studies)/[\w/]*(?:\.\w+)?", text))

    assert named and [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_every_room_is_in_the_table_of_the_architecture():
    package = ROOT / "cifarsweep"
    rooms = {path.name for path in package.iterdir() if path.is_dir() and (path / "__init__.py").exists()}

    assert rooms <= set(re.findall(r"`cifarsweep/(\w+)/`", (ROOT / "ARCHITECTURE.md").read_text()))


def test_nothing_that_is_kept_names_a_package_host_or_a_folder_of_a_developers_machine():
    kept = [path for path in ROOT.rglob("*") if path.suffix in {".toml", ".lock", ".md", ".py", ".ini"}]
    ours = [path for path in kept if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)]
    host = re.compile(r"https?://[^\s\"']*(pypi|pythonhosted|npmjs|debian)\.")

    assert [str(path) for path in ours if host.search(path.read_text())] == []
