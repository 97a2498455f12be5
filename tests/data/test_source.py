"""`--data`: a file, a data set, a snapshot or a place elsewhere; what a run was fed with can be proven."""

import hashlib
from functools import partial
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from lakes import keep, refusal
from longtable import candles_of, rates_of, write

from core.data.importer import load_panel
from core.data.lake import Lake, Mode
from core.data.panel import Panel
from core.data.source import import_files, moment, open_panel, open_source
from core.data.synthetic import HOUR_MS, START_MS, synthetic_panel

ASSETS = ("BTC", "ETH", "SOL")


@pytest.fixture(scope="module")
def panel() -> Panel:
    return synthetic_panel(5, 48, ASSETS)


@pytest.fixture
def files(tmp_path: Path, panel: Panel) -> tuple[Path, Path]:
    """Candles (with a gap of two bars) and funding rates, as a user has them."""
    kept = np.ones((48, 3), np.bool_)
    kept[20:22, 1] = False
    candles = write(tmp_path / "my candles.csv", candles_of(panel, kept))
    return candles, write(tmp_path / "rates.parquet", rates_of(panel))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def test_a_data_set_opens_as_the_files_that_were_imported(lake: Lake, files: tuple[Path, Path]) -> None:
    made, notes = import_files(lake, "perp-1h", *files, venue="binance")
    opened, imported = open_panel("perp-1h", lake.root), load_panel(*files)
    assert opened.content_hash == imported.content_hash and opened.notes == imported.notes == notes
    assert "ETH lacks 2 bars" in notes[0] and made.notes == ()
    assert (made.venue, made.rows, made.funding_rows) == ("binance", 48 * 3 - 2, 6 * 3)
    assert made.sources == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_what_a_run_was_fed_with_is_on_record(lake: Lake, files: tuple[Path, Path]) -> None:
    made, _ = import_files(lake, "perp", *files, venue="binance")
    panel, of_set = open_source("perp", lake.root, None, ("SOL", "BTC"), "1h")
    assert (of_set.name, of_set.venue, of_set.manifest) == ("perp", "binance", made.hash)
    assert of_set.content == panel.content_hash
    assert of_set.files == {p.path: p.sha256 for p in made.parts if p.asset in ("SOL", "BTC")}
    again, of_file = open_source(files[0], lake.root, files[1], ("SOL", "BTC"), "1h")
    assert (of_file.name, of_file.venue, of_file.manifest) == ("my candles.csv", "", "")
    assert of_file.content == of_set.content == again.content_hash
    assert of_file.files == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_run_may_insist_on_its_manifest(lake: Lake, panel: Panel) -> None:
    made = keep(lake, panel, 0, 40)
    open_source("perp", lake.root, manifest=made.hash)
    lake.snapshot("perp", "then")
    more = keep(lake, panel, 40, 48, Mode.APPEND)
    line = refusal(lambda: open_source("perp", lake.root, manifest=made.hash))
    assert line == f"perp: the hash of its manifest is {more.hash}, but {made.hash} was expected"
    open_source("perp@then", lake.root, manifest=made.hash)


def test_a_data_set_elsewhere_is_its_folder_or_its_url(tmp_path: Path, lake: Lake, panel: Panel) -> None:
    there, far = Lake(tmp_path / "there"), Lake(f"memory://{uuid4().hex}/deep/lake")
    for one in (there, far):
        keep(one, panel)
        one.snapshot("perp", "may")
    for place in (f"{there.root}/perp", Path(there.root) / "perp", f"{there.root}/perp/", f"{far.root}/perp",
                  f"{far.root}/perp@may", f"file://{there.root}/perp"):  # fmt: skip
        opened, said = open_source(place, lake.root)
        assert opened.content_hash == panel.content_hash and said.name in ("perp", "perp@may")


def test_a_file_is_found_before_a_data_set(
    lake: Lake, files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, panel: Panel
) -> None:
    import_files(lake, "perp", *files)
    write(tmp_path / "perp.parquet", candles_of(panel)).rename(tmp_path / "perp")
    monkeypatch.chdir(tmp_path)
    assert open_source("perp", lake.root)[1].manifest == ""


def test_data_that_is_neither_is_told_with_what_there_is(lake: Lake, files: tuple[Path, Path]) -> None:
    none = refusal(lambda: open_panel("perp", lake.root))
    assert none.endswith("the lake has: none yet. Make one: cockpit data import FILE")
    import_files(lake, "perp", *files)
    assert "prep: no such file and no such data set; the lake has: perp." in refusal(
        lambda: open_panel("prep", lake.root)
    )
    assert "no such file; give a Parquet" in refusal(lambda: open_panel("../lake/perp", lake.root))
    assert f"leave --funding {files[1]} away" in refusal(lambda: open_panel("perp", lake.root, files[1]))
    assert "its bars are 1h long, not 15m" in refusal(lambda: open_panel("perp", lake.root, None, None, "15m"))
    assert "no candles of XRP; it has BTC" in refusal(lambda: open_panel("perp", lake.root, None, ("XRP",)))


