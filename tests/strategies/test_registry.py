"""The seam for strategies from outside: by a path, by an entry point, with parameters of their own."""

from pathlib import Path

import pytest
from markets import holdings, told, view
from whole_way import backtest

from core.config import Settings, load, values
from core.config.settings import STRATEGIES
from core.data.synthetic import synthetic_panel
from core.domain.errors import UserError
from core.features.pairs import FeatureParams, PairFeatures
from core.strategies.params import ClusterParams, DivergenceParams
from core.strategies.registry import OURS, strategy

EXAMPLE = Path(__file__).parent / "example_package"
ASSETS = ("BTC", "ETH", "SOL")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def settings_of(
    folder: Path, table: str = "", strategies: str = "fixed-pairs", environ: dict[str, str] | None = None
) -> Settings:
    """Settings of a file whose only strategy is an outside one."""
    file = folder / "my.toml"
    file.write_text(
        f'[universe]\nassets = ["BTC", "ETH", "SOL"]\n[engine]\nstrategies = ["{strategies}"]\n{table}\n'
    )
    return load(file, environ=environ or {})


def by_path(folder: Path, more: str = "", path: object = EXAMPLE) -> Settings:
    return settings_of(folder, f'[strategy.fixed-pairs]\npath = "{path}"\n{more}')


