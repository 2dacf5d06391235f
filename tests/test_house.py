"""The shape of the house: sizes, types, errors, the homes of heavy imports, no cycles, and a quick start."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "alframe"
MODULE_LINES, NINETIETH_LINES, FUNCTION_LINES = 450, 300, 60
HEAVY = {
    "ray": ("runtime",),
    "sqlalchemy": ("storage",),
    "alembic": ("storage",),
    "zarr": ("storage",),
    "pyarrow": ("storage",),
    "typer": (
        "cli.py",
        "cli_cluster.py",
        "cli_common.py",
        "cli_datasets.py",
        "cli_evaluation.py",
        "cli_integrity.py",
        "cli_labelling.py",
        "cli_serving.py",
    ),
    "torch": ("learners", "workers.py"),  # workers asks whether there is a GPU
    "monai": ("learners", "datasets.py"),  # datasets reads its catalogue
    "fastapi": ("annotator",),
    "starlette": ("annotator",),
    "uvicorn": ("annotator",),
    "prometheus_client": ("annotator",),
}
AT_START = ("torch", "monai", "ray", "zarr", "sqlalchemy", "pyarrow", "scipy", "skimage", "fastapi", "uvicorn")


def sources() -> dict[str, Path]:
    """Every module by dotted name; migrations are history, not code to be kept in shape."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        if "versions" not in path.parts:
            parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


SOURCES = sources()
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in SOURCES.items()}


def at(name: str, node: ast.AST) -> str:
    return f"{SOURCES[name].relative_to(PACKAGE.parent)}:{getattr(node, 'lineno', 1)}"


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield name, node


def imported(node: ast.AST) -> set[str]:
    """The absolute names that an import statement loads: ``from a import b`` loads a.b where that is a module, else a."""
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
        inner = {f"{node.module}.{alias.name}" for alias in node.names}
        return {name if name in SOURCES else node.module for name in inner}
    return set()


def on_import(tree: ast.Module) -> Iterator[ast.stmt]:
    """Statements that run when the module is loaded: not those in functions, nor those for type checkers only."""
    waiting: list[ast.stmt] = list(tree.body)
    while waiting:
        statement = waiting.pop()
        if isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.unparse(statement.test):
            waiting += statement.orelse
        elif not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            yield statement
            waiting += [child for child in ast.iter_child_nodes(statement) if isinstance(child, ast.stmt)]


def test_there_is_a_house() -> None:
    assert len(SOURCES) > 30


def test_modules_are_short() -> None:
    lines = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in SOURCES.items()}
    assert {name: count for name, count in lines.items() if count > MODULE_LINES} == {}
    ordered = sorted(count for name, count in lines.items() if SOURCES[name].name != "__init__.py")
    assert ordered[int(0.9 * (len(ordered) - 1))] <= NINETIETH_LINES


def test_functions_are_short() -> None:
    long = [at(name, node) for name, node in functions() if (node.end_lineno or 0) - node.lineno + 1 > FUNCTION_LINES]
    assert long == []


def test_every_function_is_typed() -> None:
    untyped = []
    for name, node in functions():
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        arguments += [extra for extra in (node.args.vararg, node.args.kwarg) if extra]
        bare = [a.arg for a in arguments if a.annotation is None and a.arg not in ("self", "cls")]
        if bare or node.returns is None:
            untyped.append(f"{at(name, node)} {node.name}{bare}")
    assert untyped == []


def test_every_public_function_and_class_says_what_it_is() -> None:
    """The name of a test in a contract is its sentence."""
    silent = []
    for name, tree in TREES.items():
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                members = node.body if isinstance(node, ast.ClassDef) else []
                methods = [
                    m for m in members if isinstance(m, ast.FunctionDef) and not m.name.startswith(("_", "test_"))
                ]
                silent += [f"{at(name, each)} {each.name}" for each in (node, *methods) if not ast.get_docstring(each)]
        if not ast.get_docstring(tree):
            silent.append(at(name, tree))
    assert silent == []


def test_no_error_is_swallowed_whole() -> None:
    broad = [
        at(name, node)
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler)
        and (
            node.type is None
            or {"Exception", "BaseException"} & {n.id for n in ast.walk(node.type) if isinstance(n, ast.Name)}
        )
    ]
    assert broad == []


def test_only_the_command_line_prints() -> None:
    printing = [
        at(name, node)
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "print" and name != "alframe.cli"
    ]
    assert printing == []


def test_heavy_imports_stay_at_home() -> None:
    """Whether at the top or inside a function. `testing` serves all rooms."""
    away = []
    for name, tree in TREES.items():
        room = SOURCES[name].relative_to(PACKAGE).parts[0]
        for node in ast.walk(tree):
            for target in imported(node):
                homes = HEAVY.get(target.partition(".")[0])
                if homes and room not in (*homes, "testing"):
                    away.append(f"{at(name, node)} imports {target}")
    assert away == []


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    graph = {
        name: {target for node in on_import(tree) for target in imported(node) if target in SOURCES and target != name}
        for name, tree in TREES.items()
    }
    order = list(graphlib.TopologicalSorter(graph).static_order())
    assert set(order) == set(SOURCES)


def test_the_arrows_point_down(repository: Path) -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    if not linter.exists():
        pytest.skip("needs import-linter: pip install 'alframe[lint]'")
    ran = subprocess.run([str(linter), "--no-cache"], cwd=repository, text=True, capture_output=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("command", ["import alframe", "from alframe.cli import main; main(['--help'])"])
def test_starting_loads_nothing_heavy(command: str) -> None:
    program = f"""
import sys
try:
    {command}
except SystemExit:
    pass
print("loaded:", *[name for name in {AT_START} if name in sys.modules])
"""
    ran = subprocess.run([sys.executable, "-c", program], text=True, capture_output=True, check=True)
    assert ran.stdout.splitlines()[-1] == "loaded:"
