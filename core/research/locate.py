"""Names the line that let the future in.

Ordinary Python is run twice, line by line, on two markets that differ only after bar t. The first line after
which an array of T rows differs in a row up to t is the one that leaked; a number it used that differs too (a
mean over the whole sample) was made by an earlier line, and then that one is named. Compiled code cannot be
followed so: there the line is found by the column's name.
"""

import ast
import hashlib
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import numpy as np

from core.data.panel import Panel

_MOST = 30_000
"""Lines followed: a loop over every bar in plain Python is followed that far."""
RETURN = "(returned)"
Frame = tuple[str, int, int]
"""A call: its function's file and first line, and how many calls of it there were before."""
Variable = tuple[Frame, str]
"""A frame and the name of a value in it, or in a container it holds."""
Compute = Callable[[Panel], Mapping[str, np.ndarray[Any, Any]]]


class Place(NamedTuple):
    """`where`: file:line and the code there; `advice`: what its pattern says of the mend ("" if none is known)."""

    where: str = ""
    advice: str = ""


class Line(NamedTuple):
    """One executed line, the `visit`-th time in its frame, and what the frame held after it: digests of the `past`
    part of arrays that have a row a bar, and of everything else that is a number or a small array, `plain`."""

    file: str
    number: int
    frame: Frame
    visit: int
    past: dict[str, bytes]
    plain: dict[str, bytes]


class Run(NamedTuple):
    """The lines of one run, in order, and its result."""

    lines: list[Line]
    columns: Mapping[str, np.ndarray[Any, Any]]


def leak_place(compute: Compute, name: str, base: Panel, changed: Panel, t: int, code: Path) -> Place:
    """Where in the folder `code` column `name` learns of bars after `t`, in which `base` and `changed` differ."""
    one, other = (_followed(compute, panel, t, code) for panel in (base, changed))
    leaks = _leaks(one.lines, other.lines)
    if not leaks:
        return named_place(name, code)
    final = _digest(np.asarray(one.columns[name])[: t + 1])
    past = [k for (_, name), k in leaks.items() if name in one.lines[k].past]
    ends = (k for k in past if final in one.lines[k].past.values())
    line = one.lines[_origin(one.lines, leaks, next(ends, min(past)))]
    return Place(_quoted(Path(line.file), line.number), advice(_statement(Path(line.file), line.number)))


def advice(statement: ast.AST | None) -> str:
    """What is wrong with a statement, if it has a pattern that is known to look ahead."""
    for node in ast.walk(statement) if statement else ():
        match node:
            case ast.Call(func=ast.Attribute(attr="shift" | "roll" as kind), args=arguments, keywords=keywords):
                given = [*arguments, *(word.value for word in keywords)]
                if any(_negative(argument) for argument in given):
                    return f"`{kind}` by a negative number brings later bars back: shift by a positive one"
                if kind == "roll":
                    return "`roll` wraps the last bars round to the first: shift, and leave the first rows unknown"
            case ast.keyword(arg="center", value=ast.Constant(value=True)):
                return "`center=True` puts half of the window into the future: leave it out"
            case ast.Call(func=ast.Attribute(attr="bfill" | "backfill" | "interpolate" as kind)):
                return f"`{kind}` fills a gap with what came after it: fill forward (`ffill`)"
            case ast.Call(func=ast.Attribute(attr="filtfilt" | "savgol_filter" | "gradient" | "detrend" as kind)):
                return f"`{kind}` works on both sides of a bar: use a one-sided filter over closed bars"
            case ast.keyword(arg="mode", value=ast.Constant(value="same")):
                return "`mode='same'` centres the window: use 'full' and keep the first T rows"
            case ast.Call(func=ast.Attribute(attr="fit" | "fit_transform" | "polyfit" | "lstsq" as kind)):
                return (
                    f"`{kind}` learns from all rows at once: fit on bars before t alone, and again as time goes on"
                )
            case ast.Call(func=ast.Attribute(attr=kind)) if kind in _TOTALS and not _windowed(node):
                return f"`{kind}` is taken over the whole sample"
            case ast.BinOp(op=ast.Add(), left=ast.Name(id=index), right=ast.Constant(value=int(ahead))):
                if any(isinstance(part, ast.Subscript) for part in ast.walk(statement)):  # type: ignore[arg-type]
                    return f"`[{index} + {ahead}]` is a later bar: index with `{index}` or less"
    return ""


_TOTALS = {
    *("mean", "std", "var", "min", "max", "median", "quantile", "percentile", "rank", "argsort", "sum"),
    *("nanmean", "nanstd", "nanmin", "nanmax", "nanmedian", "nanquantile", "average", "zscore", "corr", "cov"),
    *("corrcoef", "ptp"),
}


def _windowed(node: ast.AST) -> bool:
    """Whether a total is taken within a rolling, expanding or exponential window."""
    windows = {"rolling", "expanding", "ewm", "sliding_window_view", "accumulate"}
    return any(isinstance(part, ast.Attribute) and part.attr in windows for part in ast.walk(node))


def _negative(node: ast.AST) -> bool:
    match node:
        case ast.UnaryOp(op=ast.USub()):
            return True
        case ast.Constant(value=int() | float() as value):
            return value < 0
    return False


