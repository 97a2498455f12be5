"""The small market and model that the tests of this room share."""

from pathlib import Path

import pytest
from small_model import trained_on

from core.data.panel import Panel
from core.data.synthetic import synthetic_panel
from core.models.bundle import Bundle, save
from core.models.train import Trained


@pytest.fixture(scope="session")
def market() -> Panel:
    """1,200 bars, of which models are trained on the first 900."""
    return synthetic_panel(7, 1200, ("BTC", "ETH", "SOL", "XRP"))


@pytest.fixture(scope="session")
def trained(market: Panel) -> Trained:
    return trained_on(market.slice(0, 900))


@pytest.fixture
def bundle(trained: Trained, tmp_path: Path) -> Bundle:
    """A bundle of its own, to be spoilt."""
    return save(tmp_path, *trained)
