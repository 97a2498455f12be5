"""The audit of the cluster strategy: passes with the model trained for it, fails one that has seen the test."""

from pathlib import Path

import msgspec
import pytest

from core.backtest.result import Result
from core.backtest.weights import run_weights
from core.data.panel import Panel
from core.data.synthetic import synthetic_panel
from core.domain.audit import Audit
from core.research import __main__ as command
from core.research import audit as audits
from core.research.accounting import accounting
from core.research.audit import Scope
from core.strategies.params import ClusterParams
from tests.backtest.tapes import replay, source_of
from tests.backtest.test_weights import FLAT
from tests.strategies.made_clusters import cluster_trader, made_bundle

BARS, TRAINED = 1900, 900
ASSETS = ("BTC", "ETH", "SOL", "XRP")
CONFIG = f"""
[universe]
assets = ["BTC", "ETH", "SOL", "XRP"]
[demo]
market_bars = {BARS}
train_bars = {TRAINED}
[train.cluster]
n_clusters = 2
window = 24
threshold = 0.8
similarity_threshold = 0.1
epochs = 3
"""


@pytest.fixture(autouse=True)
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COCKPIT_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(audits, "COMPILED", Scope(4, 300, 400))
    (tmp_path / "config.toml").write_text(CONFIG)


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Audit, list[str]]:
    code = command.main(["audit", "cluster", *words, "--json"])
    out, err = capsys.readouterr()
    return code, msgspec.json.decode(out, type=Audit), err.splitlines()


def test_integrity_passes_with_the_trained_model(capsys: pytest.CaptureFixture[str]) -> None:
    code, told, _ = run(capsys)
    assert (code, told.integrity.passed) == (0, True), told.integrity.findings
    names = {check.name for check in told.integrity.checks}
    assert {"look-ahead", "warm-up", "train/serve", "decisions", "model", "runs", "accounting", "ledger"} <= names
    assert told.engine == "vectorised"
    assert told.edge.runs[0].trades > 20


def test_a_model_that_has_seen_the_test_fails(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    seen = made_bundle(tmp_path / "models", synthetic_panel(7, BARS, ASSETS), TRAINED + 200)
    code, told, errors = run(capsys, "--model", str(seen.path))
    assert code == 1 and "has seen the test" in errors[-1]
    assert [finding.fault for finding in told.integrity.findings if "has seen the test" in finding.fault]


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> tuple[Panel, Result]:
    """A run with positions that grow and shrink."""
    panel = synthetic_panel(7, 900, ASSETS)
    trader = cluster_trader(made_bundle(tmp_path_factory.mktemp("models"), panel, 450), panel, ClusterParams())
    return panel, run_weights(trader, replay(panel, 450), 1e5, FLAT, source_of(panel, 450))


def test_the_books_of_sizes_that_change_add_up(result: tuple[Panel, Result]) -> None:
    panel, honest = result
    assert accounting(honest, panel).findings == ()


def test_a_profit_that_was_not_made_is_named(result: tuple[Panel, Result]) -> None:
    panel, honest = result
    most = max(range(len(honest.trades)), key=lambda k: honest.trades[k].bars)
    trade = honest.trades[most]
    wrong = msgspec.structs.replace(trade, price=trade.price + 0.02 * trade.gross)
    trades = (*honest.trades[:most], wrong, *honest.trades[most + 1 :])
    findings = accounting(msgspec.structs.replace(honest, trades=trades), panel).findings
    assert any(found.name == trade.pair and "a price profit of" in found.fault for found in findings)
