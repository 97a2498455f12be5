"""What a terminal is told of the clusters: the model's own words, bar by bar, beside another strategy."""

import math
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from core.compose import make_trader
from core.domain.snapshot import Clusters
from core.engine.clusters import KEPT
from core.execution.risk import Limits
from core.strategies.registry import strategy
from core.trader import Trader
from tests.engine.desk import ASSETS, HISTORY, Desk
from tests.strategies.made_clusters import made_bundle, made_model


class ClusterDesk(Desk):
    """The cluster strategy beside the z-score rule, on one account."""

    def beside(self, limits: Limits) -> list[Trader]:
        bundle = made_bundle(self.settings.paths.models, self.venue.panel, HISTORY)
        return [make_trader(self.settings, strategy("cluster"), bundle, self.venue.instruments, limits)]

    def clusters(self) -> Clusters:
        return self.view().clusters


@pytest_asyncio.fixture
async def both(tmp_path: Path) -> AsyncIterator[ClusterDesk]:
    options = {"engine__strategies": ["zscore", "cluster"], "strategy__cluster__band": 0.001}
    made = ClusterDesk(tmp_path / "home", None, **options)
    await made.open()
    yield made
    await made.close()


async def until_held(desk: ClusterDesk) -> str:
    """Bars until the cluster strategy holds something: the asset."""
    for _ in range(200):
        await desk.bars()
        for book in desk.books.open_books():
            if book.strategy == "cluster":
                return book.pair
    raise AssertionError("the market gave no occasion in 200 bars")


async def test_rows_are_the_models(both: ClusterDesk) -> None:
    await both.bars(3)
    shown, view = both.clusters(), both.engine.views["cluster"]
    assert shown.learned and shown.method.startswith("model ") and shown.asset == list(ASSETS)
    for name in ("cluster", "similarity", "gate", "residual", "signal", "weight"):
        assert getattr(shown, name) == pytest.approx(view.column(name).tolist(), abs=1e-4), name
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(shown), type=Clusters) == shown


async def test_beside_them_stands_what_was_so_a_bar_ago(both: ClusterDesk) -> None:
    seen = []
    for _ in range(30):
        await both.bars()
        shown = both.clusters()
        seen.append((shown.cluster, shown.gate, shown.cluster_before, shown.gate_before))
    for (cluster, gate, _, _), (_, _, cluster_before, gate_before) in pairwise(seen):
        assert (cluster_before, gate_before) == (cluster, gate)
    assert any(cluster != before for cluster, _, before, _ in seen), "an asset changed its cluster in 30 bars"


async def test_between_bars_only_what_is_held_may_change(both: ClusterDesk) -> None:
    asset = await until_held(both)
    shown, view = both.clusters(), both.engine.views["cluster"]
    book = next(book for book in both.books.open_books() if book.strategy == "cluster" and book.pair == asset)
    (leg,) = book.legs
    value = float(leg.size * leg.contract) * float(view.close[ASSETS.index(asset)])
    assert shown.held[ASSETS.index(asset)] == pytest.approx(value / 20_000, abs=1e-4) != 0
    await both.ask("flatten")
    after = both.clusters()
    assert after.held == [0.0, 0.0] and msgspec.structs.replace(after, held=shown.held) == shown


async def test_a_held_asset_is_a_position_of_one_leg(both: ClusterDesk) -> None:
    asset = await until_held(both)
    row = next(row for row in both.view().positions if row.strategy == "cluster" and row.pair == asset)
    assert [leg.asset for leg in row.legs] == [asset] and row.side == (1 if row.legs[0].units > 0 else -1)
    assert row.z_now == pytest.approx(float(both.engine.views["cluster"].column("residual")[ASSETS.index(asset)]))
    assert both.view().pairs.name == ["BTC/ETH"], "pairs stay those of the strategy that trades pairs"


async def test_a_trail_is_asked_for_by_name_and_bounded(both: ClusterDesk) -> None:
    await both.bars(5)
    trail = (await both.ask("trail", "ETH")).trail
    assert trail is not None and (trail.asset, len(trail.ts)) == ("ETH", KEPT)
    view = both.engine.views["cluster"]
    assert trail.ts[-1] == view.ts and trail.ts == sorted(set(trail.ts))
    assert trail.z[-1] == pytest.approx(float(view.column("z")[1]), abs=1e-4)
    assert trail.consensus[-1] == pytest.approx(float(view.column("consensus")[1]), abs=1e-4)
    assert (trail.threshold, trail.stop_threshold) == (made_model().threshold, made_model().stop_threshold)
    decision = both.engine.outcomes["cluster"].decision
    assert trail.why in decision.texts or "ETH" in dict(both.engine.outcomes["cluster"].refused)
    refused = await both.ask("trail", "DOGE")
    assert not refused.ok and "DOGE: not in this universe, like BTC" in refused.message


async def test_without_a_model_there_is_no_trail(desk: Desk) -> None:
    refused = await desk.ask("trail", "BTC")
    assert not refused.ok and "--strategy cluster" in refused.message


async def test_a_single_asset_is_not_opened_by_hand_but_closed(both: ClusterDesk) -> None:
    refused = await both.ask("preview", "BTC", 1)
    assert not refused.ok and "cluster sizes single assets itself" in refused.message
    asset = await until_held(both)
    ticket = (await both.ask("preview", asset)).ticket
    assert ticket is not None and [leg.asset for leg in ticket.legs] == [asset]
    assert (await both.ask("close", asset)).ok
    assert not [book for book in both.books.open_books() if (book.strategy, book.pair) == ("cluster", asset)]


async def test_alone_it_shows_single_assets_where_pairs_would_stand(both: ClusterDesk) -> None:
    await both.bars(3)
    both.engine.traders = both.engine.traders[1:]
    pairs, decision = both.view().pairs, both.engine.outcomes["cluster"].decision
    assert pairs.name == list(ASSETS) and pairs.direction == decision.direction.tolist()
    assert pairs.z == pytest.approx(both.engine.views["cluster"].column("residual").tolist(), abs=1e-4)
    assert pairs.funding == both.engine.views["cluster"].funding.tolist()
    assert all(math.isnan(value) for value in pairs.correlation), "a single asset correlates with nothing"
    refused = await both.ask("preview", "BTC", 1)
    assert not refused.ok and "no opening by hand" in refused.message
