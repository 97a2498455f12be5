"""The latest of every stream, and how old it is: for the screen and for health, never for a decision."""

from collections import deque
from collections.abc import Sequence
from decimal import Decimal

from core.clock import monotonic
from core.domain.instrument import Instrument
from core.domain.market import Bar, Mark, Ticker
from core.domain.snapshot import Stream
from core.venues.port import StreamState, StreamStatus

DAY_MS = 86_400_000


class MarketState:
    """Last prices, ages and stream states by instrument; the closes of the last day for its change."""

    def __init__(self, instruments: Sequence[Instrument]) -> None:
        self._instruments = tuple(instruments)
        self._tickers: dict[str, Ticker] = {}
        self._marks: dict[str, Mark] = {}
        self._states: dict[str, StreamStatus] = {}
        self._closes: deque[Bar] = deque()
        self.heard = monotonic()

    def ticker(self, ticker: Ticker) -> None:
        self._tickers[ticker.instrument] = ticker
        self.heard = monotonic()

    def mark(self, mark: Mark) -> None:
        self._marks[mark.instrument] = mark

    def status(self, status: StreamStatus) -> None:
        self._states[status.key] = status

    def bar(self, bar: Bar) -> None:
        """Remember a closed bar for a day."""
        self._closes.append(bar)
        while self._closes[0].open_ms < bar.close_ms - DAY_MS:
            self._closes.popleft()

    @property
    def last_bar(self) -> Bar | None:
        return self._closes[-1] if self._closes else None

    def marks(self) -> dict[str, Decimal]:
        """The mark price of each instrument that has told one."""
        return {name: mark.price for name, mark in self._marks.items()}

    def price(self, instrument: str) -> float:
        """The mark, else the last trade, else the last close; nan where nothing was heard yet."""
        if instrument in self._marks:
            return float(self._marks[instrument].price)
        if instrument in self._tickers:
            return float(self._tickers[instrument].last)
        index = next(i for i, spec in enumerate(self._instruments) if spec.id == instrument)
        return float(self._closes[-1].ohlcv[index, 3]) if self._closes else float("nan")

    def mid(self, instrument: str) -> Decimal | None:
        """The middle of best bid and ask as last told; None where one of them is not known."""
        ticker = self._tickers.get(instrument)
        return (ticker.bid + ticker.ask) / 2 if ticker and 0 < ticker.bid < ticker.ask else None

    def touch(self, instrument: str, buy: bool) -> Decimal | None:
        """The best price on one's own side of the book, as last heard; None before."""
        ticker = self._tickers.get(instrument)
        return None if ticker is None else ticker.bid if buy else ticker.ask

    def trouble(self) -> str:
        """Which streams are not live, in words; empty when all are."""
        wrong = [f"{s.key} is {s.state}" for s in self._states.values() if _ill(s)]
        return f"{len(wrong)} streams are not live: {wrong[0]}" if wrong else ""

    def subscriptions(self) -> tuple[int, int, str]:
        """How many subscriptions are live, of how many, and the first that is not, with what is wrong with it."""
        states = self._states.values()
        wrong = [f"{s.key} is {s.state}" + (f": {s.detail}" if s.detail else "") for s in states if _ill(s)]
        return len(states) - len(wrong), len(states), wrong[0] if wrong else ""

    def rows(self) -> list[Stream]:
        """One row an asset, for the screen."""
        now = monotonic()
        rows = []
        for index, spec in enumerate(self._instruments):
            ticker = self._tickers.get(spec.id)
            last = float(ticker.last) if ticker else self.price(spec.id)
            day = float(self._closes[0].ohlcv[index, 0]) if self._closes else float("nan")
            funding = float(self._closes[-1].funding[index]) if self._closes else 0.0
            age = now - ticker.received if ticker else -1.0
            rows.append(Stream(spec.asset, spec.id, last, last / day - 1.0, funding, age, self._state(spec.id)))
        return rows

    def _state(self, instrument: str) -> str:
        """The worst state of an instrument's subscriptions."""
        states = [s.state for key, s in self._states.items() if key.endswith(f":{instrument}")]
        for worst in (StreamState.DOWN, StreamState.STALE, StreamState.ENDED):
            if worst in states:
                return worst.value
        return StreamState.LIVE.value if instrument in self._tickers else "waiting"


def _ill(status: StreamStatus) -> bool:
    return status.state in (StreamState.STALE, StreamState.DOWN)
