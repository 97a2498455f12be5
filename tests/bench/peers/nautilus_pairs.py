"""The fixed-pairs rule in nautilus_trader, timed: `python nautilus_pairs.py PANEL.npz START SPECS`, a JSON line.

Runs with the peers' own interpreter, so it imports nothing of ours. SPECS is JSON, asset to [tick, lot]. Each bar's
close, as its exchange sees it, is the next bar's open: it fills market orders at the last close, and these are to
fill at the next open. The rule reads the true closes. Bars before START only fill its windows.
"""

import json
import sys
import time
from collections import deque
from decimal import Decimal
from math import sqrt

import nautilus_trader
import numpy as np
from nautilus_trader.backtest.engine import BacktestEngine
from nautilus_trader.backtest.models import FillModel
from nautilus_trader.config import BacktestEngineConfig, LoggingConfig, RiskEngineConfig, StrategyConfig
from nautilus_trader.model.currencies import USDT
from nautilus_trader.model.data import Bar, BarSpecification, BarType
from nautilus_trader.model.enums import (
    AccountType,
    AggregationSource,
    BarAggregation,
    OmsType,
    OrderSide,
    PriceType,
)
from nautilus_trader.model.identifiers import InstrumentId, Symbol, Venue
from nautilus_trader.model.instruments import CryptoPerpetual
from nautilus_trader.model.objects import Currency, Money, Price, Quantity
from nautilus_trader.trading.strategy import Strategy

WINDOW, ENTRY, NOTIONAL = 24, 1.5, 1000.0
VENUE = Venue("OKX")
MS = 1_000_000


class Pairs(Strategy):
    """Enter a pair where |z| > 1.5, leave where z has crossed zero; from bar `start` on."""

    def __init__(self, pairs, instruments, types, closes, start):
        super().__init__(StrategyConfig())
        self.pairs, self.instruments, self.types, self.closes = pairs, instruments, types, closes
        self.first = start
        self.spreads = [deque(maxlen=WINDOW) for _ in pairs]
        self.held = [None] * len(pairs)
        self.seen = 0
        self.bar = 0

    def on_start(self):
        for kind in self.types:
            self.subscribe_bars(kind)

    def on_bar(self, bar):
        self.seen += 1
        if self.seen % len(self.types) == 0:
            self.judge(self.closes[self.bar])
            self.bar += 1

    def judge(self, close):
        for k, (a, b) in enumerate(self.pairs):
            spreads = self.spreads[k]
            spreads.append(close[a] / close[b])
            if self.bar < self.first:
                continue
            mean = sum(spreads) / WINDOW
            std = sqrt(sum((s - mean) ** 2 for s in spreads) / (WINDOW - 1))
            if std == 0:
                continue
            z = (spreads[-1] - mean) / std
            held = self.held[k]
            if held is None and abs(z) > ENTRY:
                side = -1 if z > 0 else 1
                sizes = self.trade(a, side * NOTIONAL / close[a]), self.trade(b, -side * NOTIONAL / close[b])
                self.held[k] = z, sizes
            elif held is not None and z * held[0] <= 0:
                for leg, size in zip((a, b), held[1], strict=True):
                    self.trade(leg, -size)
                self.held[k] = None

    def trade(self, leg, units):
        """Market order for so many signed units, cut to the lot; what was sent, signed."""
        instrument = self.instruments[leg]
        quantity = instrument.make_qty(abs(units), round_down=True)
        side = OrderSide.BUY if units > 0 else OrderSide.SELL
        self.submit_order(self.order_factory.market(instrument.id, side, quantity))
        return float(quantity) if units > 0 else -float(quantity)


def perpetual(asset, tick, lot):
    """A linear perpetual with this tick and lot (text, in units of the asset)."""
    price, size = Price.from_str(tick), Quantity.from_str(lot)
    return CryptoPerpetual(
        instrument_id=InstrumentId(Symbol(f"{asset}USDT-PERP"), VENUE),
        raw_symbol=Symbol(f"{asset}USDT"),
        base_currency=Currency.from_str(asset),
        quote_currency=USDT,
        settlement_currency=USDT,
        is_inverse=False,
        price_precision=price.precision,
        size_precision=size.precision,
        price_increment=price,
        size_increment=size,
        margin_init=Decimal("0.05"),
        margin_maint=Decimal("0.005"),
        maker_fee=Decimal("0.0002"),
        taker_fee=Decimal("0.0005"),
        ts_event=0,
        ts_init=0,
    )


def main(path, start, specs):
    with np.load(path) as file:
        panel = {name: file[name] for name in file.files}
    assets = [str(a) for a in panel["assets"]]
    opens, closes = panel["open"], panel["close"]
    bar_ms = int(panel["bar_ms"])
    instruments = [perpetual(a, *specs[a]) for a in assets]
    hour = BarSpecification(1, BarAggregation.HOUR, PriceType.LAST)
    types = [BarType(i.id, hour, AggregationSource.EXTERNAL) for i in instruments]
    bars = []
    for t in range(len(opens) - 1):
        ts = (int(panel["ts"][t]) + bar_ms) * MS
        for i, instrument in enumerate(instruments):
            price = instrument.make_price
            last = opens[t + 1, i]
            high, low = max(panel["high"][t, i], last), min(panel["low"][t, i], last)
            volume = instrument.make_qty(max(panel["volume"][t, i], 1.0))
            bars.append(Bar(types[i], price(opens[t, i]), price(high), price(low), price(last), volume, ts, ts))
    engine = BacktestEngine(
        BacktestEngineConfig(
            logging=LoggingConfig(bypass_logging=True),
            risk_engine=RiskEngineConfig(bypass=True),
            run_analysis=False,
        )
    )
    engine.add_venue(
        VENUE, OmsType.NETTING, AccountType.MARGIN, [Money(1_000_000, USDT)], fill_model=FillModel(),
        bar_execution=True,
    )  # fmt: skip
    for instrument in instruments:
        engine.add_instrument(instrument)
    engine.add_data(bars)
    pairs = [(k, k + 1) for k in range(0, len(assets), 2)]
    engine.add_strategy(Pairs(pairs, instruments, types, closes.tolist(), start))
    began = time.process_time()
    engine.run()
    took = time.process_time() - began
    fills = engine.trader.generate_fills_report()
    said = [
        (int(ts) // MS, str(name).split("USDT")[0], str(side), float(price))
        for ts, name, side, price in zip(
            fills["ts_event"].astype("int64"), fills["instrument_id"], fills["order_side"], fills["last_px"],
            strict=True,
        )
    ]  # fmt: skip
    print(json.dumps({"version": nautilus_trader.__version__, "seconds": took, "fills": said}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3]))
