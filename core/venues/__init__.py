"""Venues: the port the acting wing speaks, and the adapters that speak it.

OKX has one path (`okx/`); the local exchange (`okx_local/`) answers it on loopback.
"""
