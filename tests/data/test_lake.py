"""The lake: rows come back as they were written, and a data set is proven unchanged whenever it is read."""

import json
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

import msgspec
import numpy as np
import pyarrow.dataset
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lakes import candles_in, keep, rates_in, refusal
from longtable import OHLCV

from core.clock import wall_ms
from core.data.lake import Lake, Mode
from core.data.manifest import Manifest, encode, manifest_hash
from core.data.panel import Panel
from core.data.source import open_source
from core.data.store import store_of
from core.data.synthetic import HOUR_MS, START_MS, synthetic_panel
from core.domain.errors import UserError

ASSETS = ("BTC", "ETH", "SOL")


@pytest.fixture(scope="module")
def panel() -> Panel:
    return synthetic_panel(5, 96, ASSETS)


@pytest.fixture(params=["folder", "fsspec"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    return Lake(tmp_path / "home" / "lake" if request.param == "folder" else f"memory://{uuid4().hex}/lake")


def content(lake: Lake, reference: str = "perp") -> str:
    return open_source(reference, lake.root)[1].content


# -- what is written is what is read --------------------------------------------------------------


def test_a_data_set_is_the_panel_that_was_written(lake: Lake, panel: Panel) -> None:
    made = keep(lake, panel)
    assert lake.manifest("perp") == made and lake.names() == ("perp",)
    again, said = open_source("perp", lake.root)
    assert again.content_hash == panel.content_hash == said.content
    assert (said.name, said.venue, said.manifest) == ("perp", "okx", made.hash)
    assert said.files == {part.path: part.sha256 for part in made.parts}


def test_the_manifest_tells_scope_time_and_versions(lake: Lake, panel: Panel) -> None:
    before = wall_ms()
    made = keep(lake, panel)
    assert (made.name, made.venue, made.bar, made.assets) == ("perp", "okx", "1h", ASSETS)
    assert (made.first_ms, made.last_ms, made.bars) == (START_MS, START_MS + 95 * HOUR_MS, 96)
    assert (made.rows, made.funding_rows) == (96 * 3, 12 * 3)
    assert before <= made.created_ms == made.changed_ms <= wall_ms()
    assert set(made.libraries) == {"python", "numpy", "pyarrow"}
    for part in made.parts:
        assert part.rows == (96 if part.table == "candles" else 12) and part.size > 0 and len(part.sha256) == 64


def test_the_same_data_have_the_same_hash_whatever_they_are_called(lake: Lake, panel: Panel) -> None:
    one, two = keep(lake, panel), keep(lake, panel, name="other")
    assert one.hash == two.hash == manifest_hash("okx", "1h", one.parts)
    assert lake.write("dear", candles_in(panel), HOUR_MS, rates_in(panel), venue="binance").hash != one.hash
    assert keep(lake, panel, 0, 95, name="short").hash != one.hash


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_period_opened_is_that_slice_of_the_whole(data: st.DataObject) -> None:
    """Also where an asset fell silent before it, and where a part begins or ends within it."""
    seed, bars = data.draw(st.integers(0, 50)), data.draw(st.integers(30, 90))
    whole = synthetic_panel(seed, bars, ASSETS)
    silent = np.random.default_rng(seed).random((bars, 3)) < data.draw(st.sampled_from([0.0, 0.2, 0.9]))
    silent[[0, -1], 0] = False
    grids = [np.where(silent, 0.0, getattr(whole, name)) for name in OHLCV]
    panel = Panel.of(whole.ts, ASSETS, grids, HOUR_MS, whole.funding_rate, whole.funding_period_ms)
    lake = Lake(f"memory://{uuid4().hex}", data.draw(st.sampled_from([7, 20, 1000])))
    keep(lake, panel)
    assets = tuple(asset for i, asset in enumerate(ASSETS) if not silent[:, i].all())
    full, _ = open_source("perp", lake.root, None, assets)
    start, stop = sorted(data.draw(st.tuples(st.integers(0, bars), st.integers(0, bars)), label="period"))
    edges = START_MS + start * HOUR_MS, START_MS + stop * HOUR_MS
    if start == stop:
        assert "in that period" in refusal(lambda: open_source("perp", lake.root, None, assets, "1h", *edges))
    else:
        cut, _ = open_source("perp", lake.root, None, assets, "1h", *edges)
        assert cut.content_hash == full.slice(start, stop).content_hash


def test_any_reader_of_parquet_understands_the_folders(tmp_path: Path, panel: Panel) -> None:
    lake = Lake(tmp_path)
    made = keep(lake, panel)
    files = [str(tmp_path / "perp" / part.path) for part in made.parts if part.table == "candles"]
    table = pyarrow.dataset.dataset(
        files, partitioning="hive", partition_base_dir=str(tmp_path / "perp" / "candles")
    )
    assert set(table.schema.names) == {"timestamp", "open", "high", "low", "close", "volume", "asset"}
    assert str(table.schema.field("timestamp").type) == "timestamp[ms, tz=UTC]"
    eth = table.to_table(filter=pyarrow.dataset.field("asset") == "ETH").sort_by("timestamp")
    np.testing.assert_array_equal(eth["close"].to_numpy(), panel.close[:, 1])


def test_names_that_no_folder_could_have_are_assets_too(lake: Lake) -> None:
    odd = synthetic_panel(1, 30, ("../A", "B=C D%", "螺纹"))
    keep(lake, odd)
    assert content(lake) == odd.content_hash
    assert all(path.startswith("perp/") for path in store_of(lake.root).files() if not path.startswith("."))


# -- more of it -----------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_pieces_in_any_order_make_the_whole(data: st.DataObject) -> None:
    """Rows may come late, come twice and overlap: what counts is what they say. Few parts are left of many."""
    panel = synthetic_panel(data.draw(st.integers(0, 20)), 80, ASSETS[:2])
    most = data.draw(st.sampled_from([5, 30, 1000]))
    lake = Lake(f"memory://{uuid4().hex}", most)
    edges = [0, *sorted(data.draw(st.sets(st.integers(1, 79), max_size=6))), 80]
    spans = data.draw(st.permutations(list(pairwise(edges))))
    for start, stop in spans:
        made = keep(lake, panel, max(start - data.draw(st.integers(0, 5)), 0), stop, Mode.APPEND)
    assert content(lake) == panel.content_hash
    assert made.rows == 160 and made.created_ms <= made.changed_ms
    for asset in ASSETS[:2]:
        parts = made.of("candles", asset)
        assert all(a.last_ms < b.first_ms for a, b in pairwise(parts))
        assert len(parts) <= 2 * (80 // most + 1)


def test_what_is_there_already_is_kept_once_and_changes_nothing(lake: Lake, panel: Panel) -> None:
    made = keep(lake, panel)
    again = keep(lake, panel, 10, 50, Mode.APPEND)
    assert (again.hash, again.parts, again.created_ms) == (made.hash, made.parts, made.created_ms)


def test_a_row_that_contradicts_the_lake_is_refused_and_named(lake: Lake, panel: Panel) -> None:
    made = keep(lake, panel)
    rows = candles_in(panel, 90)
    rows.columns["close"][4] += 1.0
    line = refusal(lambda: lake.write("perp", rows, HOUR_MS, venue="okx", mode=Mode.APPEND))
    assert line.startswith("ETH at 2024-01-04T19:00Z: close is ") and "in the lake, but" in line
    assert lake.verify("perp") == made


def test_venues_and_bars_do_not_mix(lake: Lake, panel: Panel) -> None:
    keep(lake, panel)
    line = refusal(lambda: lake.write("perp", candles_in(panel), HOUR_MS, venue="binance", mode=Mode.APPEND))
    assert line == "data set perp holds 1h bars of okx, not 1h bars of binance: choose another --name"
    daily = synthetic_panel(1, 9, ASSETS, bar_ms=24 * HOUR_MS)
    assert "not 1d bars of okx" in refusal(lambda: keep(lake, daily, mode=Mode.APPEND))


def test_a_name_that_is_taken_is_refused(lake: Lake, panel: Panel) -> None:
    made = keep(lake, panel)
    line = refusal(lambda: keep(lake, panel, 0, 50))
    assert line == "data set perp exists: choose another --name, or --append to it, or --replace it"
    assert lake.verify("perp") == made


def test_replaced_it_is_the_new_one_and_the_next_write_sweeps_the_old_away(lake: Lake, panel: Panel) -> None:
    old = keep(lake, panel)
    new = keep(lake, panel, 0, 48, Mode.REPLACE)
    assert content(lake) == panel.slice(0, 48).content_hash and new.hash != old.hash
    keep(lake, panel, 48, 60, Mode.APPEND)
    keep(lake, panel, 60, 61, Mode.APPEND)
    left = {path for path in store_of(lake.root).files("perp") if path.endswith(".parquet")}
    assert not left & {f"perp/{part.path}" for part in old.parts}


# -- snapshots ------------------------------------------------------------------------------------


def test_a_snapshot_stays_what_it_was(lake: Lake, panel: Panel) -> None:
    made = keep(lake, panel, 0, 48)
    assert lake.snapshot("perp", "may") == made
    keep(lake, panel, 48, 96, Mode.APPEND)
    keep(lake, panel, 10, 96, Mode.REPLACE)
    keep(lake, panel, 5, 10, Mode.APPEND)
    frozen, said = open_source("perp@may", lake.root)
    assert frozen.content_hash == panel.slice(0, 48).content_hash
    assert (said.name, said.manifest) == ("perp@may", made.hash)
    assert lake.snapshots("perp") == ("may",) and lake.names() == ("perp",) and lake.verify("perp@may") == made


def test_a_label_is_given_once(lake: Lake, panel: Panel) -> None:
    keep(lake, panel)
    lake.snapshot("perp", "may")
    assert "perp@may exists, and never changes" in refusal(lambda: lake.snapshot("perp", "may"))
    assert "a snapshot never changes" in refusal(lambda: keep(lake, panel, mode=Mode.APPEND, name="perp@may"), 2)
    assert refusal(lambda: lake.manifest("perp@june")) == "perp@june: no such snapshot; perp has: may"
    assert "no such data set" in refusal(lambda: lake.snapshot("none", "may"))


# -- trust ----------------------------------------------------------------------------------------


def test_one_changed_bit_is_a_hard_error_that_names_the_file_and_both_hashes(lake: Lake, panel: Panel) -> None:
    made = keep(lake, panel)
    store = store_of(lake.root)
    for part in (made.of("candles", "ETH")[0], made.of("funding", "BTC")[0]):
        path = f"perp/{part.path}"
        good = store.read(path)
        store.put(path, good[:50] + bytes([good[50] ^ 1]) + good[51:])
        for read in (lambda: open_source("perp", lake.root), lambda: lake.verify("perp")):
            line = refusal(read)
            assert line.startswith(f"{lake.root}/{path}: SHA-256 is ") and f"manifest says {part.sha256}" in line
        assert path in refusal(lambda: lake.snapshot("perp", "may")), "what is broken is never frozen"
        store.put(path, good)
    store.put(path, b"")
    keep(lake, panel, mode=Mode.REPLACE)
    assert content(lake) == panel.content_hash, "and the way out helps"


def test_what_is_not_asked_for_is_not_read(lake: Lake, panel: Panel) -> None:
    made = keep(lake, panel)
    store_of(lake.root).remove(f"perp/{made.of('candles', 'ETH')[0].path}")
    two, said = open_source("perp", lake.root, None, ("SOL", "BTC"))
    assert two.assets == ("SOL", "BTC") and not any("ETH" in path for path in said.files)
    assert "is missing, but the manifest names it" in refusal(lambda: open_source("perp", lake.root))


def test_a_manifest_changed_by_hand_is_found(lake: Lake, panel: Panel) -> None:
    made = keep(lake, panel)
    parts = (msgspec.structs.replace(made.parts[0], sha256="0" * 64), *made.parts[1:])
    store_of(lake.root).put("perp/manifest.json", encode(msgspec.structs.replace(made, parts=parts)))
    line = refusal(lambda: open_source("perp", lake.root))
    assert "perp/manifest.json: says its hash is " + made.hash in line and "but its parts give" in line


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"version": 2, "name": 3}', "\xff"])
def test_a_broken_manifest_is_refused(lake: Lake, panel: Panel, text: str) -> None:
    keep(lake, panel)
    store_of(lake.root).put("perp/manifest.json", text.encode("latin-1"))
    assert "perp/manifest.json: not a manifest (" in refusal(lambda: open_source("perp", lake.root))
    assert "not a manifest" in refusal(lambda: keep(lake, panel, mode=Mode.APPEND))
    keep(lake, panel, mode=Mode.REPLACE)
    assert content(lake) == panel.content_hash


def test_a_data_set_of_an_older_cockpit_is_told(lake: Lake, panel: Panel) -> None:
    old = json.dumps({"version": 1, "name": "perp", "assets": ["BTC"]}).encode()
    store_of(lake.root).put("perp/manifest.json", old)
    store_of(lake.root).put("perp/candles.parquet", b"PAR1")
    line = refusal(lambda: open_source("perp", lake.root))
    assert line.endswith("manifest.json: of version 1, not 2: import the data again with --replace")
    keep(lake, panel, mode=Mode.REPLACE)
    keep(lake, panel, mode=Mode.APPEND)
    assert content(lake) == panel.content_hash and "perp/candles.parquet" not in store_of(lake.root).files("perp")


@pytest.mark.parametrize("name", ["", "../perp", "a/b", ".hidden", "-x", "a b", "x" * 65, "a@", "@b", "a@b@c"])
def test_names_stay_inside_the_lake(tmp_path: Path, panel: Panel, name: str) -> None:
    lake = Lake(tmp_path / "lake")
    assert f"--name {name!r}: letters, digits" in refusal(lambda: keep(lake, panel, name=name), code=2)
    assert not (tmp_path / "lake").exists()


def test_two_writers_do_not_meet(tmp_path: Path, panel: Panel) -> None:
    with store_of(tmp_path).alone("perp"):
        line = refusal(lambda: keep(Lake(tmp_path), panel))
        assert line == f"{tmp_path}/perp: another command writes to it: wait until it is done"
        keep(Lake(tmp_path), panel, name="other")
    keep(Lake(tmp_path), panel)


def test_places_that_do_not_exist_are_told() -> None:
    assert "nowhere://x: no such place" in refusal(lambda: Lake("nowhere://x"))
    with pytest.raises(UserError, match="cannot be written"):
        Lake("/proc/nothing").write("perp", candles_in(synthetic_panel(1, 9, ASSETS)), HOUR_MS)


def test_a_manifest_is_json_that_anybody_reads(tmp_path: Path, panel: Panel) -> None:
    made = keep(Lake(tmp_path), panel)
    text = (tmp_path / "perp" / "manifest.json").read_text()
    assert msgspec.convert(json.loads(text), Manifest) == made and str(tmp_path) not in text
