"""The dashboard's panels. A panel names its topics, its title and how its lines are drawn; `PANELS` lists them."""

from cockpit.widgets.clusters import ClustersPanel
from cockpit.widgets.equity import EquityPanel
from cockpit.widgets.health import HealthPanel
from cockpit.widgets.log import LogPanel
from cockpit.widgets.market import StreamsPanel
from cockpit.widgets.pairs import PairsPanel
from cockpit.widgets.panel import Panel
from cockpit.widgets.positions import PositionsPanel

PANELS: dict[str, type[Panel]] = {
    "pairs": PairsPanel,
    "positions": PositionsPanel,
    "equity": EquityPanel,
    "log": LogPanel,
    "streams": StreamsPanel,
    "clusters": ClustersPanel,
    "health": HealthPanel,
}
"""Every panel by its id. The place in this table is the digit that jumps to it."""
