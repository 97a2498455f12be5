"""`python -m core.research sweep`: every set counts as a trial, and the best is judged as the best of all."""

from pathlib import Path

import msgspec
import pytest

from core.domain.errors import UserError
from core.domain.sweep import Swept
from core.research import __main__ as command
from core.research.sweep import axes_of


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COCKPIT_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "small.toml"
    file.write_text('[universe]\nassets = ["BTC", "ETH", "SOL"]\n[demo]\nmarket_bars = 1500\ntrain_bars = 400\n')
    return str(file)


def run(capsys: pytest.CaptureFixture[str], *words: str) -> Swept:
    assert command.main(["sweep", "zscore", *words, "--json"]) == 0
    return msgspec.json.decode(capsys.readouterr().out, type=Swept)


def test_sets_are_ranked_and_all_counted(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    told = run(capsys, "--grid", "z_entry=1,1.5,2", "--grid", "z_window=24,48", "--config", config)
    assert len(told.sets) == told.trials == 6
    sharpes = [row.sharpe for row in told.sets]
    assert sharpes == sorted(sharpes, reverse=True)
    assert {tuple(row.params) for row in told.sets} == {("z_entry", "z_window")}
    best = told.sets[0]
    assert {key: told.best.params[key] for key in best.params} == best.params
    assert told.best.metrics.trades.count == best.trades
    assert told.best.metrics.sharpe == pytest.approx(best.sharpe)
    assert told.best.statistics.trials == 6
    assert told.overfitting is not None and told.best.statistics.overfitting == told.overfitting
    again = run(capsys, "--grid", "z_entry=1,1.25", "--config", config)
    assert again.trials == 7  # one of them had been run


def test_random_sets_come_from_the_seed(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = "--grid", "z_entry=1.0,3.0", "--trials", "5", "--config", config
    one, two = run(capsys, *words), run(capsys, *words)
    assert one.sets == two.sets and len(one.sets) == 5
    assert all(1.0 <= float(row.params["z_entry"]) <= 3.0 for row in one.sets)


def test_no_set_is_drawn_twice_and_fewer_are_told(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = "--grid", "z_entry=1,2", "--grid", "z_window=24,48", "--config", config
    told = run(capsys, *words, "--trials", "9")
    sets = {tuple(row.params.items()) for row in told.sets}
    assert len(sets) == len(told.sets) == told.trials == 4
    assert told.notes == ("9 were asked for, but there are no more than 4 sets",)
    assert run(capsys, *words, "--trials", "3").notes == ()
    assert command.main(["sweep", "zscore", *words, "--trials", "9"]) == 0
    assert told.notes[0] in capsys.readouterr().out


def test_the_text_tells_the_best_with_its_interval_and_what_luck_would_do(
    config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["sweep", "zscore", "--grid", "z_entry=1,2", "--config", config]) == 0
    out = capsys.readouterr().out
    assert "overfitting" in out and "deflated by all trials" in out and "Sharpe" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("zscore", "--grid", "z_entry"), "write it like"),
        (
            ("divergence", "--grid", "z_entri=1,2"),
            "--grid z_entri: no parameter of this strategy; did you mean z_entry",
        ),
        (("divergence", "--grid", "nonsense=1,2"), "known are base_size_usdt, budget_usdt, z_window"),
        (("divergence", "--grid", "z_entry=2,-1"), "--grid z_entry=-1: Input should be greater than 0"),
        (("zscore", "--grid", "z_exit=0,3"), "z_exit 3.0 is above z_entry 1.0"),
        (("zscore", "--trials", "0"), "at least 1"),
        (("zscore", "--on", "moon"), "moon"),
        (("rsi",), "sweep a strategy"),
    ],
)
def test_mistakes_are_told_in_one_line(
    words: tuple[str, ...], said: str, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["sweep", *words, "--config", config]) in (1, 2)
    assert said in capsys.readouterr().err.splitlines()[-1]


def test_axes_are_read_as_numbers_where_they_are_numbers() -> None:
    axes = axes_of(["z_entry=1,1.5", "stop_mode=atr, volatility"])
    assert axes == {"z_entry": (1, 1.5), "stop_mode": ("atr", "volatility")}
    with pytest.raises(UserError, match="write it like"):
        axes_of(["=1"])
