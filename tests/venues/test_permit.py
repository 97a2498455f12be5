"""Real money needs a permit for one account, and is then asked of that account alone."""

import ast
from pathlib import Path
from typing import Any

import pytest

from core.domain.errors import UserError
from core.venues.okx.factory import Permit, okx_venue
from core.venues.okx_local import LocalExchange
from core.venues.port import Refused
from tests.venues.conftest import SWAPS, Connect

KEYS: dict[str, Any] = {"key": "k", "secret": "s", "passphrase": "p"}
CORE = Path(__file__).resolve().parents[2] / "core"


def test_without_a_permit_there_is_no_real_money() -> None:
    with pytest.raises(UserError, match=r"real money.*--live"):
        okx_venue(**KEYS)


def test_with_one_the_venue_says_so_and_speaks_to_the_real_address() -> None:
    venue = okx_venue(**KEYS, permit=Permit("main"))
    assert venue.capabilities.real_money and venue.capabilities.name == "okx"
    transport: Any = venue._transport
    assert "simulated" not in str(transport.headers)
    assert transport.socket_url("private") == "wss://ws.okx.com:443/ws/v5/private"


def test_without_keys_the_variables_are_named() -> None:
    with pytest.raises(UserError, match="venue okx: OKX_API_KEY, OKX_API_SECRET, OKX_API_PASSPHRASE not set"):
        okx_venue(permit=Permit("main"))


def test_a_permit_is_given_in_one_place() -> None:
    """Whoever could make one could pass the gate."""
    made = [
        file.relative_to(CORE).as_posix()
        for file in CORE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "Permit"
    ]
    assert made == ["engine/licence.py"]


@pytest.mark.parametrize("name", ["local", "1"])
async def test_the_account_is_known_by_its_label_or_its_uid(
    exchange: LocalExchange, connect: Connect, name: str
) -> None:
    venue = await connect(exchange, SWAPS[:2], permit=Permit(name))
    assert not venue.capabilities.real_money, "an address of this machine is none, whatever the permit says"


async def test_another_account_is_refused_before_anything_of_it_is_touched(
    exchange: LocalExchange, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str]] = []
    plain = okx_venue.__globals__["OkxTransport"].ask

    async def ask(self: object, verb: str, path: str, params: object) -> object:
        asked.append((verb, path))
        return await plain(self, verb, path, params)

    monkeypatch.setattr(okx_venue.__globals__["OkxTransport"], "ask", ask)
    with pytest.raises(Refused, match=r"belongs to account 'local' \(uid 1\), not to 'mine'"):
        await connect(exchange, SWAPS[:2], permit=Permit("mine"))
    assert {verb for verb, _ in asked} == {"GET"}
