"""A kill by signal before there is an engine is not lost."""

from pathlib import Path

from core.config import load
from core.engine.session import Session


async def test_it_is_left_as_the_file_that_an_engine_obeys_as_it_starts(tmp_path: Path) -> None:
    settings = load(None, environ={"COCKPIT_HOME": str(tmp_path)})
    settings.paths.create()
    Session(settings, resume=False, headless=True, quiet=True)._kill()
    assert settings.paths.kill.exists()
