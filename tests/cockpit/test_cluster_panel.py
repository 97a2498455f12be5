"""The cluster panel, one asset's detail, and positions of a single leg."""

from pathlib import Path

import pytest
from driver import ROOMY, SMALL, cockpit, replace
from rich.cells import cell_len
from scene import PRICES, Scene

from cockpit.screens.cluster import ClusterScreen
from cockpit.widgets.clusters import ClustersPanel
from cockpit.widgets.pairs import direction
from core.domain.snapshot import CORE, DRIFTING, Clusters, standing


def table(count: int) -> Clusters:
    """`count` assets in ten clusters, the last without a feature."""
    rows = range(count)
    last = count - 1
    return Clusters(
        "model", [f"A{i:03}" for i in rows], [i * 7 % 10 if i < last else -1 for i in rows], [0.9 for _ in rows],
        gate=[0.9 if i < last else 0.0 for i in rows], residual=[(i * 37 % 101 - 50) / 25 for i in rows],
        signal=[0.0] * count, weight=[0.0] * count, held=[0.0] * count,
        cluster_before=[i * 7 % 10 if i < last else -1 for i in rows], gate_before=[0.9] * last + [0.0],
    )  # fmt: skip


def test_a_single_asset_is_worded_without_a_second_leg() -> None:
    assert [direction("BTC", side, True) for side in (1, -1, 0)] == ["long BTC", "short BTC", "·"]
    assert [direction("BTC", side, False) for side in (1, -1)] == ["↑BTC", "↓BTC"]


def test_the_edges_of_core_and_drifting_belong_below() -> None:
    assert [standing(gate) for gate in (1.0, CORE, DRIFTING, 0.0)] == ["core", "drifting", "out", "out"]


