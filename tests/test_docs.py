"""README and docs are true: commands exist, every command is told, study files work, links lead somewhere."""

import importlib.util
import re
import subprocess
import sys
import tomllib
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

from cifarsweep.spec.model_settings import ConvNet
from cifarsweep.spec.reader import read_study
from cifarsweep.spec.reference import settings_reference
from cifarsweep.spec.settings import Augment, Optimizer, Schedule

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text()
#: The pages for users, by their path.
PAGES = {str(path.relative_to(ROOT)): path.read_text() for path in [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]}


def load_generator():
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATE = load_generator()


def commands() -> dict[str, set[str]]:
    """Every command with its options, sub-commands as `data import`."""
    return {
        words: {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
        for words, command in GENERATE.all_commands().items()
    }


def blocks(text: str, language: str) -> list[str]:
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", text, flags=re.DOTALL | re.MULTILINE)
    return [re.sub(rf"^{indent}", "", block, flags=re.MULTILINE) for indent, block in found]


def shell_lines(text: str) -> list[str]:
    return [
        part.split(" #")[0].strip()
        for block in blocks(text, "sh")
        for line in block.replace("\\\n", " ").splitlines()
        for part in line.split("&&")
    ]


@pytest.mark.parametrize(
    ("page", "line"),
    [
        (page, line)
        for page, text in PAGES.items()
        for line in shell_lines(text)
        if line.startswith("cifarsweep ") and "--install-completion" not in line
    ],
)
def test_every_command_line_of_a_page_exists(page: str, line: str):
    words = line.split()[1:]
    known = commands()
    name = " ".join(words[:2]) if " ".join(words[:2]) in known else words[0]

    assert name in known, (page, line)
    assert {word.split("=")[0] for word in words if word.startswith("--")} <= known[name], (page, line)


@pytest.mark.parametrize("words", sorted(commands()))
def test_every_command_is_in_the_table_of_commands(words: str):
    first, _, second = words.partition(" ")
    table = [line for line in PAGES["docs/reference/commands.md"].splitlines() if line.startswith("| `")]
    pattern = rf"cifarsweep [^`]*\b{first}\b.*\b{second}\b" if second else rf"cifarsweep [^`]*\b{first}\b"

    assert [row for row in table if re.search(pattern, row)], f"`cifarsweep {words}` is missing in the table"


def test_every_command_option_and_setting_is_in_the_generated_reference():
    told, settings = GENERATE.commands(), GENERATE.settings()

    for words, options in commands().items():
        part = told.split(f"### `cifarsweep {words}`\n")[1].split("\n### ")[0]
        assert [option for option in options if f"{option}" not in part] == [], words
    assert [one.key for one in settings_reference() if f"| `{one.key}` |" not in settings] == []


@pytest.mark.parametrize(
    ("page", "block"),
    [(page, block) for page, text in PAGES.items() for block in blocks(text, "toml") if "question =" in block],
)
def test_every_whole_study_file_of_a_page_is_valid(page: str, block: str, tmp_path: Path):
    path = tmp_path / "study.toml"
    path.write_text(block)
    for name in tomllib.loads(block).get("program", {}).get("files", ()):
        place = tmp_path / name.replace("**/*", "net")
        place.parent.mkdir(exist_ok=True)
        place.touch()

    assert read_study(path).planned >= 1, page


def test_the_study_file_that_has_every_table_means_what_the_page_says():
    page = PAGES["docs/reference/study-file.md"]
    (block,) = (block for block in blocks(page, "toml") if "question =" in block)

    assert {"settings", "factors", "exclude", "arms", "hypotheses", "reported", "reported_runs"} <= tomllib.loads(
        block
    ).keys()


def test_the_tables_of_settings_name_every_later_setting_with_its_default():
    page = PAGES["docs/reference/settings.md"]
    rows = re.findall(r"^\| `(model|optimizer|schedule|augment)\.(\w+)` \| `([^`]*)` \|", page, flags=re.MULTILINE)
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


def test_the_readme_can_be_read_in_five_minutes():
    assert len(README.split()) <= 1000


@pytest.mark.parametrize("page", sorted(PAGES))
def test_links_of_a_page_lead_to_files_and_to_headings_of_them(page: str):
    lost = []
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([\w-]+))?\)", PAGES[page]):
        path = (ROOT / page).parent / target if target else ROOT / page
        shown = {str(DOCS / place): ROOT / name for name, place in GENERATE.TOP_PAGES.items()}
        pictures = {str(DOCS / place) for place in GENERATE.PICTURES.values()}
        file = shown.get(str(path.resolve()), path)
        if not file.exists() and str(path.resolve()) not in pictures:
            lost.append(target)
        elif anchor and anchor not in headings(file.read_text()):
            lost.append(f"{target}#{anchor}")

    assert lost == []


def headings(text: str) -> set[str]:
    """Anchors of headings, as MkDocs makes them."""
    from markdown.extensions.toc import slugify

    return {slugify(line.lstrip("# ").replace("`", ""), "-") for line in text.splitlines() if line.startswith("#")}


def test_every_page_is_in_the_menu():
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    listed = {page for page in re.findall(r"[\w/-]+\.md", str(config["nav"]))}

    assert listed == {page.removeprefix("docs/") for page in PAGES if page.startswith("docs/")} | set(
        GENERATE.TOP_PAGES.values()
    )


class Requests(HTMLParser):
    """What a browser asks for to show a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        asked = given.get("src") or (given.get("href") if tag == "link" else None)
        if asked and not asked.startswith("data:"):
            self.found.append(asked)


@pytest.mark.long
def test_the_pages_are_built_strictly_and_ask_no_other_machine(tmp_path: Path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]

    subprocess.run(command, cwd=ROOT, check=True, timeout=120)

    pages = sorted((tmp_path / "site").rglob("*.html"))
    assert len(pages) > len(PAGES)
    for page in pages:
        requests = Requests()
        requests.feed(page.read_text())
        lost = [one for one in requests.found if not (page.parent / one.partition("?")[0]).exists()]
        # The page of a wrong address is served from anywhere, so it names the site's root.
        assert lost == [] or (page.name == "404.html" and all(one.startswith("/") for one in lost)), page
    for sheet in (tmp_path / "site").rglob("*.css"):
        assert re.findall(r"url\((?:https?:)?//", sheet.read_text()) == [], sheet


def test_every_room_is_in_the_tree_and_in_the_table_of_the_architecture():
    package, text = ROOT / "cifarsweep", (ROOT / "ARCHITECTURE.md").read_text()
    rooms = {path.name for path in package.iterdir() if path.is_dir() and (path / "__init__.py").exists()}

    assert rooms <= set(re.findall(r"[├└│ ─]+(\w+)/", text)), "a room is missing in the tree"
    assert rooms <= set(re.findall(r"`cifarsweep/(\w+)/`", text)), "a room is missing in the table"


@pytest.mark.parametrize("page", ["ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_the_files_that_a_page_for_developers_names_are_in_the_tree(page: str):
    text = (ROOT / page).read_text()
    named = set(re.findall(r"(?:cifarsweep|tests|alembic|benchmarks|studies)/[\w/]*(?:\.\w+)?", text))

    assert named and [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_nothing_that_is_kept_names_a_package_host_or_a_folder_of_a_developers_machine():
    kept = [path for path in ROOT.rglob("*") if path.suffix in {".toml", ".lock", ".md", ".py", ".ini", ".yml"}]
    ours = [path for path in kept if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)]
    host = re.compile(r"https?://[^\s\"']*(pypi|pythonhosted|npmjs|debian)\.")

    assert [str(path) for path in ours if host.search(path.read_text())] == []
