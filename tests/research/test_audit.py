"""`python -m core.research audit`: passes what ships, fails what peeks and names the cause; tells the edge."""

import json
from pathlib import Path

import msgspec
import pytest

from core.data.synthetic import synthetic_panel
from core.domain.audit import Audit
from core.domain.backtest import BASELINES
from core.features.pairs import PairFeatures
from core.models import bundle as bundles
from core.models.labels import LabelRule
from core.models.train import Recipe, train
from core.research import __main__ as command
from core.research import audit as audits
from core.research.audit import Scope

OUTSIDE = Path(__file__).parent / "outside"
BARS, TRAINED = 3200, 2200
ASSETS = ("BTC", "ETH", "SOL", "XRP")


@pytest.fixture(autouse=True)
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home of its own, and as much work as a test may make."""
    monkeypatch.setenv("COCKPIT_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(audits, "COMPILED", Scope(6, 900, 1500))
    monkeypatch.setattr(audits, "BY_EVENTS", Scope(3, 500, 700))
    monkeypatch.setattr(audits, "SHORT", 300)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model of the bars before the test."""
    panel = synthetic_panel(7, BARS, ASSETS).slice(0, TRAINED)
    recipe = Recipe(label=LabelRule(horizon=48), trees=10, jobs=1)
    trained = train(panel, PairFeatures(ASSETS), recipe, "synthetic", lambda done, text: None)
    return bundles.save(tmp_path_factory.mktemp("models"), *trained).path


def config(folder: Path, more: str = "") -> Path:
    """Four assets of the synthetic market."""
    file = folder / "small.toml"
    file.write_text(
        f'[universe]\nassets = ["BTC", "ETH", "SOL", "XRP"]\n[demo]\nmarket_bars = {BARS}\ntrain_bars = {TRAINED}\n'
        f"[strategy.divergence]\nhorizon_bars = 48\n{more}"
    )
    return file


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Audit, list[str]]:
    code = command.main(["audit", *words, "--json"])
    out, err = capsys.readouterr()
    return code, msgspec.json.decode(out, type=Audit), err.splitlines()


@pytest.mark.parametrize("name", ["zscore", "btc-eth-regime", "divergence"])
def test_what_ships_passes(name: str, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, told, err = run(capsys, name, "--config", str(config(tmp_path)), "--model", str(bundle))
    assert told.integrity.passed, told.integrity.findings
    assert code == 0
    checks = [check.name for check in told.integrity.checks]
    model = ["model"] if name == "divergence" else []
    usual = ["look-ahead", "warm-up", "train/serve", "decisions", *model, "runs", "accounting", "ledger"]
    assert checks == usual
    assert told.engine == "vectorised"
    assert told.edge.placebo.clean and told.edge.planted.honest
    assert told.edge.planted.found_it
    said = [json.loads(line) for line in err]
    assert said[0]["progress"] == 0.0 and said[-1]["progress"] == 1.0
    assert [line["progress"] for line in said] == sorted(line["progress"] for line in said)


@pytest.mark.parametrize("name", BASELINES)
def test_baselines_pass(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, told, _ = run(capsys, name, "--config", str(config(tmp_path)))
    assert code == 0 and told.integrity.passed, told.integrity.findings
    assert told.edge.placebo.clean and told.edge.planted.honest


def test_a_planted_look_ahead_fails_and_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = config(tmp_path, f'[strategy.foresight]\npath = "{OUTSIDE / "foresight.py"}"\n')
    code, told, err = run(capsys, "foresight", "--config", str(file))
    assert code == 1 and not told.integrity.passed
    (finding,) = told.integrity.checks[0].findings
    assert finding.name == "z_score"
    assert finding.where.startswith("foresight.py:22: ") and "np.roll" in finding.where
    assert "up to t+3" in finding.fault or "t+3" in finding.fault
    assert "`roll` by a negative number" in finding.mend
    assert err[-1].startswith("foresight: integrity failed: z_score at ") and "To mend: " in err[-1]
    assert told.engine == "events"  # its own features, bar by bar
    failed = {check.name for check in told.integrity.checks if not check.passed}
    assert "train/serve" in failed  # live, it cannot know


def test_a_table_by_date_fails_and_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = config(tmp_path, f'[strategy.almanac]\npath = "{OUTSIDE / "almanac.py"}"\n')
    code, told, _ = run(capsys, "almanac", "--config", str(file))
    assert code == 1
    (finding,) = told.integrity.checks[0].findings
    assert finding.name == "z_score" and "looks something up by its date" in finding.fault
    assert finding.where.startswith("almanac.py:") and "z_score" in finding.where


def test_a_model_that_has_seen_the_test_fails(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = config(tmp_path)
    code, told, err = run(
        capsys, "divergence", "--config", str(file), "--model", str(bundle), "--train-bars", "1500"
    )
    assert code == 1
    (finding,) = told.integrity.findings
    assert "has seen the test" in finding.fault and "test from 2024-0" in finding.mend
    assert bundle.name in err[-1]


def test_the_first_run_counts_as_a_trial_and_the_others_do_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(config(tmp_path))
    assert run(capsys, "rsi", "--config", file)[1].edge.trials == 1
    assert run(capsys, "rsi", "--config", file)[1].edge.trials == 1
    assert run(capsys, "ma-cross", "--config", file)[1].edge.trials == 2


def test_the_text_tells_findings_and_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["audit", "zscore", "--config", str(config(tmp_path))]) == 0
    out = capsys.readouterr().out
    assert "INTEGRITY   passed" in out and "EDGE        " in out
    assert "one bar later" in out and "at twice the costs" in out
    assert "placebo" in out and "planted edge" in out and "taker 0.0500%" in out
    assert "2024-" in out  # the period


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nonsense",), "strategy 'nonsense' is not known"),
        (("zscore", "--to", "2024-02-01"), "ends before trading starts"),
        (("zscore", "--set", "z_entry=-1"), "z_entry"),
    ],
)
def test_mistakes_are_told_in_one_line(
    words: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["audit", *words, "--config", str(config(tmp_path))]) in (1, 2)
    assert said in capsys.readouterr().err.splitlines()[-1]


def test_on_real_data_what_ships_passes(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = (
        "--data",
        str(shared_data / "perp_1h_10.parquet"),
        "--funding",
        str(shared_data / "perp_funding_10.parquet"),
    )
    code, told, _ = run(capsys, "zscore", *files, "--to", "2025-01-01")
    assert code == 0, told.integrity.findings
    assert told.edge.verdict == "none"
