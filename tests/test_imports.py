"""No module leads back to itself, whether an import stands at the top of a file or inside a function."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "cifarsweep"


def imports(package: Path) -> dict[str, set[str]]:
    """The modules of the package that each of its modules names in an import, wherever that stands."""
    files = {module_name(file, package.parent): file for file in package.rglob("*.py")}
    return {name: set(named(ast.parse(file.read_text()), files)) - {name} for name, file in files.items()}


def module_name(file: Path, root: Path) -> str:
    return ".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def named(tree: ast.AST, modules: Mapping[str, Path]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module in modules:
            within = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (name if name in modules else node.module for name in within)


def cycles(graph: Mapping[str, set[str]]) -> Iterator[list[str]]:
    """A way from a module back to itself for each group of modules that import each other."""
    seen: set[str] = set()
    for start in sorted(graph):
        if start not in seen and (way := way_back(graph, start)):
            seen.update(way)
            yield way


def way_back(graph: Mapping[str, set[str]], start: str) -> list[str]:
    """The shortest way from a module to itself; empty if there is none."""
    ways = {start: [start]}
    reached = [start]
    for module in reached:
        for other in sorted(graph[module]):
            if other == start:
                return [*ways[module], start]
            if other not in ways:
                ways[other] = [*ways[module], other]
                reached.append(other)
    return []


def test_no_module_imports_itself_by_way_of_others():
    found = [" -> ".join(way) for way in cycles(imports(PACKAGE))]

    assert not found, "\n".join(found)


@pytest.mark.parametrize("lazy", ["from p.a import x", "import p.a", "from p import a"])
def test_a_cycle_through_a_function_is_named(tmp_path, lazy):
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "__init__.py").write_text("")
    (tmp_path / "p" / "a.py").write_text("from p import b, c")
    (tmp_path / "p" / "b.py").write_text(f"def f():\n    {lazy}\n")
    (tmp_path / "p" / "c.py").write_text("import p.b")

    assert list(cycles(imports(tmp_path / "p"))) == [["p.a", "p.b", "p.a"], ["p.c", "p.b", "p.a", "p.c"]]


def test_modules_and_functions_stay_short() -> None:
    """A reader has one page of a module in mind: at most 320 lines, and 60 of a function."""
    long = []
    for path in sorted(PACKAGE.rglob("*.py")):
        source = path.read_text()
        lines = source.count("\n")
        long += [f"{path.relative_to(PACKAGE)}: {lines} lines"] if lines > 320 else []
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                long += [f"{path.relative_to(PACKAGE)}: {node.name} has {length} lines"] if length > 60 else []
    assert not long
