"""Data files and model bundles of bent bytes: what they hold, or the one line that a user can mend."""

import io
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.data.importer import load_panel
from core.data.quotes import read_quotes
from core.domain.errors import UserError
from core.models import bundle
from core.models.forest import LEAVES, QUESTIONS, Forest

HOUR = 3_600_000
SPARE = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
COLUMNS: dict[str, list[Any]] = {
    "timestamp": [1_704_067_200_000 + HOUR * i for i in range(6)],
    "symbol": ["BTC-USDT-SWAP"] * 6,
    **{name: [100.0 + i for i in range(6)] for name in ("open", "high", "low", "close")},
    "volume": [1.0] * 6,
}
CELLS = st.one_of(
    st.none(), st.text(max_size=8), st.floats(), st.integers(-(2**63), 2**63 - 1), st.booleans(),
    st.sampled_from(("", "nan", "2024-01-01T00:00Z", "9999-99-99", "1e400", "\x00", "BTC", "-1", "²")),
)  # fmt: skip


def written(table: pa.Table, kind: str) -> bytes:
    """The table as a file."""
    target = io.BytesIO()
    if kind == "parquet":
        pa.parquet.write_table(table, target)
    elif kind == "feather":
        pa.feather.write_feather(table, target, compression="uncompressed")
    else:
        names = table.column_names
        rows = [",".join("" if cell is None else str(cell) for cell in row.values()) for row in table.to_pylist()]
        target.write("\n".join([",".join(names), *rows]).encode(errors="surrogatepass"))
    return target.getvalue()


def attempt(path: Path) -> None:
    """A Panel or a UserError of one line, as candles, as funding and as quotes."""
    for read in (load_panel, lambda it: load_panel(SOUND_PATH(it), it), lambda it: read_quotes(it, ["BTC"])):
        try:
            read(path)  # type: ignore[operator]
        except UserError as error:
            assert "\n" not in str(error).strip(), str(error)[:300]  # noqa: PT017


def SOUND_PATH(beside: Path) -> Path:
    """A good file of candles, in the same folder."""
    path = beside.with_name("sound.parquet")
    if not path.exists():
        path.write_bytes(written(pa.table(COLUMNS), "parquet"))
    return path


@given(kind=st.sampled_from(("parquet", "feather", "csv")), data=st.data())
@SPARE
def test_tables_of_odd_cells_and_columns(tmp_path: Path, kind: str, data: st.DataObject) -> None:
    columns = {name: list(cells) for name, cells in COLUMNS.items()}
    for name in data.draw(st.lists(st.sampled_from(sorted(columns)), min_size=1, max_size=3, unique=True)):
        what = data.draw(st.sampled_from(("drop", "rename", "cells", "cell")))
        if what == "drop":
            del columns[name]
        elif what == "rename":
            columns[data.draw(st.sampled_from(("asset", "close ", "rate", "x", "Symbol")))] = columns.pop(name)
        elif what == "cells":
            columns[name] = data.draw(st.lists(data.draw(st.sampled_from((st.floats(), st.text(max_size=5),
                st.integers(-(2**63), 2**63 - 1), st.none()))), min_size=6, max_size=6))  # fmt: skip
        else:
            columns[name][data.draw(st.integers(0, 5))] = data.draw(CELLS)
    try:
        table = pa.table(columns)
        content = written(table, kind)
    except (pa.ArrowException, UnicodeEncodeError, OverflowError, TypeError):
        return  # Arrow itself would not write such a file.
    path = tmp_path / f"odd.{kind}"
    path.write_bytes(content)
    attempt(path)


@pytest.mark.parametrize("kind", ["parquet", "feather", "csv"])
@given(data=st.data())
@SPARE
def test_files_of_bent_bytes(tmp_path: Path, kind: str, data: st.DataObject) -> None:
    content = bytearray(written(pa.table(COLUMNS), kind))
    chance = random.Random(data.draw(st.integers(0, 10**9)))
    for _ in range(chance.randint(1, 6)):
        content[chance.randrange(len(content))] = chance.randrange(256)
    if chance.random() < 0.3:
        del content[chance.randrange(len(content)) :]
    path = tmp_path / f"bent.{kind}"
    path.write_bytes(bytes(content))
    attempt(path)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small sound bundle."""
    chance = np.random.default_rng(1)
    forest = Forest(
        chance.integers(0, 2, (3, QUESTIONS)).astype(np.int32),
        chance.random((3, QUESTIONS)).astype(np.float32),
        chance.random((3, LEAVES)),
        np.array([1.0, 0.0]),
    )
    meta = bundle.Meta(
        kind=bundle.KIND, format=bundle.FORMAT, features=("a", "b"), features_hash="h", assets=("BTC", "ETH"),
        bar_ms=HOUR, label={}, data_hash="d", source="s", trained_from_ms=0, trained_until_ms=1, labels_until_ms=2,
        seed=1, metrics={}, libraries={},
    )  # fmt: skip
    return bundle.save(tmp_path_factory.mktemp("bundle"), meta, forest, chance.random((4, 2))).path.read_bytes()


def load(path: Path, content: bytes) -> bool:
    """Whether it is a bundle; a UserError of one line says that it is none."""
    path.write_bytes(content)
    try:
        bundle.load(path)
    except UserError as error:
        assert "\n" not in str(error).strip()  # noqa: PT017
        return False
    return True


@given(seed=st.integers(0, 10**9))
@SPARE
def test_bundles_of_bent_bytes_are_never_served(tmp_path: Path, made: bytes, seed: int) -> None:
    assert load(tmp_path / "sound.safetensors", made)
    chance, content = random.Random(seed), bytearray(made)
    header = 8 + int.from_bytes(made[:8], "little")
    for _ in range(chance.randint(1, 4)):
        content[chance.randrange(chance.choice((8, header, len(content))))] ^= 1 << chance.randrange(8)
    if chance.random() < 0.2:
        del content[chance.randrange(len(content)) :]
    assert bytes(content) == made or not load(tmp_path / "bent.safetensors", bytes(content))


@pytest.mark.parametrize(
    "header",
    [
        b'{"__metadata__":{"cockpit-bundle":"' + b"[" * 30_000 + b'"}}',
        b'{"__metadata__":{"cockpit-bundle":"{}"}}',
        b'{"__metadata__":{"cockpit-bundle":"{\\"meta\\":3,\\"digest\\":4}"}}',
        b"[" * 30_000,
        b'{"a":{"dtype":"F64","shape":[999999999999],"data_offsets":[0,8]}}',
        b'{"a":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}}',
        b"{}",
        b"\xff\xfe",
    ],
    ids=range(8),
)
def test_headers_that_break_readers(tmp_path: Path, header: bytes) -> None:
    for length in (len(header), 2**63, 0):
        assert not load(tmp_path / "x.safetensors", length.to_bytes(8, "little") + header + bytes(8))
