"""`cockpit config`: what the settings are, and where each came from."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from cockpit.commands.output import tell
from core.config import load, values


def check(config: Path | None, *, as_json: bool) -> None:
    """Reading them is the check: what is wrong is a UserError."""
    settings = load(config)
    count = len(values(settings))
    source = str(settings.file) if settings.file else "the defaults (no config.toml here)"
    text = f"{source}: all is well, {count} settings"
    tell(text, {"ok": True, "file": settings.file, "settings": count}, as_json=as_json)


def show(config: Path | None, *, as_json: bool) -> None:
    """Every value, and its source."""
    settings = load(config)
    found = {key: {"value": value, "origin": settings.origin(key)} for key, value in values(settings).items()}
    if as_json:
        tell("", found, as_json=True)
        return
    table = Table("setting", "value", "from", box=None, pad_edge=False)
    for key, row in found.items():
        value = row["value"]
        words = " ".join(value) if isinstance(value, tuple) else str(value)
        changed = row["origin"] != "default"
        table.add_row(key, words, str(row["origin"]), style="bold" if changed else "")
    Console().print(table)


def path(config: Path | None, *, as_json: bool) -> None:
    """The file, and the places of what the engine keeps."""
    settings = load(config)
    paths = settings.paths
    places = {
        "config": settings.file.absolute() if settings.file else None,
        "home": paths.home,
        "socket": paths.socket,
        "ledger": paths.ledger(settings.venue.name),
        "exchange": paths.exchange,
        "models": paths.models,
        "lake": paths.lake,
        "logs": paths.logs,
    }
    text = "\n".join(f"{name:<9}{place or 'none: the defaults'}" for name, place in places.items())
    tell(text, places, as_json=as_json)
