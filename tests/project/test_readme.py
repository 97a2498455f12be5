"""What the README promises: the strategy it shows runs as it stands, its commands and pictures are there."""

import json
import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from cockpit.cli import app
from core.backtest.__main__ import main

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    """The first block of code in that language."""
    found = re.search(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert found, f"no block of {language}"
    return found[1]


def test_the_strategy_shown_trades_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COCKPIT_HOME", str(tmp_path / "home"))
    (tmp_path / "fade.py").write_text(block("python"), encoding="utf-8")
    (tmp_path / "config.toml").write_text(block("toml") + "[demo]\nmarket_bars = 1500\n", encoding="utf-8")
    assert main(["fade", "--train-bars", "600"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["metrics"]["trades"]["count"] > 5
    assert told["params"]["z_entry"] == 3.0


def test_every_command_shown_exists() -> None:
    words = re.findall(r"^(cockpit .*)$", README.replace("\\\n", " "), re.MULTILINE)
    words += re.findall(r"`(cockpit [a-z][^`]*)`", README)
    assert len(words) > 20
    for line in words:
        command = get_command(app)
        for word in shlex.split(line.replace("\\|", " "))[1:]:
            if not hasattr(command, "commands"):
                break
            assert word in command.commands, f"{line}: no {word}"
            command = command.commands[word]
        if command.context_settings.get("ignore_unknown_options"):
            continue  # They are passed on, to whom the command starts.
        options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        unknown = set(re.findall(r"(?<=\s)--[a-z-]+", line)) - options
        assert not unknown, f"{line}: {unknown}"


def test_every_file_named_is_there() -> None:
    for place in re.findall(r"\]\(([^)]+)\)", README):
        assert (ROOT / place).exists(), place
