"""The lake: a data set appears whole or not at all, and is proven unchanged before it is opened."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pyarrow.parquet
import pytest
from longtable import candles_of, rates_of, write

from core.data import manifest
from core.data.__main__ import main
from core.data.importer import load_panel
from core.data.manifest import Manifest, import_dataset, names, open_dataset, open_panel, read_manifest
from core.data.panel import Panel
from core.data.synthetic import HOUR_MS, START_MS, synthetic_panel
from core.domain.errors import UserError

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
def lake(tmp_path: Path) -> Path:
    return tmp_path / "home" / "lake"


def content(lake: Path) -> dict[str, bytes]:
    """Every file of the lake, hidden ones and leftovers too."""
    return {str(path.relative_to(lake)): path.read_bytes() for path in lake.rglob("*") if path.is_file()}


def refusal(call: Callable[[], object], code: int = 1) -> str:
    with pytest.raises(UserError) as caught:
        call()
    assert caught.value.code == code and "\n" not in str(caught.value)
    return str(caught.value)


def test_a_data_set_opens_as_the_panel_that_was_imported(lake: Path, files: tuple[Path, Path]) -> None:
    made = import_dataset(lake, "perp-1h", *files)
    opened, imported = open_dataset(lake, "perp-1h"), load_panel(*files)
    assert opened.content_hash == imported.content_hash == made.content
    assert opened.notes == imported.notes == made.notes and "ETH lacks 2 bars" in made.notes[0]
    two = open_dataset(lake, "perp-1h", ("SOL", "BTC"), "1h")
    assert two.assets == ("SOL", "BTC") and two.content_hash == load_panel(*files, ("SOL", "BTC")).content_hash


def test_the_manifest_says_what_is_there_and_where_it_came_from(lake: Path, files: tuple[Path, Path]) -> None:
    made = import_dataset(lake, "perp-1h", *files)
    assert read_manifest(lake, "perp-1h") == made
    assert (made.name, made.bar, made.assets) == ("perp-1h", "1h", ASSETS)
    assert (made.first_ms, made.last_ms, made.bars) == (START_MS, START_MS + 47 * HOUR_MS, 48)
    assert (made.rows, made.funding_rows) == (48 * 3 - 2, 6 * 3)
    assert made.sources == {"candles": "my candles.csv", "funding": "rates.parquet"}, "no folder of this machine"
    assert set(made.files) == {"candles.parquet", "funding.parquet"}
    assert set(made.libraries) == {"python", "numpy", "pyarrow"}
    assert str(lake.parent.parent) not in (lake / "perp-1h" / "manifest.json").read_text()


def test_candles_are_kept_in_one_form(lake: Path, files: tuple[Path, Path]) -> None:
    import_dataset(lake, "perp-1h", *files)
    table = pyarrow.parquet.read_table(lake / "perp-1h" / "candles.parquet")
    assert [str(kind) for kind in table.schema.types] == ["timestamp[ms, tz=UTC]", "string", *["double"] * 5]
    assert table.column_names == ["timestamp", "asset", "open", "high", "low", "close", "volume"]
    rows = list(zip(table["timestamp"].cast("int64").to_pylist(), table["asset"].to_pylist(), strict=True))
    assert rows == sorted(rows) and len(rows) == 48 * 3 - 2


def test_assets_that_end_like_a_quote_keep_their_name(tmp_path: Path, lake: Path) -> None:
    odd = synthetic_panel(1, 30, ("TUSD", "BTC"))
    import_dataset(lake, "odd", write(tmp_path / "c.parquet", candles_of(odd)))
    assert open_dataset(lake, "odd").assets == ("BTC", "TUSD")


def test_a_name_that_is_taken_is_refused_and_nothing_moves(lake: Path, files: tuple[Path, Path]) -> None:
    import_dataset(lake, "perp", *files)
    before = content(lake)
    line = refusal(lambda: import_dataset(lake, "perp", files[0]))
    assert line == "data set perp exists: choose another --name, or --replace it"
    assert content(lake) == before


def test_replaced_it_is_the_new_one_and_nothing_of_the_old_is_left(lake: Path, files: tuple[Path, Path]) -> None:
    import_dataset(lake, "perp", *files)
    import_dataset(lake, "perp", files[0], replace=True)
    assert set(content(lake)) == {"perp/candles.parquet", "perp/manifest.json"}
    assert open_dataset(lake, "perp").content_hash == load_panel(files[0]).content_hash


def test_bad_input_leaves_the_lake_as_it_was(
    tmp_path: Path, lake: Path, files: tuple[Path, Path], panel: Panel
) -> None:
    import_dataset(lake, "perp", *files)
    before = content(lake)
    columns = candles_of(panel)
    columns["close"] = np.where(np.arange(len(columns["close"])) == 7, np.nan, columns["close"])
    bad = write(tmp_path / "bad.csv", columns)
    assert "close is no finite number" in refusal(lambda: import_dataset(lake, "perp", bad, replace=True))
    assert "no such file" in refusal(lambda: import_dataset(lake, "new", files[0], tmp_path / "none.csv"))
    assert content(lake) == before


@pytest.mark.parametrize("step", ["_write", "_sync", "_publish"])
def test_a_disk_that_fails_leaves_the_old_data_set_and_no_draft(
    lake: Path, files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    import_dataset(lake, "perp", *files)
    before = content(lake)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(manifest, step, full)
    line = refusal(lambda: import_dataset(lake, "perp", files[0], replace=True))
    assert "perp: cannot be written: No space left on device" in line
    assert content(lake) == before and [path.name for path in lake.iterdir()] == ["perp"]


def test_the_old_data_set_comes_back_if_the_new_one_cannot_take_its_place(
    lake: Path, files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import_dataset(lake, "perp", *files)
    before, rename, renamed = content(lake), Path.rename, []

    def second_fails(path: Path, target: Path) -> Path:
        renamed.append(target.name)
        if len(renamed) == 2:
            raise OSError(5, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", second_fails)
    assert "Input/output error" in refusal(lambda: import_dataset(lake, "perp", files[0], replace=True))
    assert content(lake) == before and renamed[1:] == ["perp", "perp"]


def test_of_two_imports_at_once_one_is_refused(
    lake: Path, files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = manifest._publish

    def overtaken(draft: Path, place: Path, replace: bool) -> None:
        monkeypatch.setattr(manifest, "_publish", publish)
        import_dataset(lake, "perp", *files)
        publish(draft, place, replace)

    monkeypatch.setattr(manifest, "_publish", overtaken)
    assert "data set perp exists" in refusal(lambda: import_dataset(lake, "perp", files[0]))
    assert read_manifest(lake, "perp").funding_rows == 18


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["candles.parquet", "funding.parquet"])
def test_one_changed_bit_is_found_and_the_file_is_named(lake: Path, files: tuple[Path, Path], name: str) -> None:
    import_dataset(lake, "perp", *files)
    flipped(lake / "perp" / name)
    line = refusal(lambda: open_dataset(lake, "perp"))
    assert line.startswith(f"{lake / 'perp' / name}: SHA-256 is ") and line.endswith(
        ": import the data again with --replace"
    )


def test_a_file_that_is_gone_or_came_from_elsewhere_is_named(lake: Path, files: tuple[Path, Path]) -> None:
    import_dataset(lake, "perp", *files)
    import_dataset(lake, "plain", files[0])
    rates = lake / "perp" / "funding.parquet"
    rates.rename(lake / "plain" / "funding.parquet")
    assert f"{rates}: is missing: import" in refusal(lambda: open_dataset(lake, "perp"))
    assert "plain/funding.parquet: is not in the manifest: import" in refusal(lambda: open_dataset(lake, "plain"))


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"version": 1, "name": 3}', "\xff"])
def test_a_broken_manifest_is_refused(lake: Path, files: tuple[Path, Path], text: str) -> None:
    import_dataset(lake, "perp", *files)
    path = lake / "perp" / "manifest.json"
    path.write_text(text, encoding="latin-1")
    assert f"{path}: not a manifest (" in refusal(lambda: open_dataset(lake, "perp"))


def test_a_manifest_of_another_version_is_refused(lake: Path, files: tuple[Path, Path]) -> None:
    made = import_dataset(lake, "perp", *files)
    newer = msgspec.structs.replace(made, version=2)
    (lake / "perp" / "manifest.json").write_bytes(msgspec.json.encode(newer))
    assert "of version 2, not 1: import the data again" in refusal(lambda: open_dataset(lake, "perp"))


def test_data_is_a_file_or_the_name_of_a_data_set(
    lake: Path, files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_dataset(lake, "perp", *files)
    import_dataset(lake, "plain", files[0])
    full, plain = (load_panel(*chosen).content_hash for chosen in (files, files[:1]))
    assert open_panel("perp", lake).content_hash == open_panel(files[0], lake, files[1]).content_hash == full
    (tmp_path / "perp").write_bytes((lake / "plain" / "candles.parquet").read_bytes())
    monkeypatch.chdir(tmp_path)
    assert open_panel("perp", lake).content_hash == plain, "a file is found before a data set"
    assert names(lake) == ("perp", "plain")


def test_data_that_is_neither_is_told_with_what_there_is(lake: Path, files: tuple[Path, Path]) -> None:
    assert "the lake has: none yet. Make one: cockpit data import" in refusal(lambda: open_panel("perp", lake))
    import_dataset(lake, "perp", *files)
    assert refusal(lambda: open_panel("prep", lake)).startswith(
        "prep: no such file and no such data set; the lake has: perp."
    )
    assert "no such file; give a Parquet" in refusal(lambda: open_panel("../lake/perp", lake))
    assert f"leave --funding {files[1]} away" in refusal(lambda: open_panel("perp", lake, files[1]))


@pytest.mark.parametrize("name", ["", "../perp", "a/b", ".hidden", "-x", "a b", "x" * 65])
def test_names_stay_inside_the_lake(lake: Path, files: tuple[Path, Path], name: str) -> None:
    assert f"--name {name!r}: letters, digits" in refusal(lambda: import_dataset(lake, name, *files), code=2)
    assert not lake.exists()


# -- the command ----------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COCKPIT_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def test_the_command_imports_and_prints_the_manifest(home: Path, lake: Path, files: tuple[Path, Path]) -> None:
    command = [sys.executable, "-m", "core.data", "import", str(files[0]), "--funding", str(files[1])]
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run([*command, "--name", "perp", "--json"], capture_output=True, text=True, env=environment)
    assert done.returncode == 0 and "ETH lacks 2 bars" in done.stderr
    assert msgspec.convert(json.loads(done.stdout), Manifest) == read_manifest(lake, "perp")
    assert home.stat().st_mode & 0o777 == 0o700, "what a user trades on is nobody else's business"


def test_the_command_takes_the_name_of_the_file_and_says_what_is_there(
    home: Path, lake: Path, panel: Panel, capsys: pytest.CaptureFixture[str]
) -> None:
    write(home.parent / "perp_1h.csv", candles_of(panel))
    assert main(["import", "perp_1h.csv"]) == 0
    table = capsys.readouterr().out
    for said in ("data set    perp_1h", "3: BTC, ETH, SOL", "48 of 1h, 2024-01-01T00:00Z ..", "144 rows", "none"):
        assert said in table
    assert names(lake) == ("perp_1h",)
    assert main(["import", "perp_1h.csv", "--replace"]) == 0


def test_the_command_refuses_in_one_line(
    home: Path, files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    for words, code, said in (
        (["import", "missing.csv"], 1, "missing.csv: no such file"),
        (["import", str(files[0])], 2, "--name 'my candles': letters, digits"),
        (["import", str(files[0]), "--name", "a", "--funding", str(files[0])], 1, "no column funding_rate"),
        (["import", str(files[0]), "--config", "none.toml"], 1, "none.toml: no such file"),
    ):
        assert main(words) == code
        out, err = capsys.readouterr()
        assert not out and said in err and err.count("\n") == 1


# -- real data ------------------------------------------------------------------------------------


def test_ten_real_perpetuals_go_through_the_lake_unchanged(shared_data: Path, lake: Path) -> None:
    files = shared_data / "perp_1h_10.parquet", shared_data / "perp_funding_10.parquet"
    made = import_dataset(lake, "perp-1h", *files)
    assert (made.rows, made.funding_rows, made.notes) == (138_720, 17_340, ())
    assert open_dataset(lake, "perp-1h").content_hash == load_panel(*files).content_hash
