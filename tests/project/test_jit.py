"""Compiled code on disk is that of today's sources, all of them."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
INNER = "from core.jit import jit\n\n\n@jit\ndef inner(x: float) -> float:\n    return x + {more}\n"
OUTER = (
    "from core.inner import inner\nfrom core.jit import jit\n\n\n@jit\ndef outer(x: float) -> float:\n"
    "    return 10.0 * inner(x)\n"
)


def test_a_change_of_a_called_function_reaches_its_callers(tmp_path: Path) -> None:
    """numba alone would run the old machine code of `outer`, whose own file has not changed."""
    core = tmp_path / "core"
    core.mkdir()
    (core / "__init__.py").touch()
    (core / "jit.py").write_bytes((ROOT / "core" / "jit.py").read_bytes())
    (core / "outer.py").write_text(OUTER)
    said = []
    for more in ("1.0", "2.0", "1.0"):
        (core / "inner.py").write_text(INNER.format(more=more))
        run = "from core.outer import outer; print(outer(1.0))"
        said.append(subprocess.check_output([sys.executable, "-c", run], cwd=tmp_path, text=True).strip())
    assert said == ["20.0", "30.0", "20.0"]
    assert len(list((core / "__pycache__").glob("compiled-*"))) == 2, "one folder a version"


def test_nothing_is_compiled_another_way() -> None:
    others = [file for file in (ROOT / "core").rglob("*.py") if file.name != "jit.py"]
    found = [file for file in others if re.search(r"^\s*(import|from) numba", file.read_text("utf-8"), re.M)]
    assert found == [], "use core.jit"
