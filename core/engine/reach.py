"""Looking at what an engine would use without starting one: its account by requests alone, its ledger as it is."""

from collections.abc import Mapping

from core.config import Secrets, Settings
from core.domain.errors import UserError
from core.domain.instrument import Instrument
from core.engine.exchange import ExchangeProcess
from core.portfolio.books import Books
from core.portfolio.ledger import peek
from core.venues.okx.factory import okx_reader
from core.venues.okx.reading import OkxReader
from core.venues.okx_local.auth import Keys


def reader(settings: Settings) -> OkxReader:
    """The account that the settings name, not looked at yet. UserError: no keys, no local exchange, on paper."""
    name = settings.venue.name
    if name == "shadow":
        raise UserError("venue shadow: its account is on paper, and the engine alone has it: cockpit status")
    if name == "demo":
        running = ExchangeProcess.running(settings.paths.exchange)
        if running is None:
            raise UserError("the local exchange is not running: cockpit demo starts it")
        local = Keys()
        return okx_reader(address=running.url, key=local.key, secret=local.secret, passphrase=local.passphrase)
    keys = Secrets.load()
    sandbox = name == "okx-demo"
    return okx_reader(address=None, key=keys.key, secret=keys.secret, passphrase=keys.passphrase, sandbox=sandbox)


def folded(settings: Settings, instruments: Mapping[str, Instrument]) -> Books:
    """The books as the ledger on disk tells them; empty where there is none. UserError: damaged, or in use."""
    books, path = Books(instruments), settings.paths.ledger(settings.venue.name)
    for event in peek(path) if path.exists() else ():
        books.apply(event)
    return books