@pytest.fixture
def installed(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The example as an installed package offers it."""
    site = elsewhere / "site"
    info = site / "fixed_pairs-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fixed-pairs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[cockpit.strategies]\nfixed-pairs = fixed_pairs_package:STRATEGY\n")
    (site / "fixed_pairs_package").symlink_to(EXAMPLE)
    monkeypatch.syspath_prepend(str(site))
    return site


class TestFromAPath:
    def test_it_trades_through_the_trader_with_its_own_parameters(self, elsewhere: Path) -> None:
        panel = synthetic_panel(7, 900, ASSETS)
        run = backtest(
            by_path(elsewhere, 'pairs = ["BTC/SOL", "ETH/SOL"]\nentry = 1.5\nhold = 12'), panel, "fixed-pairs"
        )
        trades = run.result.trades
        assert len(trades) > 5
        assert {trade.pair for trade in trades} == {"BTC/SOL", "ETH/SOL"}
        assert max(trade.bars for trade in trades) == 12
        assert all(trade.entry.startswith("z is") for trade in trades)

    def test_parameters_are_validated_and_may_come_from_the_environment(self, elsewhere: Path) -> None:
        table = f'[strategy.fixed-pairs]\npath = "{EXAMPLE}"\nentry = 1.5'
        settings = settings_of(elsewhere, table, environ={"COCKPIT_STRATEGY__FIXED-PAIRS__WINDOW": "72"})
        params = strategy("fixed-pairs", settings).params_of(settings)
        assert params.model_dump() == {
            "base_size_usdt": 1000.0, "budget_usdt": float("inf"), "pairs": ("BTC/ETH",), "entry": 1.5,
            "window": 72, "hold": 24,
        }  # fmt: skip
        assert settings.origin("strategy.fixed-pairs.window") == "environment COCKPIT_STRATEGY__FIXED-PAIRS__WINDOW"
        assert values(settings)["strategy.fixed-pairs.entry"] == 1.5
        assert strategy("fixed-pairs", settings).features_of(settings).params.z_window == 72

    def test_a_path_is_relative_to_the_file_that_names_it(self, elsewhere: Path) -> None:
        (elsewhere / "mine").symlink_to(EXAMPLE)
        assert strategy("fixed-pairs", by_path(elsewhere, path="mine")).name == "fixed-pairs"

    @pytest.mark.parametrize(
        ("more", "said"),
        [
            ("entry = -1", "strategy.fixed-pairs.entry = -1: allowed is a number above 0"),
            ("window = 2.5", "strategy.fixed-pairs.window = 2.5: allowed is a whole number from 3"),
            ("entri = 2", "strategy.fixed-pairs.entri: unknown key; did you mean strategy.fixed-pairs.entry?"),
        ],
    )
    def test_a_mistake_in_its_table_is_named_like_one_in_ours(self, elsewhere: Path, more: str, said: str) -> None:
        settings = by_path(elsewhere, more)
        with pytest.raises(UserError) as caught:
            strategy("fixed-pairs", settings).params_of(settings)
        assert str(caught.value) == f"{elsewhere / 'my.toml'}: {said}"

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            (None, "no such file; give a .py file or a package's folder"),
            ("STRATEGI = 1", "holds no STRATEGY; define one"),
            ("STRATEGY = 1", "offers a int, not a core.strategies.registry.Strategy"),
            (
                "import nowhere_to_be_found",
                "cannot be loaded: ModuleNotFoundError: No module named 'nowhere_to_be_found'",
            ),
            (
                "from core.strategies.registry import Strategy\nSTRATEGY = Strategy(name='other', decide=print)",
                "is named 'other'; call it by that name",
            ),
        ],
    )
    def test_a_file_that_offers_no_such_strategy_is_refused(
        self, elsewhere: Path, text: str | None, said: str
    ) -> None:
        if text is not None:
            (elsewhere / "mine.py").write_text(text)
        with pytest.raises(UserError) as caught:
            strategy("fixed-pairs", by_path(elsewhere, path="mine.py"))
        assert "mine.py" in str(caught.value) and said in str(caught.value) and "\n" not in str(caught.value)


class TestDefaultFeatures:
    def test_parameters_without_windows_see_the_pairs_through_the_usual_ones(self, elsewhere: Path) -> None:
        (elsewhere / "mine.py").write_text(
            "from core.strategies.params import Params\n"
            "from core.strategies.registry import Strategy\n"
            "class Mine(Params):\n    z_window: int = 48\n"
            "STRATEGY = Strategy(name='fixed-pairs', decide=print, params=Mine)\n"
        )
        settings = by_path(elsewhere, path="mine.py")
        features = strategy("fixed-pairs", settings).features_of(settings)
        assert isinstance(features, PairFeatures)
        assert features.params == FeatureParams(z_window=48)


class TestInstalled:
    @pytest.mark.usefixtures("installed")
    def test_it_is_known_by_its_entry_point_and_trades_alike(self, elsewhere: Path) -> None:
        panel = synthetic_panel(7, 700, ASSETS)
        table = "[strategy.fixed-pairs]\nentry = 1.5"
        one, other = (
            backtest(settings_of(elsewhere, table), panel, "fixed-pairs"),
            backtest(by_path(elsewhere, "entry = 1.5"), panel, "fixed-pairs"),
        )
        assert one.result.trades and one.result.digest == other.result.digest

    @pytest.mark.usefixtures("installed")
    def test_it_is_told_among_those_there_are(self) -> None:
        with pytest.raises(UserError, match="there are divergence, zscore, btc-eth-regime, cluster, fixed-pairs"):
            strategy("unheard-of")


class TestTheSettings:
    def test_a_strategy_that_nobody_offers_cannot_be_run(self, elsewhere: Path) -> None:
        with pytest.raises(
            UserError, match=r"engine.strategies = \['fixed-pairs'\]: allowed is a list of divergence"
        ) as caught:
            settings_of(elsewhere)
        assert "[strategy.fixed-pairs] has a path" in str(caught.value)

    def test_a_table_of_a_strategy_that_nobody_offers_is_a_slip_of_the_pen(self, elsewhere: Path) -> None:
        with pytest.raises(UserError, match=r"strategy\.divergense\.z_entry: unknown key"):
            settings_of(elsewhere, "[strategy.divergense]\nz_entry = 1.0", "divergence")

    def test_the_names_that_the_settings_know_are_those_of_the_rules(self) -> None:
        assert tuple(rule.name for rule in OURS) == STRATEGIES
        assert {strategy(name).params for name in STRATEGIES} == {DivergenceParams, ClusterParams}


class TestTheBaseline:
    def test_btc_eth_regime_is_the_rule_on_that_one_pair(self) -> None:
        z = {"BTC/ETH": 1.5, "SOL/XRP": 3.0}
        decision = strategy("btc-eth-regime").decide(view(z), holdings(), DivergenceParams())
        assert decision.strategy == "btc-eth-regime"
        assert [entry.pair for entry in decision.entries] == ["BTC/ETH"]
        assert set(told(decision).values()) == {"entered", "not a pair of this strategy"}
        quiet = strategy("btc-eth-regime").decide(view({"SOL/XRP": 3.0}), holdings(), DivergenceParams())
        assert (quiet.entries, quiet.text) == ((), "BTC/ETH: |z| is not above 1")

    def test_it_needs_both_assets(self) -> None:
        settings = load(options={"universe.assets": ["BTC", "SOL"]}, environ={})
        with pytest.raises(UserError, match="trades BTC, ETH: add ETH to"):
            strategy("btc-eth-regime").params_of(settings)
