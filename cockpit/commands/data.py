"""Market data: this process becomes the one that reads or downloads it."""

from pathlib import Path

from cockpit.commands.processes import become, flags
from core.config import load


def run(command: str, *words: str, config: Path | None, **options: object) -> None:
    """`python -m core.data command words`."""
    load(config)
    become("core.data", [command, *words, *flags(**options, config=config)])


def download(*, config: Path | None, **options: object) -> None:
    """`python -m core.engine.download`."""
    load(config)
    become("core.engine.download", flags(**options, config=config))
