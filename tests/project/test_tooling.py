"""The tools that keep the house: formatter, linter, types, import contracts. Each must be clean."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


def run(tool: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = BIN / tool
    assert program.exists() or shutil.which(tool), f"{tool} is not installed"
    return subprocess.run([program, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "command",
    [
        ("ruff", "format", "--check", "."),
        ("ruff", "check", "."),
        ("mypy", "core", "cockpit"),
        ("lint-imports", "--no-cache"),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_is_clean(command: tuple[str, ...]) -> None:
    done = run(*command)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-6000:]}\n{done.stderr[-2000:]}"


def test_a_breach_of_the_contracts_is_seen(tmp_path: Path) -> None:
    """The contracts must be able to fail: a terminal that imports a model breaks the last one."""
    for package in ("core", "cockpit"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "cockpit" / "sly.py").write_text("def later() -> None:\n    import core.models\n")
    program = [
        sys.executable,
        "-c",
        "from importlinter.cli import lint_imports_command as run; run()",
        "--no-cache",
    ]
    done = subprocess.run(
        program,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 1
    assert "cockpit.sly -> core.models" in done.stdout


@pytest.mark.parametrize("package", ["core", "cockpit"])
def test_every_package_says_what_belongs_there(package: str) -> None:
    silent = [
        str(folder.relative_to(ROOT))
        for folder in {path.parent for path in (ROOT / package).rglob("*.py")}
        if not (folder / "__init__.py").exists() or not (folder / "__init__.py").read_text().startswith('"""')
    ]
    assert silent == []