def _followed(compute: Compute, panel: Panel, t: int, code: Path) -> Run:
    """Run `compute` and note what every line of the folder `code` left behind."""
    lines: list[Line] = []
    at: dict[int, int] = {}
    frames: dict[int, Frame] = {}
    calls: Counter[tuple[str, int]] = Counter()
    visits: Counter[tuple[Frame, int]] = Counter()
    root = str(code)

    def after(frame: FrameType, event: str, result: Any) -> Any:
        key = id(frame)
        if event in ("line", "return") and key in at and len(lines) < _MOST:
            values = dict(frame.f_locals) | ({RETURN: result} if event == "return" else {})
            past, plain = _digests(values, len(panel), t)
            place = frames[key], at[key]
            lines.append(Line(frame.f_code.co_filename, at[key], frames[key], visits[place], past, plain))
            visits[place] += 1
        if event == "line":
            at[key] = frame.f_lineno
        elif event == "return":
            at.pop(key, None)
        return after

    def entered(frame: FrameType, event: str, _: Any) -> Any:
        if event != "call" or not frame.f_code.co_filename.startswith(root):
            return None
        function = frame.f_code.co_filename, frame.f_code.co_firstlineno
        frames[id(frame)] = *function, calls[function]
        calls[function] += 1
        return after

    before = sys.gettrace()
    sys.settrace(entered)
    try:
        columns = compute(panel)
    finally:
        sys.settrace(before)
    return Run(lines, columns)


def _digests(values: dict[str, Any], bars: int, t: int) -> tuple[dict[str, bytes], dict[str, bytes]]:
    past, plain = {}, {}
    for name, array in _arrays(values):
        if array.ndim and len(array) == bars:
            past[name] = _digest(array[: t + 1])
        elif array.size <= 4096:
            plain[name] = _digest(array)
    return past, plain


def _arrays(values: dict[str, Any], depth: int = 0, prefix: str = "") -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """Numbers and arrays among `values`, also inside containers and plain objects, two levels down."""
    for name, value in list(values.items())[:200]:
        label = f"{prefix}{name}"
        if isinstance(value, Panel | type) or callable(value):
            continue
        if isinstance(value, int | float | np.generic | np.ndarray):
            yield label, np.asarray(value)
        elif hasattr(value, "to_numpy"):
            yield label, np.asarray(value.to_numpy())
        elif depth < 2 and isinstance(value, dict):
            yield from _arrays({str(key): part for key, part in value.items()}, depth + 1, f"{label}.")
        elif depth < 2 and isinstance(value, list | tuple):
            yield from _arrays({str(key): part for key, part in enumerate(value)}, depth + 1, f"{label}.")
        elif depth < 2 and hasattr(value, "__dict__"):
            yield from _arrays(vars(value), depth + 1, f"{label}.")


def _digest(array: np.ndarray[Any, Any]) -> bytes:
    if array.dtype == object:
        return repr(array.tolist()).encode()
    return hashlib.blake2b(np.ascontiguousarray(array).tobytes(), digest_size=8).digest()


def _leaks(one: list[Line], other: list[Line]) -> dict[Variable, int]:
    """The number of the line after which each variable first differed between the runs: in its past part, or, if
    it has no row a bar, at all. Empty where no variable's past ever differed."""
    found: dict[Variable, int] = {}
    leaked = False
    others = {(line.frame, line.number, line.visit): line for line in other}
    for k, mine in enumerate(one):
        its = others.get((mine.frame, mine.number, mine.visit))
        if its is None:
            continue
        for name, digest in (mine.past | mine.plain).items():
            if (its.past | its.plain).get(name) == digest:
                found.pop((mine.frame, name), None)
            else:
                found.setdefault((mine.frame, name), k)
                leaked = leaked or name in mine.past
    return found if leaked else {}


def _origin(lines: list[Line], leaks: dict[Variable, int], k: int) -> int:
    """From the line that made a value back to the one that let the future in: through the functions it called and
    the names it used, to the first that differed."""
    line = lines[k]
    begun = next((j + 1 for j in range(k - 1, -1, -1) if lines[j].frame == line.frame), 0)
    within = [j for (_, name), j in leaks.items() if name.startswith(RETURN) and begun <= j < k]
    if within:
        return _origin(lines, leaks, max(within))
    used = _used(_statement(Path(line.file), line.number))
    made = [j for (frame, name), j in leaks.items() if frame == line.frame and j < k and name.split(".")[0] in used]
    return _origin(lines, leaks, min(made)) if made else k


def _used(statement: ast.stmt | None) -> set[str]:
    """Names that a statement reads."""
    read: ast.AST | None = getattr(statement, "value", None) or getattr(statement, "iter", None)
    return {node.id for node in ast.walk(read) if isinstance(node, ast.Name)} if read else set()


def _statement(file: Path, number: int) -> ast.stmt | None:
    """The innermost statement that line `number` of `file` belongs to."""
    found: ast.stmt | None = None
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.stmt) and node.lineno <= number <= (node.end_lineno or node.lineno):
            found = node if found is None or node.lineno >= found.lineno else found
    return found


def named_place(name: str, code: Path) -> Place:
    """The first line of the folder that assigns to, or names, the column."""
    bare = name.rsplit(".", 1)[-1]
    mentions: list[tuple[int, Path, ast.stmt]] = []
    for file in sorted(code.glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign | ast.FunctionDef):
                continue
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            exact = any(_mentions(target, bare) for target in targets if target is not None)
            if exact or _mentions(node, bare):
                mentions.append((0 if exact else 1, file, node))
    if not mentions:
        return Place()
    _, file, statement = min(mentions, key=lambda each: (each[0], each[1], each[2].lineno))
    return Place(_quoted(file, statement.lineno), advice(statement))


def _mentions(node: ast.AST, name: str) -> bool:
    return any(
        (isinstance(part, ast.Constant) and part.value == name) or (isinstance(part, ast.Name) and part.id == name)
        for part in ast.walk(node)
    )


def _quoted(file: Path, number: int) -> str:
    text = file.read_text(encoding="utf-8").splitlines()[number - 1].strip()
    return f"{file.name}:{number}: {text[:100]}"
