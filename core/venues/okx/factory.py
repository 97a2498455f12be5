"""The one place that decides which OKX a venue speaks to."""

from typing import Any

import msgspec

from core.domain.errors import UserError
from core.venues.okx.messages import BARS
from core.venues.okx.reading import OkxMarket, OkxReader
from core.venues.okx.transport import Credentials, FaultHandler, OkxTransport, PushHandler, check_address
from core.venues.okx.venue import OkxVenue
from core.venues.port import Capabilities


class Permit(msgspec.Struct, frozen=True):
    """Leave to trade real money on the account of this label or uid, and on no other. `core.engine.licence` alone
    gives one, when nothing is missing."""

    account: str


def okx_venue(
    *,
    address: str | None = None,
    key: str = "",
    secret: str = "",
    passphrase: str = "",
    sandbox: bool = False,
    permit: Permit | None = None,
    lockstep: bool = False,
    bar: str = "1h",
    stale_after: float = 15.0,
    timeout: float = 10.0,
) -> OkxVenue:
    """A venue that is not connected yet.

    `address` http://127.0.0.1:PORT of the local exchange; None: OKX itself, its demo account (`sandbox`) or, with a
    `permit`, real money. `lockstep`: the local exchange waits for `acknowledge`. `stale_after` seconds of silence
    make the liveliest streams stale, `timeout` seconds bound a request.

    UserError: real money without a permit, keys missing, an unknown bar, an address that is not on this machine.
    """
    real = address is None and not sandbox
    if real and permit is None:
        raise UserError("venue okx trades real money: start it with cockpit run --venue okx --live")
    name = "okx" if real else "okx-demo" if address is None else "demo"
    names = {"OKX_API_KEY": key, "OKX_API_SECRET": secret, "OKX_API_PASSPHRASE": passphrase}
    missing = [variable for variable, value in names.items() if not value]
    if missing:
        account = "your OKX account" if real else "an OKX demo account"
        raise UserError(
            f"venue {name}: {', '.join(missing)} not set: put the API key of {account} into the environment or .env"
        )
    credentials = Credentials(key, secret, passphrase)
    common = _common(name, address, credentials, sandbox, bar, stale_after, timeout)
    return OkxVenue(
        **common,
        capabilities=Capabilities(
            name,
            real,
            lockstep and address is not None,
            expiry=True,
            triggers=True,
            limited=address is None,
            dead_man=True,
        ),
        account=permit.account if permit is not None else "",
    )


def okx_market(
    *, address: str | None = None, bar: str = "1h", stale_after: float = 15.0, timeout: float = 10.0
) -> OkxMarket:
    """OKX's live market without an account, or that of the local exchange at `address`; not connected yet.

    UserError: an unknown bar, an address that is not on this machine."""
    common = _common("shadow", address, Credentials("", "", ""), False, bar, stale_after, timeout)
    return OkxMarket(**common, capabilities=Capabilities("shadow", False, False, expiry=True, triggers=True))


def okx_reader(
    *, address: str | None, key: str, secret: str, passphrase: str, sandbox: bool = False, timeout: float = 10.0
) -> OkxReader:
    """An account that is only looked at: of the local exchange at `address`, OKX's demo account, or a real one.

    UserError: an address that is not on this machine."""
    name = "demo" if address is not None else "okx-demo" if sandbox else "okx"
    common = _common(name, address, Credentials(key, secret, passphrase), sandbox, "1h", 60.0, timeout)
    abilities = Capabilities(name, name == "okx", False, expiry=True, triggers=True, limited=address is None)
    return OkxReader(**common, capabilities=abilities)


def _common(
    name: str,
    address: str | None,
    credentials: Credentials,
    sandbox: bool,
    bar: str,
    stale_after: float,
    timeout: float,
) -> dict[str, Any]:
    """What every venue over OKX is made with."""
    if bar not in BARS:
        raise UserError(f"bar {bar!r}: OKX has no such candles here; use one of {', '.join(BARS)}")
    if stale_after <= 0 or timeout <= 0:
        raise UserError(f"stale_after {stale_after:g}, timeout {timeout:g}: both are seconds and must be above 0")
    local = check_address(address) if address is not None else None

    def transport(on_push: PushHandler, on_fault: FaultHandler) -> OkxTransport:
        return OkxTransport(
            address=local,
            credentials=credentials,
            sandbox=sandbox and local is None,
            on_push=on_push,
            on_fault=on_fault,
            timeout=timeout,
        )

    return {
        "transport": transport,
        "where": f"{name} exchange" + (f" at {local}" if local else ""),
        "credentials": credentials,
        "bar": bar,
        "stale_after": stale_after,
        "timeout": timeout,
    }
