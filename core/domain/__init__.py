"""The vocabulary every room shares: frozen types without behaviour that needs a room.

Times are integers of milliseconds UTC. Sizes are signed Decimals of contracts (positive: long or buy).
"""