@pytest.mark.parametrize("size", [SMALL, ROOMY])
async def test_each_assets_cluster_similarity_state_residual_and_signal_are_told(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    async with cockpit(tmp_path, size, Scene(learned=True)) as it:
        if size == SMALL:
            await it.press("6")
        panel = it.board.board.panels["clusters"]
        lines = it.text(panel).splitlines()
        told = it.engine.scene.clusters()
        for i, asset in enumerate(PRICES):
            line = next(line for line in lines if asset in line.split()[0])
            for word in (str(told.cluster[i]), f"{told.similarity[i]:.2f}", standing(told.gate[i])):
                assert word in line, (asset, word)
            assert f"{told.residual[i]:+.2f}" in line
        assert "-0.87" in next(line for line in lines if "LINK" in line)
        head = lines[0]
        for title in ("resid", "signal", "sim"):
            end = head.index(title) + len(title)
            numbers = {line[end - 1] for line in lines[1 : len(PRICES) + 1]}
            assert numbers <= set("0123456789·"), f"{title} is aligned on its right"
        assert "7 core, 2 drifting, 1 out" in str(panel.border_subtitle) + str(panel.border_title)


async def test_assets_stand_by_cluster_and_then_by_residual(tmp_path: Path) -> None:
    async with cockpit(tmp_path, ROOMY, Scene(learned=True)) as it:
        panel = it.board.board.panels["clusters"]
        assert isinstance(panel, ClustersPanel)
        assert panel.names() == ["AVAX", "BTC", "ETH", "SOL", "LINK", "ADA", "BNB", "XRP", "DOT", "DOGE"]


async def test_what_changed_since_the_last_bar_is_marked_until_the_next(tmp_path: Path) -> None:
    async with cockpit(tmp_path, ROOMY, Scene(learned=True)) as it:
        panel, scene = it.board.board.panels["clusters"], it.engine.scene
        lines = {line.split()[0].lstrip("▸"): line for line in it.text(panel).splitlines()}
        assert "•1" in lines["DOT"] and "•drifting" in lines["DOT"] and "in 0 core" in lines["DOT"]
        assert "•drifting" in lines["AVAX"] and "•0" not in lines["AVAX"]
        assert sum("•" in line for line in lines.values()) == 2
        told = scene.clusters()
        still = replace(told, cluster_before=told.cluster, gate_before=told.gate)
        scene.clusters = lambda: still  # type: ignore[method-assign]
        await it.publish()
        await it.until(lambda: "•" not in it.text(panel))


@pytest.mark.parametrize("count", [10, 100, 500])
async def test_from_ten_to_five_hundred_assets(tmp_path: Path, count: int) -> None:
    scene = Scene(learned=True)
    scene.held = False
    told = table(count)
    scene.clusters = lambda: told  # type: ignore[method-assign]
    async with cockpit(tmp_path, SMALL, scene) as it:
        await it.press("6", "G")
        panel = it.board.board.panels["clusters"]
        text = it.text(panel)
        assert told.asset[-1] in text and "unknown" in text, "what has no feature comes last"
        await it.press("g", *["pagedown"] * 3)
        assert isinstance(panel, ClustersPanel) and panel.chosen in it.text(panel)
        for width in (30, 38, 51, 80, 160):
            for line in (panel.head(0, width), panel.line(0, width)):
                assert sum(cell_len(text) for text, _ in line) <= max(width, 40)


@pytest.mark.parametrize("size", [SMALL, ROOMY])
async def test_enter_shows_the_asset_against_its_clusters(tmp_path: Path, size: tuple[int, int]) -> None:
    async with cockpit(tmp_path, size, Scene(learned=True)) as it:
        await it.press("6", "j", "j", "j", "j", "enter")
        screen = it.app.screen
        assert isinstance(screen, ClusterScreen) and screen.asset == "LINK"
        await it.until(lambda: screen.panel.trail is not None)
        text = it.text()
        for word in ("LINK  cluster 1  core", "residual +2.62", "held -8.74%, wanted -8.71%", "within the band",
                     "±2.03 and ±3.94", "+3.94", "-2.03", "2024-08-08 13:00", "120 bars", "gate"):  # fmt: skip
            assert word in text, word
        assert any(0x2800 < ord(c) < 0x2900 for c in text), "lines are drawn"
        await it.press("j")
        await it.until(lambda: screen.panel.trail is not None and screen.panel.trail.asset == "ADA")
        await it.press("escape")
        panel = it.board.board.panels["clusters"]
        assert it.app.screen is it.board and isinstance(panel, ClustersPanel) and panel.chosen == "ADA"
        assert not it.engine.acted, "looking changes nothing"


async def test_the_detail_is_asked_for_only_when_looked_at_and_again_with_a_bar(tmp_path: Path) -> None:
    async with cockpit(tmp_path, ROOMY, Scene(learned=True)) as it:
        scene = it.engine.scene

        def asked() -> int:
            return sum(command.name == "trail" for command in it.engine.seen)

        await it.publish(latency_ms=9.0)
        assert asked() == 0
        await it.press("6", "enter")
        await it.until(lambda: asked() == 1)
        await it.publish(latency_ms=8.0)
        assert asked() == 1, "the table has not changed"
        later = replace(scene.clusters(), residual=[0.0] * len(PRICES))
        scene.clusters = lambda: later  # type: ignore[method-assign]
        await it.publish()
        await it.until(lambda: asked() == 2)


async def test_without_a_model_there_is_no_detail(tmp_path: Path) -> None:
    async with cockpit(tmp_path, ROOMY) as it:
        await it.press("6", "j", "enter")
        assert it.app.screen is it.board


@pytest.mark.parametrize("size", [SMALL, ROOMY])
async def test_a_single_asset_is_a_position_like_any(tmp_path: Path, size: tuple[int, int]) -> None:
    async with cockpit(tmp_path, size, Scene(learned=True)) as it:
        await it.press("2", "m", "G")
        text = it.text(it.board.positions)
        assert "▸LINK" in text and "42.00" in text and "z+0.00→+2.62" in text.replace(" ", "")
        assert "stop -0.0%" not in text and "+0.0%" not in text, "a stop that it has not is not shown"
        await it.press("c")
        said = it.text()
        assert "close LINK?" in said and "short LINK" in said and "buy  42.00 LINK" in said
        assert "It is sold or bought back" in said and "Both legs" not in said
