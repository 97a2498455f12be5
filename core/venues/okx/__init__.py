"""The one OKX path: a thin transport over ccxt.pro, and above it the session logic and the venue port.

Import `okx_venue` from `core.venues.okx.factory`; only `transport` needs ccxt.
"""