@pytest.mark.parametrize("kind", ["file", "data set"])
def test_a_period_is_half_open_and_remembers_what_was_known(
    lake: Lake, files: tuple[Path, Path], panel: Panel, kind: str
) -> None:
    import_files(lake, "perp", *files)
    source, funding = (files[0], files[1]) if kind == "file" else ("perp", None)
    whole = open_panel(source, lake.root, funding)
    cut, _ = open_source(source, lake.root, funding, None, "1h", START_MS + 21 * HOUR_MS, START_MS + 30 * HOUR_MS)
    assert cut.content_hash == whole.slice(21, 30).content_hash
    assert cut.close[0, 1] == panel.close[19, 1], "ETH has no candle at its first bar: the price is the last before"
    assert (cut.funding[0] == whole.funding[20]).all()
    open_ended, _ = open_source(source, lake.root, funding, None, "1h", START_MS + 1)
    assert (open_ended.ts == whole.ts[1:]).all()
    for start, end in ((START_MS + 48 * HOUR_MS, None), (None, START_MS), (START_MS + 1, START_MS + 2)):
        line = refusal(partial(open_source, source, lake.root, funding, None, "1h", start, end))
        assert "no bar in that period; it has bars from 2024-01-01T00:00Z to 2024-01-02T23:00Z" in line


def test_bad_files_never_reach_the_lake(lake: Lake, files: tuple[Path, Path], tmp_path: Path, panel: Panel) -> None:
    columns = candles_of(panel)
    columns["close"] = np.where(np.arange(len(columns["close"])) == 7, np.nan, columns["close"])
    bad = write(tmp_path / "bad.csv", columns)
    assert "close is no finite number" in refusal(lambda: import_files(lake, "perp", bad))
    assert lake.names() == ()
    made, notes = import_files(lake, "perp", bad, drop=True)
    assert made.notes == ("left out: 1 row impossible",) and notes[0] == made.notes[0] and made.rows == 143


def test_months_are_appended_as_they_come(lake: Lake, tmp_path: Path, panel: Panel) -> None:
    for number, (start, stop) in enumerate(((0, 20), (16, 40), (40, 48))):
        part = panel.slice(start, stop)
        candles = write(tmp_path / f"{number}.parquet", candles_of(part))
        rates = write(tmp_path / f"f{number}.parquet", rates_of(part)) if number != 2 else None
        made, _ = import_files(lake, "perp", candles, rates, mode=Mode.APPEND)
    assert open_panel("perp", lake.root).close.tolist() == panel.close.tolist()
    assert list(made.sources) == ["0.parquet", "f0.parquet", "1.parquet", "f1.parquet", "2.parquet"]


def test_times_are_utc_unless_they_say_otherwise() -> None:
    hour = START_MS + 13 * HOUR_MS
    for text in ("2024-01-01T13:00", "2024-01-01T13:00Z", "2024-01-01 15:00+02:00"):
        assert moment(text, "--from") == hour
    assert moment("2024-01-01", "--from") == moment("2024-01", "--from") == START_MS
    assert moment("2024-02", "--from") == moment("2024-02-01", "--from") == START_MS + 31 * 24 * HOUR_MS


@pytest.mark.parametrize("text", ["May", "soon", "2024-13", "2024-02-30", "12345678", "2024-1", ""])
def test_what_is_no_time_is_refused_with_its_option(text: str) -> None:
    said = refusal(lambda: moment(text, "--to"), 2)
    assert said == f"--to {text}: not a date; write it like 2024-05-01 or 2024-05-01T13:00"


# -- real data ------------------------------------------------------------------------------------


def test_real_perpetuals_and_stocks_go_through_the_lake_unchanged(shared_data: Path, lake: Lake) -> None:
    files = shared_data / "perp_1h_10.parquet", shared_data / "perp_funding_10.parquet"
    made, notes = import_files(lake, "perp-1h", *files, venue="binance")
    assert (made.rows, made.funding_rows, notes) == (138_720, 17_340, ())
    assert open_panel("perp-1h", lake.root).content_hash == load_panel(*files).content_hash
    stocks, _ = import_files(lake, "sp500", shared_data / "sp500_1d_adj_close_wide.parquet")
    assert len(stocks.assets) == 463 and stocks.bar == "1d" and "closes alone" in stocks.notes[0]
