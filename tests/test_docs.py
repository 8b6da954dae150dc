"""README and docs are true: commands exist, every command is told, study files work, links lead somewhere."""

import ast
import importlib.util
import re
import sqlite3
import tomllib
from contextlib import closing
from functools import cache
from pathlib import Path

import pytest
import yaml

from cifarsweep.cli.json_output import SCHEMAS
from cifarsweep.errors import SpecError
from cifarsweep.spec import metrics
from cifarsweep.spec.metric_reference import metrics_reference
from cifarsweep.spec.model_settings import ConvNet
from cifarsweep.spec.reader import read_study
from cifarsweep.spec.reference import settings_reference
from cifarsweep.spec.settings import Augment, Optimizer, Schedule
from cifarsweep.store import Store
from cifarsweep.worker.supervisor import EXIT_FAULTY_HOST, EXIT_TEMPFAIL

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


@cache
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
    assert len(README.split()) <= 950


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


#: Functions that make the JSON of a kind, by their module; the page has a row for every key.
JSON_FUNCTIONS = {
    "cifarsweep/report/summary.py": ("study_fields", "_cost_fields", "comparison_fields", "_verdict_fields"),
    "cifarsweep/report/effect_fields.py": ("effect_fields", "_main_fields", "_interaction_fields", "_mean_fields"),
    "cifarsweep/report/reported_text.py": ("reported_fields",),
    "cifarsweep/report/reported_runs.py": ("run_fields",),
    "cifarsweep/cli/status.py": ("status_fields",),
    "cifarsweep/cli/show.py": ("trial_fields",),
    "cifarsweep/cli/studies.py": ("_fields",),
}


@pytest.mark.parametrize("module", JSON_FUNCTIONS)
def test_every_key_of_the_json_is_told(module: str):
    tree = ast.parse((ROOT / module).read_text())
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    made = [node for node in functions if node.name in JSON_FUNCTIONS[module]]
    dicts = [node for function in made for node in ast.walk(function) if isinstance(node, ast.Dict)]
    keys = {key.value for each in dicts for key in each.keys if isinstance(key, ast.Constant)}

    assert len(made) == len(JSON_FUNCTIONS[module]) and keys
    assert sorted(key for key in keys if f"`{key}`" not in PAGES["docs/reference/json.md"]) == []


def test_every_kind_of_json_has_a_place_on_its_page():
    page = PAGES["docs/reference/json.md"]

    assert [kind for kind in SCHEMAS if f"## `{kind}`" not in page and f"| `{kind}` |" not in page] == []


def test_every_metric_of_the_code_is_in_the_reference():
    names = {value for name, value in vars(metrics).items() if name.isupper() and isinstance(value, str)}
    told = {one.name for one in metrics_reference()}

    assert names - told == {metrics.TOP5, metrics.CALIBRATION, metrics.CONFUSION}, "parts of names"
    assert all(one.text.endswith(".") for one in metrics_reference())


def test_every_column_of_the_views_is_told(tmp_path: Path):
    Store.open(f"sqlite:///{tmp_path}/a.db", upgrade=True).close()
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        for view in ("v_trial", "v_metric", "v_note"):
            part = PAGES["docs/reference/sql.md"].split(f"## `{view}`")[1].split("\n## ")[0]
            columns = {row[1] for row in connection.execute(f"PRAGMA table_info({view})")}

            assert columns == set(re.findall(r"`(\w+)`", "".join(first_cells(part))))


def first_cells(part: str) -> list[str]:
    return [line.split("|")[1] for line in part.splitlines() if line.startswith("| `")]


def test_every_table_of_the_database_says_what_it_is():
    tables = GENERATE.tables()

    assert re.findall(r"### `(\w+)`\n\n\n", tables) == []
    assert "the whole study as canonical JSON" in tables


def test_every_exit_code_and_variable_of_the_code_is_told():
    page = PAGES["docs/reference/environment.md"]
    source = "\n".join(path.read_text() for path in (ROOT / "cifarsweep").rglob("*.py"))
    variables = set(re.findall(r"CIFARSWEEP_[A-Z_]+", source)) - {"CIFARSWEEP_DB|PG"}

    assert [name for name in sorted(variables) if f"| `{name}` |" not in page] == []
    codes = (0, 1, SpecError.exit_code, EXIT_FAULTY_HOST, EXIT_TEMPFAIL)
    assert [code for code in codes if f"| {code} |" not in page] == []


def texts_of_code() -> list[str]:
    """Every text of the code; what is put into it is `…`."""
    trees = [ast.parse(path.read_text()) for path in (ROOT / "cifarsweep").rglob("*.py")]
    return [told for tree in trees for node in ast.walk(tree) if (told := told_by(node)) is not None]


def told_by(node: ast.AST) -> str | None:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
    return None


def test_every_message_of_the_page_on_troubles_is_one_of_the_code():
    page = PAGES["docs/how-to/troubleshooting.md"]
    messages = re.findall(r"^### `(.+)`$", page, flags=re.MULTILINE)
    texts = texts_of_code()

    assert len(messages) > 40
    assert [said for said in messages if not any(has_in_order(text, said.split("…")) for text in texts)] == []


def has_in_order(text: str, parts: list[str]) -> bool:
    """Whether a text of the code has all parts of a message, one after the other."""
    place = 0
    for part in parts:
        found = text.find(part, place)
        if found < 0:
            return False
        place = found + len(part)
    return True
