"""What every test may ask for."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real market data; tests that need it are skipped where it is missing."""
    if not SHARED.is_dir():
        pytest.skip(f"real market data not found at {SHARED.name}/ beside the project")
    return SHARED
