"""The house's own rules, which no tool knows: short functions and files, one clock, no pickle, no secret told."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted([*ROOT.glob("core/**/*.py"), *ROOT.glob("cockpit/**/*.py")])
TESTS = sorted(ROOT.glob("tests/**/*.py"))
CLOCK = ROOT / "core" / "clock.py"
CLOCKS = {"time", "uuid", "threading", "sched", "concurrent"}
UNSAFE = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(module: ast.Module) -> Iterator[tuple[str, int]]:
    """Top names of everything imported, inside functions too, with the line."""
    for node in ast.walk(module):
        match node:
            case ast.Import():
                yield from ((alias.name.split(".")[0], node.lineno) for alias in node.names)
            case ast.ImportFrom(module=str(name), level=0):
                yield name.split(".")[0], node.lineno


def length(node: ast.AST) -> int:
    """Lines of a function's body, its docstring left out: words are free."""
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None
    doc = node.body[0].end_lineno if ast.get_docstring(node) else node.lineno
    assert doc is not None
    return node.end_lineno - doc


def place(path: Path, line: int = 0) -> str:
    return f"{path.relative_to(ROOT)}:{line}" if line else str(path.relative_to(ROOT))


def lines(found: list[str]) -> str:
    return "\n" + "\n".join(found)


def test_functions_are_short() -> None:
    long = [
        f"{place(path, node.lineno)} {node.name}: {length(node)} lines"
        for path in [*SOURCES, *TESTS]
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and length(node) > 60
    ]
    assert not long, lines(long)


@pytest.mark.parametrize(("files", "most"), [(SOURCES, 400), (TESTS, 500)], ids=["sources", "tests"])
def test_files_are_short(files: list[Path], most: int) -> None:
    counts = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    long = [f"{place(path)}: {count} lines" for path, count in counts.items() if count > most]
    assert not long, lines(long)


def test_only_the_clock_asks_the_machine_for_time_names_and_threads() -> None:
    found = [
        f"{place(path, line)} imports {name}"
        for path in SOURCES
        if path != CLOCK
        for name, line in imports(tree(path))
        if name in CLOCKS
    ]
    assert not found, lines(found)


def test_nobody_reads_the_clock_by_another_name() -> None:
    """datetime.now, asyncio.to_thread and the like are clocks and threads too."""
    names = {"now", "utcnow", "today", "to_thread", "run_in_executor", "urandom"}
    found = [
        f"{place(path, node.lineno)} calls {node.func.attr}"
        for path in SOURCES
        if path != CLOCK
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in names
    ]
    assert not found, lines(found)


def test_no_pickle_anywhere() -> None:
    found = [
        f"{place(path, line)} imports {name}"
        for path in [*SOURCES, *TESTS]
        for name, line in imports(tree(path))
        if name in UNSAFE
    ]
    assert not found, lines(found)


def test_no_secret_is_printed_or_logged() -> None:
    """What is printed, echoed or logged names no secret (a name in a string is a name, not its value)."""
    speakers = {"print", "echo", "debug", "info", "warning", "error", "exception", "log", "say", "tell"}
    secret = {"secret", "passphrase", "password", "api_key", "secrets"}
    found = []
    for path in SOURCES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in speakers:
                said = [part for argument in node.args for part in ast.walk(argument)]
                words = {getattr(part, "attr", getattr(part, "id", "")).lower() for part in said}
                found += [f"{place(path, node.lineno)} says {word}" for word in words & secret]
    assert not found, lines(found)


def test_nothing_is_left_undone() -> None:
    marks = ("TO" + "DO", "FIX" + "ME")
    found = [
        f"{place(path, number)} {mark}"
        for path in [*SOURCES, *TESTS]
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        for mark in marks
        if mark in line
    ]
    assert not found, lines(found)


def test_test_names_do_not_collide() -> None:
    """pytest imports test files by their base name."""
    names = [path.name for path in TESTS if path.name.startswith("test_")]
    assert sorted(names) == sorted(set(names))
