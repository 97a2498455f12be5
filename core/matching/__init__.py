"""The matching core: a synchronous exchange, `step(now, commands, market) -> events`.

The local exchange puts OKX's protocol on top of it; backtest and rehearsal call it directly.
"""
