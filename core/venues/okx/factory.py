"""The one place that decides which OKX a venue speaks to."""

from core.domain.errors import UserError
from core.venues.okx.messages import BARS
from core.venues.okx.transport import Credentials, FaultHandler, OkxTransport, PushHandler, check_address
from core.venues.okx.venue import OkxVenue
from core.venues.port import Capabilities


def okx_venue(
    *,
    address: str | None = None,
    key: str = "",
    secret: str = "",
    passphrase: str = "",
    sandbox: bool = False,
    lockstep: bool = False,
    bar: str = "1h",
    stale_after: float = 15.0,
    timeout: float = 10.0,
) -> OkxVenue:
    """A venue that is not connected yet.

    `address` http://127.0.0.1:PORT of the local exchange; None: OKX itself, where only the demo account
    (`sandbox`) is allowed in this version. `lockstep`: the local exchange waits for `acknowledge`.
    `stale_after` seconds of silence make the liveliest streams stale, `timeout` seconds bound a request.

    UserError: real money, keys missing, an unknown bar, an address that is not on this machine.
    """
    if address is None and not sandbox:
        raise UserError(
            "venue okx trades real money: not available until its execution safeguards are complete; "
            "use okx-demo or demo"
        )
    names = {"OKX_API_KEY": key, "OKX_API_SECRET": secret, "OKX_API_PASSPHRASE": passphrase}
    missing = [name for name, value in names.items() if not value]
    if missing:
        venue = "okx-demo" if address is None else "demo"
        raise UserError(
            f"venue {venue}: {', '.join(missing)} not set: put the API key of an OKX demo account into the "
            "environment or .env"
        )
    if bar not in BARS:
        raise UserError(f"bar {bar!r}: OKX has no such candles here; use one of {', '.join(BARS)}")
    if stale_after <= 0 or timeout <= 0:
        raise UserError(f"stale_after {stale_after:g}, timeout {timeout:g}: both are seconds and must be above 0")
    address = check_address(address) if address is not None else None
    credentials = Credentials(key, secret, passphrase)
    name = "okx-demo" if address is None else "demo"

    def transport(on_push: PushHandler, on_fault: FaultHandler) -> OkxTransport:
        return OkxTransport(
            address=address,
            credentials=credentials,
            sandbox=sandbox and address is None,
            on_push=on_push,
            on_fault=on_fault,
            timeout=timeout,
        )

    return OkxVenue(
        transport=transport,
        where=f"{name} exchange" + (f" at {address}" if address else ""),
        credentials=credentials,
        capabilities=Capabilities(
            name=name,
            real_money=False,
            lockstep=lockstep and address is not None,
            expiry=True,
            triggers=True,
        ),
        bar=bar,
        stale_after=stale_after,
        timeout=timeout,
    )
