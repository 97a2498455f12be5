"""`python -m core.backtest`: the command line, its exit codes, the data and period it is given, what it keeps."""

import json
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.backtest.__main__ import main
from core.clock import iso
from core.data.importer import OHLCV
from core.data.lake import Lake
from core.data.panel import Panel
from core.data.synthetic import HOUR_MS, START_MS, synthetic_panel
from core.data.tables import Rows
from core.domain.backtest import BASELINES, Document

ASSETS = ("BTC", "ETH", "SOL")
BARS, TRAIN = 520, 400
WORDS = ("--train-bars", str(TRAIN))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home and a working folder of its own, three assets, a short synthetic market."""
    monkeypatch.chdir(tmp_path)
    named = {"HOME": tmp_path / "home", "UNIVERSE__ASSETS": ",".join(ASSETS), "DEMO__MARKET_BARS": BARS}
    for name, value in named.items():
        monkeypatch.setenv(f"COCKPIT_{name}", str(value))
    return tmp_path / "home"


class Shell:
    """Runs the command and keeps what it said."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.code, self.out, self.err = 0, "", ""

    def __call__(self, *words: str) -> Document:
        """The document of a run that succeeds."""
        self.ask(*words)
        assert self.code == 0, self.err
        return msgspec.json.decode(self.out, type=Document)

    def refusal(self, *words: str) -> str:
        """The one line with which a run is refused: its last on stderr, with nothing on stdout."""
        self.ask(*words)
        assert self.code and not self.out
        line = self.err.splitlines()[-1]
        assert not line.startswith("{"), "no reason was given"
        return line

    def ask(self, *words: str) -> None:
        try:
            self.code = main([*words])
        except SystemExit as gone:  # argparse
            self.code = int(gone.code or 0)
        self.out, self.err = self._capsys.readouterr()


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


def keep(lake: Path, panel: Panel, name: str = "perp") -> str:
    """Write the panel into a lake; the hash of its manifest."""
    t, i = np.nonzero(panel.valid)
    candles = Rows(
        "made", panel.assets, panel.assets, panel.ts[t], i, {field: getattr(panel, field)[t, i] for field in OHLCV}
    )
    return Lake(lake).write(name, candles, panel.bar_ms, None, venue="okx").hash


# -- a run -----------------------------------------------------------------------------------------------------


def test_one_line_of_json_comes_out_and_progress_beside_it(shell: Shell) -> None:
    told = shell("zscore", *WORDS)
    assert (told.strategy, told.engine, told.metrics.bars) == ("zscore", "events", BARS - TRAIN)
    assert shell.out.count("\n") == 1 and told.digest and told.metrics.trades.count > 5
    steps = [json.loads(line) for line in shell.err.splitlines()]
    shares = [step["progress"] for step in steps]
    assert (
        shares == sorted(shares) and shares[0] == 0.0 and shares[-1] <= 1.0 and all(step["text"] for step in steps)
    )
    assert told.source.first_ms == START_MS + TRAIN * HOUR_MS and told.source.name == "synthetic, seed 7"
    assert told.assumptions["signals"] == "decided at a bar's close, filled from the next open on"


def test_the_same_words_give_the_same_run_and_another_seed_another(shell: Shell) -> None:
    one, same, other = (shell("zscore", *WORDS, "--seed", seed) for seed in ("5", "5", "6"))
    assert one.digest == same.digest != other.digest and one.metrics == same.metrics
    assert (one.seed, other.seed) == (5, 6)


def test_both_engines_are_to_be_had(shell: Shell) -> None:
    exact, fast = (shell("zscore", *WORDS, "--engine", engine) for engine in ("events", "vectorised"))
    assert (exact.engine, fast.engine) == ("events", "vectorised")
    assert fast.metrics.trades.count == pytest.approx(exact.metrics.trades.count, abs=3)


def test_parameters_are_set_by_their_name(shell: Shell) -> None:
    usual, calm = (
        shell("zscore", *WORDS),
        shell("zscore", *WORDS, "--set", "z_entry=2.5", "--set", " horizon_bars = 5"),
    )
    assert (usual.params["z_entry"], calm.params["z_entry"], calm.params["horizon_bars"]) == (1.0, 2.5, 5)
    assert calm.metrics.trades.count < usual.metrics.trades.count


