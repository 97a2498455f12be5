"""Reading the settings: file, environment, options, in that order; and saying what is wrong with them."""

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from core.config.secrets import SECRET_NAMES
from core.config.settings import STRATEGIES, Settings, Strategy
from core.domain.errors import UserError

PREFIX = "COCKPIT_"
MOST_BYTES = 1 << 20
MOST_TOLD = 200
SEEDS = ("demo.seed", "train.cluster.seed")
"""What `--seed` of a run sets: all that it draws, the market, the prices within a bar, its models. Without it each
has its own of the configuration: `train.cluster.seed` the cluster model, `demo.seed` everything else."""
Entries = Mapping[str, tuple[object, str]]
"""What was given, by dotted key, each with its source."""
Model = TypeVar("Model", bound=BaseModel)


def load(
    path: Path | None = None,
    *,
    options: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Settings from `path` (else ./config.toml, else the defaults), the environment, and `options`.

    `options` are those of a command line, by dotted key; None values are left out. Raises UserError."""
    file = path if path is not None else Path("config.toml")
    found = path is not None or file.is_file()
    entries: dict[str, tuple[object, str]] = {}
    if found:
        entries.update({key: (value, str(file)) for key, value in _read(file).items()})
    for name, text in (os.environ if environ is None else environ).items():
        if key := _key_of(name):
            entries[key] = (_parsed(key, text), f"environment {name}")
    for key, value in (options or {}).items():
        if value is not None:
            entries[key] = (_parsed(key, value) if isinstance(value, str) else value, "options")
    _refuse_unknown(entries)
    try:
        settings = Settings.model_validate(_nested(entries))
    except ValidationError as error:
        raise _explained(error, entries) from None
    origins = {key: source for key, (_, source) in entries.items()}
    settings = settings.sourced(file if found else None, origins)
    _refuse_unknown_strategies(settings)
    return settings


def installed() -> dict[str, EntryPoint]:
    """Strategies that installed packages offer (entry point group `cockpit.strategies`), not yet loaded."""
    return {entry.name: entry for entry in entry_points(group="cockpit.strategies")}


def table(settings: Settings, name: str, kind: type[Model]) -> Model:
    """The table `[strategy.NAME]` as the parameters that its strategy has. UserError names source, key, value."""
    ours = getattr(settings.strategy, name) if name in Strategy.model_fields else None
    if isinstance(ours, kind):
        return ours
    given = {key: value for key, value in settings.strategy.outside.get(name, {}).items() if key != "path"}
    try:
        return kind.model_validate({k: tuple(v) if isinstance(v, list) else v for k, v in given.items()})
    except ValidationError as error:
        above = f"strategy.{name}."
        entries = {above + key: (value, settings.origin(above + key)) for key, value in flatten(given)}
        raise _explained(error, entries, dict(_fields(kind, above)), above) from None


def flatten(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested tables by dotted key."""
    for key, value in table.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{key}.")
        elif not isinstance(value, Mapping):
            yield f"{prefix}{key}", value


def values(settings: Settings) -> dict[str, object]:
    """Every value by its dotted key, in the order of the sections."""
    return dict(flatten(settings.model_dump()))


def known_keys() -> dict[str, FieldInfo]:
    """Every key that config.toml may hold, dotted, with its field."""
    return dict(_fields(Settings, ""))


def _fields(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _fields(field.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


def _read(file: Path) -> dict[str, Any]:
    """The values of a file, by dotted key."""
    try:
        with file.open("rb") as opened:
            content = opened.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise UserError(f"{file}: longer than {MOST_BYTES // 1024} KiB: not a file of settings")
        return dict(flatten(tomllib.loads(content.decode("utf-8").replace("\r\n", "\n"))))
    except FileNotFoundError:
        raise UserError(
            f"{file}: no such file; leave --config away to run on ./config.toml or the defaults"
        ) from None
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from None
    except ValueError as error:  # TOML's own, bytes that are no text, a number of thousands of digits
        raise UserError(f"{file}: not valid TOML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise UserError(f"{file}: not valid TOML: nested too deeply") from None


def _key_of(variable: str) -> str | None:
    if variable == "COCKPIT_HOME":
        return "paths.home"
    if variable.startswith(PREFIX) and "__" in variable:
        return variable.removeprefix(PREFIX).lower().replace("__", ".")
    return None


def _parsed(key: str, text: str) -> object:
    """Text of a variable or an option as TOML would have read it; lists also as BTC,ETH."""
    field = known_keys().get(key)
    kind = field.annotation if field else None if _outside(key) else str
    if get_origin(kind) is tuple and not text.lstrip().startswith("["):
        return [part.strip() for part in text.split(",") if part.strip()]
    if kind in (str, Path) or get_origin(kind) is Literal:
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text


def _nested(entries: Mapping[str, tuple[object, str]]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, (value, source) in entries.items():
        *sections, name = key.split(".")
        table = tree
        for section in sections:
            table = table.setdefault(section, {})
            if not isinstance(table, dict):
                raise UserError(f"{source}: {key}: {section} is a value, and cannot hold others", _code(source))
        if isinstance(table.get(name), dict):
            raise UserError(f"{source}: {key}: it holds others, and cannot be a value", _code(source))
        table[name] = value
    return tree


_SECRET = re.compile(r"secret|passphrase|password|api_?key|token|private_?key", re.IGNORECASE)


def _outside(key: str) -> str:
    """The strategy in whose table a key stands, if it is not one of ours; else empty."""
    section, _, rest = key.partition(".")
    name, _, parameter = rest.partition(".")
    return name if section == "strategy" and parameter and name not in Strategy.model_fields else ""


def _refuse_unknown(entries: Entries) -> None:
    """Values are not repeated here: what is unknown may be a secret in the wrong place."""
    known = known_keys()
    sections = {section for key in known for section in _above(key)}
    for key, (_, source) in entries.items():
        name = _outside(key)
        if key in known or (name and not _SECRET.search(key) and _is_outside(name, entries)):
            continue
        if _SECRET.search(key):
            raise UserError(
                f"{source}: {key}: secrets are read from the environment or .env alone"
                f" ({', '.join(SECRET_NAMES)}); remove it from here, and renew it if others could read it",
                _code(source),
            )
        if key in sections:
            raise UserError(f"{source}: {key} is a section: write [{key}] and its keys below it", _code(source))
        raise UserError(f"{source}: {key}: unknown key; {_way_out(key, known, sections)}", _code(source))


def _code(source: str) -> int:
    """What a mistake ends with: one on the command line is wrong usage."""
    return 2 if source == "options" else 1


def _is_outside(name: str, entries: Entries) -> bool:
    return f"strategy.{name}.path" in entries or name in installed()


def _refuse_unknown_strategies(settings: Settings) -> None:
    """Each strategy that is to run is ours, has a file, or is installed."""
    for name in settings.engine.strategies:
        if name in STRATEGIES or settings.strategy.path(name) or name in (others := installed()):
            continue
        source, given = settings.origin("engine.strategies"), list(settings.engine.strategies)
        raise UserError(
            f"{source}: engine.strategies = {given!r}: allowed is a list of {', '.join((*STRATEGIES, *others))},"
            f" or of one whose table [strategy.{name}] has a path",
            _code(source),
        )


def _above(key: str) -> list[str]:
    """The sections that a key stands in: a.b.c is in a.b and in a."""
    parts = key.split(".")
    return [".".join(parts[:n]) for n in range(1, len(parts))]


def _way_out(key: str, known: Iterable[str], sections: set[str]) -> str:
    section, _, name = key.rpartition(".")
    beside = [other for other in known if other.rpartition(".")[0] == section]
    close = difflib.get_close_matches(key, beside or known, 1, 0.75)
    close = close or [other for other in known if other.rpartition(".")[2] == name]
    if close:
        return f"did you mean {close[0]}?"
    return f"known are {', '.join(beside)}" if beside else f"known sections are {', '.join(sorted(sections))}"


def _explained(
    error: ValidationError, entries: Entries, known: Mapping[str, FieldInfo] | None = None, above: str = ""
) -> UserError:
    """The first mistake as one line: source, key, value, what is allowed. `above`: the section that was checked, if
    it was one alone, with its `known` keys."""
    known = known_keys() if known is None else known
    first = error.errors(include_url=False)[0]
    where = above.split(".")[:-1] + [str(part) for part in first["loc"]]
    section = ".".join(where)
    if first["type"] == "extra_forbidden":
        source = entries[section][1]
        return UserError(f"{source}: {section}: unknown key; {_way_out(section, known, set())}", _code(source))
    key = next((key for n in range(len(where), 0, -1) if (key := ".".join(where[:n])) in known), None)
    if key is None or key not in entries:
        source = next((source for key, (_, source) in entries.items() if key.startswith(f"{section}.")), "default")
        return UserError(f"{source}: {section}: {first['msg'].removeprefix('Value error, ')}", _code(source))
    value, source = entries[key]
    return UserError(f"{source}: {key} = {_told(value)}: allowed is {_allowed(known[key])}", _code(source))


def _told(value: object) -> str:
    """A value in few words."""
    text = repr(value)
    return text if len(text) <= MOST_TOLD else f"{text[:MOST_TOLD]}..."


KINDS = {int: "a whole number", float: "a number", Decimal: "a number"}
BOUNDS = {"ge": "from", "gt": "above", "le": "up to", "lt": "below"}


def _allowed(field: FieldInfo) -> str:
    """What a field takes, in words: its choices, or its kind and bounds."""
    kind: Any = field.annotation
    if field.description:
        return field.description
    if get_origin(kind) is Literal:
        return f"one of {', '.join(get_args(kind))}"
    rules = [(word, getattr(rule, name, None)) for rule in field.metadata for name, word in BOUNDS.items()]
    return " ".join([KINDS.get(kind, "text"), *(f"{word} {limit}" for word, limit in rules if limit is not None)])
