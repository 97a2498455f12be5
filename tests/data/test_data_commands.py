"""`cockpit data`: import, list, check, snapshot, verify, as a user types them."""

import json
import os
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from longtable import Columns, candles_of, rates_of, write

from core.data.__main__ import main
from core.data.lake import Lake
from core.data.panel import Panel
from core.data.store import store_of
from core.data.synthetic import synthetic_panel

Capture = pytest.CaptureFixture[str]
ASSETS = ("BTC", "ETH", "SOL")


@pytest.fixture(scope="module")
def panel() -> Panel:
    return synthetic_panel(5, 48, ASSETS)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, panel: Panel) -> Path:
    """A folder with a file of candles and one of rates to work in, and a home below it."""
    monkeypatch.setenv("COCKPIT_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "perp_1h.csv", candles_of(panel))
    write(tmp_path / "rates.parquet", rates_of(panel))
    return tmp_path / "home"


def gappy(panel: Panel) -> Columns:
    kept = np.ones((48, 3), np.bool_)
    kept[20:22, 1] = False
    return candles_of(panel, kept)


def said(capsys: Capture, *words: str, code: int = 0) -> str:
    assert main(list(words)) == code, words
    return capsys.readouterr().out


def test_import_prints_what_there_is_now(home: Path, panel: Panel) -> None:
    write(home.parent / "gappy.csv", gappy(panel))
    command = [sys.executable, "-m", "core.data", "import", "gappy.csv", "--funding", "rates.parquet"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    words = ["--name", "perp", "--venue", "binance", "--json"]
    done = subprocess.run([*command, *words], capture_output=True, text=True, env=environment)
    assert done.returncode == 0 and "ETH lacks 2 bars" in done.stderr
    document = json.loads(done.stdout)
    made = Lake(home / "lake").manifest("perp")
    assert (document["hash"], document["venue"], document["files"]) == (made.hash, "binance", 6)
    assert document["bytes"] == sum(part.size for part in made.parts) and "parts" not in document
    assert home.stat().st_mode & 0o777 == 0o700, "what a user trades on is nobody else's business"


def test_import_takes_the_name_of_the_file_and_says_what_to_say(home: Path, capsys: Capture) -> None:
    table = said(capsys, "import", "perp_1h.csv")
    for line in (
        "data set    perp_1h",
        "venue       not said (--venue)",
        "3: BTC, ETH, SOL",
        "48 of 1h",
        "144 rows",
        "none",
    ):
        assert line in table
    said(capsys, "import", "perp_1h.csv", "--replace")
    said(capsys, "import", "perp_1h.csv", "--append")
    assert Lake(home / "lake").names() == ("perp_1h",)


def test_list_shows_every_data_set_and_its_snapshots(home: Path, capsys: Capture) -> None:
    assert "nothing in" in said(capsys, "list") and said(capsys, "list", "--json") == "[]\n"
    said(capsys, "import", "perp_1h.csv", "--venue", "binance", "--funding", "rates.parquet")
    said(capsys, "snapshot", "perp_1h", "may")
    head, line = said(capsys, "list").splitlines()
    assert head.split()[:4] == ["data", "set", "venue", "bar"]
    assert line.split() == [
        "perp_1h", "binance", "1h", "3", "144", "18", "2024-01-01T00:00Z", "2024-01-02T23:00Z", "@may",
    ]  # fmt: skip
    (document,) = json.loads(said(capsys, "list", "--json"))
    assert (document["name"], document["snapshots"]) == ("perp_1h", ["may"])


def test_check_fails_when_there_is_something_to_act_on(home: Path, panel: Panel, capsys: Capture) -> None:
    assert said(capsys, "check", "perp_1h.csv", "--funding", "rates.parquet") == "perp_1h.csv: nothing found\n"
    write(home.parent / "gappy.csv", gappy(panel))
    text = said(capsys, "check", "gappy.csv", code=1)
    assert text.startswith("ACT   ETH gap: 2 bars missing") and text.endswith("gappy.csv: 1 to act on, 0 to know\n")
    (finding,) = json.loads(said(capsys, "check", "gappy.csv", "--json", code=1))
    assert (finding["asset"], finding["kind"], finding["count"], finding["act"]) == ("ETH", "gap", 2, True)
    said(capsys, "import", "gappy.csv")
    assert "ETH gap" in said(capsys, "check", "gappy", code=1)


def test_of_many_findings_of_a_kind_the_first_are_told(home: Path, capsys: Capture) -> None:
    many = synthetic_panel(2, 130, [f"A{i:02d}" for i in range(40)])
    kept = np.arange(130)[:, None] >= np.arange(40)
    write(home.parent / "many.parquet", candles_of(many, kept))
    lines = said(capsys, "check", "many.parquet").splitlines()
    assert len(lines) == 12 and lines[-2].strip() == "and 29 more with a late start: --json has them all"
    assert lines[-1] == "many.parquet: 0 to act on, 39 to know"
    assert len(json.loads(said(capsys, "check", "many.parquet", "--json"))) == 39


def test_verify_proves_data_sets_and_snapshots(home: Path, capsys: Capture) -> None:
    assert said(capsys, "verify") == "the lake is empty\n"
    said(capsys, "import", "perp_1h.csv")
    frozen = said(capsys, "snapshot", "perp_1h", "may")
    made = Lake(home / "lake").manifest("perp_1h")
    assert frozen == f"perp_1h@may: 3 files frozen, manifest {made.hash}\n"
    assert [line.split(":")[0] for line in said(capsys, "verify").splitlines()] == ["perp_1h", "perp_1h@may"]
    path = home / "lake" / "perp_1h" / made.parts[0].path
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    for names in ((), ("perp_1h",), ("perp_1h@may",)):
        assert main(["verify", *names]) == 1
        out, err = capsys.readouterr()
        assert not out and err.startswith(f"{path}: SHA-256 is ") and made.parts[0].sha256 in err


def test_another_lake_is_a_folder_or_a_url(home: Path, capsys: Capture) -> None:
    url = f"memory://{uuid4().hex}/lake"
    for lake in (str(home.parent / "elsewhere"), url):
        said(capsys, "import", "perp_1h.csv", "--lake", lake)
        assert "perp_1h" in said(capsys, "list", "--lake", lake)
    assert any(path.endswith(".parquet") for path in store_of(url).files())
    assert "nothing in" in said(capsys, "list")


def test_each_command_refuses_in_one_line(home: Path, capsys: Capture) -> None:
    for words, code, expected in (
        (["import", "missing.csv"], 1, "missing.csv: no such file"),
        (["import", "perp_1h.csv", "--name", "my candles"], 2, "--name 'my candles': letters, digits"),
        (["import", "perp_1h.csv", "--funding", "perp_1h.csv"], 1, "no column funding_rate"),
        (["import", "perp_1h.csv", "--config", "none.toml"], 1, "none.toml: no such file"),
        (["check", "nothing"], 1, "nothing: no such file and no such data set"),
        (["snapshot", "nothing", "may"], 1, "nothing: no such file and no such data set"),
        (["snapshot", "nothing", "a/b"], 2, "--name 'nothing@a/b': letters, digits"),
        (["verify", "nothing@may"], 1, "nothing: no such file and no such data set"),
        (["list", "--lake", "nowhere://x"], 1, "nowhere://x: no such place"),
    ):
        assert main(words) == code, words
        out, err = capsys.readouterr()
        assert not out and expected in err and err.count("\n") == 1