def test_assumptions_are_those_of_the_configuration(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('[backtest]\nfees = "none"\nslippage = "flat:9"\nlatency = "50"\n')
    told = shell("zscore", *WORDS, "--config", str(tmp_path / "mine.toml"))
    assert told.assumptions["slippage"] == "flat:9: spread 9 bp around the mark, at any size"
    assert told.metrics.money.fees == 0.0 and told.metrics.money.slippage < 0.0


@pytest.mark.parametrize("name", BASELINES)
def test_baselines_run_by_their_own_name(name: str, shell: Shell) -> None:
    told = shell(name, *WORDS)
    assert (told.strategy, told.engine, told.compared) == (name, "vectorised", ())


def test_the_baselines_stand_beside_where_they_are_asked_for(shell: Shell) -> None:
    told = shell("zscore", *WORDS, "--compare")
    assert [other.strategy for other in told.compared] == [*BASELINES, "btc-eth-regime"]
    told = shell("rsi", *WORDS, "--compare")
    assert told.strategy == "rsi" and "rsi" not in [other.strategy for other in told.compared]
    assert len(told.compared) == len(BASELINES)


def test_real_quotes_are_met_where_a_file_is_given(shell: Shell, tmp_path: Path) -> None:
    panel = synthetic_panel(7, BARS, ASSETS)
    t, i = np.nonzero(panel.valid)
    price = panel.open[t, i]
    prices = {"bid": price * 0.9999, "ask": price * 1.0001, "bid_qty": 1e6 / price, "ask_qty": 1e6 / price}
    symbols = [f"{ASSETS[asset]}USDT.perp" for asset in i]
    pq.write_table(pa.table({"timestamp": panel.ts[t], "symbol": symbols} | prices), tmp_path / "top.parquet")
    told = shell("zscore", *WORDS, "--book", "top.parquet#perp")
    assert told.assumptions["slippage"].startswith("the best bid and ask of top.parquet#perp")
    assert "orders met a quote of top.parquet" in told.notes[-1] and not told.notes[-1].startswith("0 ")
    assert "event-driven" in shell.refusal("zscore", *WORDS, "--book", "top.parquet", "--engine", "vectorised")
    assert "no such file" in shell.refusal("zscore", *WORDS, "--book", "nowhere.parquet")


# -- the period ------------------------------------------------------------------------------------------------


def test_trading_begins_and_ends_where_it_is_told(shell: Shell) -> None:
    first, last = START_MS + 420 * HOUR_MS, START_MS + 470 * HOUR_MS
    told = shell("zscore", "--from", iso(first), "--to", iso(last))
    assert (told.source.first_ms, told.source.last_ms) == (first, last - HOUR_MS) and told.metrics.bars == 50


def test_what_lies_before_the_start_does_not_depend_on_the_end(shell: Shell) -> None:
    begin = iso(START_MS + 420 * HOUR_MS)
    whole, part = (shell("zscore", "--from", begin, "--to", iso(START_MS + end * HOUR_MS)) for end in (510, 470))
    assert whole.curve.equity[:50] == part.curve.equity[:50]


def test_a_period_that_cannot_be_is_refused(shell: Shell) -> None:
    assert "only 24 bars of history" in shell.refusal("zscore", "--from", "2024-01-02")
    assert shell.code == 1
    line = shell.refusal("zscore", "--from", "2024-06-01")
    assert "ends before trading starts" in line and "2024-01-01T00:00Z" in line
    assert "--train-bars" in shell.refusal("zscore", "--train-bars", "600")
    assert "--to yesterday: not a date" in shell.refusal("zscore", *WORDS, "--to", "yesterday")
    assert shell.code == 2


# -- data ------------------------------------------------------------------------------------------------------


def test_data_of_the_lake_by_name_with_the_hash_it_must_have(shell: Shell, home: Path) -> None:
    panel = synthetic_panel(11, BARS, ASSETS)
    manifest = keep(home / "lake", panel)
    told = shell("zscore", *WORDS, "--data", "perp", "--manifest", manifest)
    assert (told.source.name, told.source.venue, told.source.manifest) == ("perp", "okx", manifest)
    assert told.source.content != shell("zscore", *WORDS).source.content


def test_a_manifest_that_does_not_match_is_a_hard_error(shell: Shell, home: Path) -> None:
    keep(home / "lake", synthetic_panel(11, BARS, ASSETS))
    line = shell.refusal("zscore", *WORDS, "--data", "perp", "--manifest", "0" * 64)
    assert shell.code == 1 and "0" * 64 in line and "was expected" in line


def test_a_file_that_was_altered_in_the_lake_is_a_hard_error(shell: Shell, home: Path) -> None:
    """Whether or not a hash was given: the manifest holds one of each file."""
    keep(home / "lake", synthetic_panel(11, BARS, ASSETS))
    file = next((home / "lake").rglob("*.parquet"))
    file.write_bytes(file.read_bytes()[:-9] + bytes(9))
    line = shell.refusal("zscore", *WORDS, "--data", "perp")
    assert shell.code == 1 and file.name in line


def test_data_that_is_not_there_is_named(shell: Shell) -> None:
    assert "nowhere" in shell.refusal("zscore", *WORDS, "--data", "nowhere")
    assert "nowhere.parquet: no such file" in shell.refusal("zscore", *WORDS, "--data", "nowhere.parquet")


# -- refusals --------------------------------------------------------------------------------------------------


def test_names_and_values_that_are_none_are_refused_with_what_there_is(shell: Shell) -> None:
    assert "strategy 'magic' is not known; there are divergence" in shell.refusal("magic")
    assert shell.code == 2
    assert "did you mean" in shell.refusal("zscore", "--set", "z_entri=2")
    assert "z_entry" in shell.refusal("zscore", "--set", "z_entry=-1")
    assert "fees 'cheap'" in _with(shell, "fees = 'cheap'")
    assert "slippage 'deep'" in _with(shell, "slippage = 'deep'")
    assert "latency 'fast'" in _with(shell, "latency = 'fast'")
    assert "inside" in _with(shell, "inside = 'kind'") and "adverse, replay" in shell.err


def _with(shell: Shell, line: str) -> str:
    Path("config.toml").write_text(f"[backtest]\n{line}\n")
    return shell.refusal("zscore", *WORDS)


@pytest.mark.parametrize(
    "words", [[], ["zscore", "--engine", "magic"], ["zscore", "--train-bars", "many"], ["zscore", "--fast"]]
)
def test_wrong_usage_is_two(words: list[str], shell: Shell) -> None:
    shell.ask(*words)
    assert shell.code == 2 and "usage:" in shell.err and not shell.out


def test_the_vectorised_engine_refuses_what_it_cannot_suppose(shell: Shell) -> None:
    Path("config.toml").write_text('[backtest]\nlatency = "50"\n')
    assert "event-driven" in shell.refusal("zscore", *WORDS, "--engine", "vectorised")


# -- what is kept ----------------------------------------------------------------------------------------------


def test_a_run_is_kept_with_its_report_where_that_is_asked_for(shell: Shell, home: Path) -> None:
    told = shell("zscore", *WORDS, "--keep")
    folder = home / "runs" / told.run
    assert told.run.endswith(told.run[-4:]) and "-zscore-" in told.run
    assert msgspec.json.decode((folder / "result.json").read_bytes(), type=Document) == told
    assert Path(told.report) == folder / "report.html" and (folder / "report.html").stat().st_size > 10_000
    assert folder.stat().st_mode & 0o077 == 0, "readable by its owner alone"


def test_nothing_is_kept_unasked(shell: Shell, home: Path) -> None:
    told = shell("zscore", *WORDS)
    assert (told.run, told.report) == ("", "") and not (home / "runs").exists()


def test_a_report_goes_where_it_is_told(shell: Shell, tmp_path: Path) -> None:
    told = shell("zscore", *WORDS, "--report", str(tmp_path / "mine.html"))
    page = (tmp_path / "mine.html").read_text()
    assert told.report == str(tmp_path / "mine.html") and "zscore" in page and "decided at a bar" in page


def test_every_run_counts_as_a_trial_on_its_data(shell: Shell) -> None:
    trials = [shell("zscore", *WORDS, "--set", f"z_entry={z}").statistics.trials for z in ("1.0", "1.5", "2.0")]
    assert trials == [1, 2, 3]
    assert shell("zscore", *WORDS, "--set", "z_entry=1.0").statistics.trials == 3, "the same again is no new one"


def test_a_model_is_trained_once_on_what_lies_before_the_start(
    shell: Shell, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COCKPIT_DEMO__MARKET_BARS", "1700")
    words = ("divergence", "--train-bars", "1600", "--set", "horizon_bars=12")
    told = shell(*words)
    bundles = list((home / "models").rglob("*.safetensors"))
    assert len(bundles) == 1 and told.strategy == "divergence"
    stamp = bundles[0].stat().st_mtime_ns
    assert shell(*words).digest == told.digest
    assert [file.stat().st_mtime_ns for file in (home / "models").rglob("*.safetensors")] == [stamp]
