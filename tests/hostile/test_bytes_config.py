"""Whatever stands in config.toml, in the environment or in .env: settings, or the one line that a user can mend."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.config import Secrets, Settings, load
from core.config.loading import known_keys
from core.domain.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
SOUND = (ROOT / "config.toml").read_bytes()
VALUES = st.one_of(
    st.text(max_size=30),
    st.sampled_from((
        "nan", "-inf", "1e999", "9" * 5000, "[" * 5000, "{a=" * 2000, "1979-05-27", "[1, [2]]", "true", '"', "'''",
        "[]", "{}", "0x10", "-0", "\x00", "a,b,,", "1_0", "²", "[[]]", '["BTC", 1]', "../../etc",
    )),
)  # fmt: skip
SPARE = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def attempt(path: Path | None, **environ: str) -> None:
    """Settings, or a UserError of one line."""
    try:
        assert isinstance(load(path, environ=environ), Settings)
    except UserError as error:
        assert "\n" not in str(error).strip() and len(str(error)) < 20_000, str(error)[:300]  # noqa: PT017


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


@given(data=st.data())
@SPARE
def test_a_file_of_bent_bytes(file: Path, data: st.DataObject) -> None:
    text = bytearray(SOUND)
    for _ in range(data.draw(st.integers(1, 5))):
        place = data.draw(st.integers(0, len(text) - 1))
        text[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    file.write_bytes(data.draw(st.sampled_from((bytes(text), bytes(text[: len(text) // 3]), bytes(text[100:])))))
    attempt(file)


@given(key=st.sampled_from(sorted(known_keys())), value=VALUES)
@SPARE
def test_any_value_of_any_key(file: Path, key: str, value: str) -> None:
    section, _, name = key.rpartition(".")
    file.write_text(f"[{section}]\n{name} = {value}\n", encoding="utf-8", errors="surrogatepass")
    attempt(file)
    attempt(None, **{f"COCKPIT_{key.upper().replace('.', '__')}": value})


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 20_000,
        ".".join("a" * 3_000) + " = 1",
        "[strategy.mine]\npath = 'x.py'\na = 1\n[strategy.mine.b]\nc = 1",
        "x = " + "9" * 5000,
        "[universe]\nassets = [" + "'A', " * 10_000 + "]",
        "\ufeff[universe]",
        "[paths]\nhome = '\\u0000'",
    ],
    ids=lambda text: text[:20],
)
def test_files_that_break_readers(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")
    attempt(file)


@given(
    names=st.dictionaries(
        st.sampled_from((
            "COCKPIT_STRATEGY__MINE__PATH", "COCKPIT_STRATEGY__MINE__A", "COCKPIT_STRATEGY__MINE__A__B",
            "COCKPIT___", "COCKPIT_A__B", "COCKPIT_STRATEGY__MINE", "COCKPIT_HOME", "COCKPIT___A__",
        )),
        VALUES, max_size=4,
    )
)  # fmt: skip
@SPARE
def test_any_environment(names: dict[str, str]) -> None:
    attempt(None, **names)


@given(text=st.one_of(st.binary(max_size=200), st.just(b"OKX_API_KEY='"), st.just(b"export =\n=\nOKX_API_KEY")))
@SPARE
def test_any_dotenv(tmp_path: Path, text: bytes) -> None:
    (tmp_path / ".env").write_bytes(text)
    with contextlib.suppress(UserError):
        Secrets.load(tmp_path, {})
